"""Frozen features of a set, at most so many images, and its split into a test and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.datasets import ImageSet
from sit2.config.schema import make_config
from sit2.data.pixels import load_pixels_for
from sit2.data.readers import read_dataset
from sit2.experiments.prepare import fitting, median_size
from sit2.records import FloatArray, IntArray
from sit2.storage.files import atomic
from sit2.training.start import frozen_extractor, start_of

SIZE, TEST = 96, 0.3  # pixels a side; fraction of the images, or of the groups


@dataclass(frozen=True)
class Pool:
    """All images of a set that take part."""

    features: FloatArray  # (N, D) float32
    labels: IntArray  # (N,)
    groups: tuple[str, ...]  # N or none
    classes: int

    def parts(self, seed: int) -> tuple[IntArray, IntArray]:
        """Return the rows to test on, and the others; no group is in both."""
        unit = np.unique(self.groups, return_inverse=True)[1] if self.groups else np.arange(len(self.labels))
        place = np.random.default_rng([seed, 0]).permutation(unit.max() + 1) / (unit.max() + 1)
        return np.flatnonzero(place[unit] < TEST), np.flatnonzero(place[unit] >= TEST)


@dataclass(frozen=True)
class Round:
    """What is known when images are to be chosen."""

    pool: Pool
    known: IntArray  # rows with a label
    rest: IntArray  # rows to choose from, ascending
    chances: FloatArray  # (N, K): what the classifier so far says
    luck: np.random.Generator


def pool_of(one: ImageSet, keep: Path, most: int) -> Pool:
    """Return a set's frozen features, labels and groups; features are made once."""
    dataset = read_dataset(one.path, groups=one.groups)
    if len(dataset) > most:
        dataset = dataset.take(np.sort(np.random.default_rng(0).permutation(len(dataset))[:most]))
    path = keep / f"{one.name}-{most}.npy"
    if not path.exists():
        settings = {"augment": one.augment, "image_size": SIZE, "cache": "off"}
        config = fitting(make_config(settings), median_size(dataset))
        pixels = load_pixels_for(config, dataset)
        assert not any(pixels.problems)
        channels = pixels.images.shape[1]
        start = start_of(config, channels=channels, image_size=SIZE)
        extractor = frozen_extractor(config, start, channels=channels, image_size=SIZE, device="cpu")
        assert extractor is not None
        features = extractor.extract(pixels.images, np.arange(len(dataset)))
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, features)
    return Pool(np.load(path), dataset.labels, dataset.groups, len(dataset.classes))
