"""The first stage: find images, decode them, leave out the unreadable, split the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sit2.config.schema import Config
from sit2.data.cache import cache_folder
from sit2.data.duplicates import name_duplicates
from sit2.data.pixels import PixelStore, fingerprint, load_pixels_for
from sit2.data.quality import Finding, quick_check
from sit2.data.quality.leaks import leak_notes
from sit2.data.readers import read_dataset
from sit2.data.readers.validate import validate
from sit2.data.samples import Samples
from sit2.data.splits import connected_groups, describe, draw_splits
from sit2.data.words import left_out
from sit2.events import DataPrepared, Listener, Note, Progress
from sit2.execution.parts import Part
from sit2.records import Dataset, FloatArray, IntArray, Predictions
from sit2.seeds import Seeds
from sit2.training.backbones import build_network, weights_channels
from sit2.training.device import pick_device
from sit2.training.presets import PRESETS
from sit2.training.training_set import Normalisation, TrainingSet


@dataclass(frozen=True)
class Loaded:
    """Every image that was found, decoded, and not yet split."""

    found: Dataset
    problems: tuple[str, ...]  # why an image cannot be read, or ""
    store: PixelStore
    fingerprint: str

    @property
    def readable(self) -> IntArray:
        """Return the rows of the images that can be read."""
        return np.array([n for n, problem in enumerate(self.problems) if not problem], dtype=np.int64)


@dataclass(frozen=True)
class Prepared:
    """Images as pixels, each in its split; the unreadable ones are left out, and listed."""

    dataset: Dataset  # N readable images
    store: PixelStore  # of all images that were found
    index: IntArray  # (N,) where each image of the dataset lies in the store
    splits: NDArray[np.str_]  # (N,) of "train", "val", "test", "unused"
    samples: Samples  # every image that was found
    fingerprint: str
    findings: tuple[Finding, ...] = ()  # of the quick check

    def rows(self, split: str) -> IntArray:
        """Return the rows of a split, in the dataset's order."""
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def part(self, rows: IntArray) -> Part:
        """Return images of the dataset as a job sees them; groups are those that must stay together."""
        chosen = self.dataset.take(rows)
        return Part(self.index[rows], chosen.labels, connected_groups(chosen.groups, chosen.duplicates))

    def predictions(self, rows: IntArray, probabilities: FloatArray) -> Predictions:
        """Put a model's probabilities (len(rows), K) beside the truth."""
        part = self.dataset.take(rows)
        return Predictions(part.ids, part.labels, probabilities, part.groups)

    def training_set(self, config: Config, draws: str = "examples") -> TrainingSet:
        """Return the training images as a phase draws them, but not normalised: they can be looked at.

        The draws named "training" are those that the networks are trained on.
        """
        part, channels = self.part(self.rows("train")), self.store.images.shape[1]
        return TrainingSet.of(
            self.store.images,
            part.labels,
            len(self.dataset.classes),
            rows=part.rows,
            normalise=Normalisation((0.0,) * channels, (1.0,) * channels),
            augment=PRESETS[config.augment],
            seeds=training_seeds(config).child(draws),
            balanced=config.balance == "sampling",
        )


def split_seeds(config: Config) -> Seeds:
    """Return the seeds of what is chance in the data: the splits, and which labels are kept."""
    return Seeds(config.seed if config.split_seed is None else config.split_seed)


def training_seeds(config: Config) -> Seeds:
    """Return the seeds of everything else; with a split seed of its own, every split has others."""
    seeds = Seeds(config.seed)
    return seeds if config.split_seed is None else seeds.child("split", config.split_seed)


def prepare(source: str | Path | Dataset, config: Config, listener: Listener) -> Prepared:
    """Find the images, decode them, leave out the unreadable, split the rest.

    Raises:
        DataError: when nothing could be trained on what is there.
    """
    return split_images(load_images(source, config, listener), config, listener)


def load_images(source: str | Path | Dataset, config: Config, listener: Listener) -> Loaded:
    """Find the images and decode them. Raises :class:`DataError` when nothing could be trained on."""
    found = (
        source
        if isinstance(source, Dataset)
        else read_dataset(source, groups=config.groups, group_pattern=config.group_pattern)
    )
    for note in found.notes:
        listener(Note(note))
    pixels = load_pixels_for(
        config,
        found,
        cache=cache_folder(config.cache),
        progress=lambda done, total: listener(
            Progress("Reading images", done / total, f"{done:,} of {total:,}")
        ),
    )
    for note in pixels.notes:
        listener(Note(note))
    store = PixelStore.of(pixels.images, pixels.path)
    loaded = Loaded(
        name_duplicates(found, pixels), pixels.problems, store, fingerprint(found, pixels.problems, store)
    )
    if bad := left_out(found.paths, pixels.problems):
        listener(Note(bad))
        validate(found.take(loaded.readable))
    return loaded


def split_images(loaded: Loaded, config: Config, listener: Listener) -> Prepared:
    """Put every readable image into a split.

    Raises:
        DataError: when that cannot be done, or the given splits leak and that is not allowed.
    """
    found, index = loaded.found, loaded.readable
    dataset = found if len(index) == len(found) else found.take(index)
    if config.resplit:
        dataset = replace(dataset, splits=())
    for sentence in leak_notes(dataset, allow=config.allow_leaks):
        listener(Note(sentence))
    splits = draw_splits(
        dataset,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        labels_per_class=config.labels_per_class,
        val_per_class=config.val_per_class,
        seeds=split_seeds(config),
    )
    for sentence in describe(splits, dataset.labels, dataset.classes):
        listener(Note(sentence))
    every = np.full(len(found), "unused", dtype=object)
    every[index] = splits
    samples = Samples.of(found, every.tolist(), loaded.problems)
    findings = quick_check(replace(found, splits=dataset.splits and found.splits), loaded.problems)
    prepared = Prepared(dataset, loaded.store, index, splits, samples, loaded.fingerprint, findings)
    channels, height, width = loaded.store.images.shape[1:]
    listener(
        DataPrepared(
            dataset.name,
            len(dataset),
            len(dataset.classes),
            (height, width),
            channels == 3,
            tuple((name, len(prepared.rows(name))) for name in ("train", "val", "test")),
        )
    )
    return prepared


def check_network(prepared: Prepared, config: Config, listener: Listener) -> None:
    """Raise now what every training would raise later: an unknown device or backbone, weights that don't fit.

    Raises:
        ConfigError, ModelError: see :func:`~sit2.training.backbones.build_network`.
    """
    pick_device(config.device)
    channels = prepared.store.images.shape[1]
    network = build_network(
        config.backbone,
        channels=channels,
        image_size=config.image_size,
        outputs=len(prepared.dataset.classes),
        seed=0,  # of a network that is only looked at
        pretrained=config.pretrained,
        weights=config.weights,
    )
    for_colour = config.pretrained
    if config.weights is not None:
        for_colour = weights_channels(network, config.weights) == 3
    if channels == 1 and for_colour:
        listener(
            Note(
                "the weights are for colour and the images are gray: they keep one channel, and the first "
                "convolution is summed over its three, which computes the same"
            )
        )
