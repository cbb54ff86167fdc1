"""The first stage: find images, decode them, leave out the unreadable, split the rest."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sit2.config.schema import Config
from sit2.data.cache import cache_folder
from sit2.data.cross_validation import check_free
from sit2.data.decoding.header import size_of
from sit2.data.decoding.image import Unreadable
from sit2.data.duplicates import name_duplicates
from sit2.data.pixels import PixelStore, fingerprint, load_pixels_for, source_of
from sit2.data.quality import Finding, quick_check
from sit2.data.quality.leaks import leak_notes
from sit2.data.readers import read_dataset
from sit2.data.readers.added_labels import split_added, with_added
from sit2.data.readers.validate import refuse_missing, validate
from sit2.data.samples import Samples
from sit2.data.splits import SplitArray, connected_groups, describe, draw_splits
from sit2.data.words import listed, unread
from sit2.errors import DataError
from sit2.events import DataPrepared, Listener, Note, Progress
from sit2.execution.parts import Part, key_of
from sit2.features.frozen import FeatureStore
from sit2.inference.decisions import Answers
from sit2.records import Dataset, FloatArray, IntArray, Predictions
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS
from sit2.training.backbones import check_backbone, weights_channels
from sit2.training.device import pick_device, threads
from sit2.training.settings import SMALL_CNN
from sit2.training.start import Start, frozen_extractor, start_of
from sit2.training.training_set import Normalisation, TrainingSet

FEATURES = 1  # to be raised when frozen features are made in another way
# Pixels that images are scaled to, unless told otherwise (docs/experiments.md, 2026-11-28).
SMALL_CNN_SIZE, SMALL_SIZE, LARGE_SIZE = 64, 96, 128
# Settings that splits are drawn by.
_DRAWN = ("val_fraction", "test_fraction", "labels_per_class", "val_per_class", "calibration_fraction")
SMALL_ORIGINAL = 112  # pixels of the shorter side: up to here there is little to see at a larger size


@dataclass(frozen=True)
class Loaded:
    """Every image that was found, decoded, and not yet split."""

    found: Dataset
    problems: tuple[str, ...]  # why an image cannot be read, or ""
    store: PixelStore
    fingerprint: str
    config: Config  # with what follows from the images filled in
    start: Start  # what networks start from
    original: tuple[int, int] | None = None  # the median height and width of the images as they are

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
    splits: NDArray[np.str_]  # (N,) of "train", "val", "test", "calibration", "unused"
    samples: Samples  # every image that was found
    fingerprint: str
    start: Start = Start()  # what networks start from
    original: tuple[int, int] | None = None  # the median height and width of the images as they are
    findings: tuple[Finding, ...] = ()  # of the quick check

    @property
    def used(self) -> IntArray:
        """Return the rows of the images of all splits but "unused"."""
        return np.flatnonzero(self.splits != "unused").astype(np.int64)

    def told(self, splits: tuple[tuple[str, int], ...], *, folds: int = 0) -> DataPrepared:
        """Return what there is to tell of the images."""
        channels, height, width = self.store.images.shape[1:]
        return DataPrepared(
            self.dataset.name,
            len(self.dataset),
            len(self.dataset.classes),
            (height, width),
            channels == 3,
            splits,
            self.original,
            folds,
        )

    def rows(self, split: str) -> IntArray:
        """Return the rows of a split, in the dataset's order."""
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def part(self, rows: IntArray) -> Part:
        """Return images of the dataset as a job sees them; groups are those that must stay together."""
        chosen = self.dataset.take(rows)
        return Part(self.index[rows], chosen.labels, connected_groups(chosen.groups, chosen.duplicates))

    def predictions(self, rows: IntArray, answers: Answers) -> Predictions:
        """Put what a model says of len(rows) images beside the truth."""
        part = self.dataset.take(rows)
        said = answers.probabilities, part.groups, answers.p_values, answers.unlike
        return Predictions(part.ids, part.labels, *said)

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
    return Seeds(config.split_root)


def training_seeds(config: Config) -> Seeds:
    """Return the seeds of everything else; with a split seed of its own, every split has others."""
    seeds = Seeds(config.seed)
    return seeds if config.split_seed is None else seeds.child("split", config.split_seed)


def read_as(config: Config, source: Any) -> Dataset:
    """Read images as the settings say. Raises what :func:`~sit2.data.readers.read_dataset` raises."""
    names = ("groups", "group_pattern", "layout", "resplit")
    return with_added(read_dataset(source, **{name: getattr(config, name) for name in names}), config.add)


def prepare(source: str | Path | Dataset, config: Config, listener: Listener) -> Prepared:
    """Find the images, decode them, leave out the unreadable, split the rest.

    Raises:
        DataError: when nothing could be trained on what is there.
    """
    loaded = load_images(source, config, listener)
    return split_images(loaded, loaded.config, listener)


def load_images(source: str | Path | Dataset, config: Config, listener: Listener) -> Loaded:
    """Find the images and decode them. Raises :class:`DataError` when nothing could be trained on."""
    pick_device(config.device)
    check_backbone(config.backbone, pretrained=config.pretrained and config.weights is None)
    found = source if isinstance(source, Dataset) else read_as(config, source)
    for note in found.notes:
        listener(Note(note))
    refuse_missing(found)
    if config.cv and (found.added or not config.resplit):
        check_free(found)
    original = median_size(found)
    config = fitting(config, original)
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
        name_duplicates(found, pixels),
        pixels.problems,
        store,
        fingerprint(found, pixels.problems, store),
        config,
        _start(store, config, listener),
        original,
    )
    if not len(loaded.readable):
        reasons = [f"{path} ({why})" for path, why in zip(found.paths, pixels.problems, strict=True)]
        raise DataError(
            f"no image of {found.name} can be read: {listed(reasons)}\n"
            "expected two classes of images that can be read"
        )
    if bad := unread(found.paths, pixels.problems):
        listener(Note(bad))
        readable = found.take(loaded.readable)
        validate(replace(readable, splits=()) if config.resplit else readable)
    return loaded


def split_images(loaded: Loaded, config: Config, listener: Listener) -> Prepared:
    """Put every readable image into a split.

    Raises:
        DataError: when that cannot be done, or the given splits leak and that is not allowed.
    """
    dataset = labelled(loaded, config, listener)
    splits = split(dataset, config)
    for sentence in describe(splits, dataset.labels, dataset.classes):
        listener(Note(sentence))
    prepared = in_splits(loaded, dataset, splits)
    sizes = [(name, len(prepared.rows(name))) for name in ("train", "val", "calibration", "test")]
    listener(prepared.told(tuple((name, n) for name, n in sizes if n or name != "calibration")))
    return prepared


def labelled(loaded: Loaded, config: Config, listener: Listener) -> Dataset:
    """Return the readable images, with the splits that they are to keep.

    Raises:
        DataError: when the given splits leak and that is not allowed.
    """
    found, index = loaded.found, loaded.readable
    dataset = found if len(index) == len(found) else found.take(index)
    if config.resplit:
        dataset = replace(dataset, splits=())
    for sentence in leak_notes(dataset, allow=config.allow_leaks):
        listener(Note(sentence))
    return dataset


def in_splits(loaded: Loaded, dataset: Dataset, splits: NDArray[np.str_]) -> Prepared:
    """Put every image of :func:`labelled` into its split."""
    found, index, config = loaded.found, loaded.readable, loaded.config
    seen = replace(found, splits=dataset.splits and found.splits)
    folds = config.folds if config.confusion == "folds" else 0
    every = np.full(len(found), "unused", dtype=object)
    every[index] = splits
    return Prepared(
        dataset,
        loaded.store,
        index,
        splits,
        Samples.of(found, every.tolist(), loaded.problems, loaded.store.digests),
        loaded.fingerprint,
        loaded.start,
        loaded.original,
        quick_check(seen, loaded.problems, folds=folds, balance=config.balance),
    )


def split(dataset: Dataset, config: Config) -> SplitArray:
    """(N,) "train", "val", "test" or "unused". Raises :class:`DataError` where that cannot be done."""
    own = {name: getattr(config, name) for name in _DRAWN}
    return split_added(dataset, lambda part: draw_splits(part, **own, seeds=split_seeds(config)))


def median_size(found: Dataset, most: int = 200) -> tuple[int, int] | None:
    """Return the median height and width of some images, by their headers; None where none can be read."""
    sizes = []
    for n in np.linspace(0, len(found) - 1, min(most, len(found))).astype(int).tolist():
        with contextlib.suppress(Unreadable, MemoryError):
            sizes.append(size_of(source_of(found, n)))
    if not sizes:
        return None
    height, width = np.median(sizes, axis=0)
    return int(height), int(width)


def fitting(config: Config, original: tuple[int, int] | None) -> Config:
    """Return a configuration in which what follows from the images and the backbone is filled in.

    Args:
        config: as it was given.
        original: the images' height and width.
    """
    if config.image_size is None:
        large = original is not None and min(original) > SMALL_ORIGINAL
        size = SMALL_CNN_SIZE if config.backbone == SMALL_CNN else LARGE_SIZE if large else SMALL_SIZE
        config = replace(config, image_size=size)
    for_colour = config.has_frozen_features and (
        config.weights is None or weights_channels(config.weights) == 3
    )
    if config.channels == "auto" and for_colour:
        config = replace(config, channels="3")  # gray images as three equal channels
    return config


def _start(store: PixelStore, config: Config, listener: Listener) -> Start:
    """Return what networks start from; raise now what every training would raise later.

    Raises:
        ConfigError, ModelError: see :func:`~sit2.training.start.start_of`.
    """
    channels, _, size = store.images.shape[1:]
    start = start_of(config, channels=channels, image_size=size)
    if channels == 1 and config.weights is not None and weights_channels(config.weights) == 3:
        listener(
            Note(
                "the weights are for colour and the images are gray: they keep one channel, and the first "
                "convolution is summed over its three, which computes the same"
            )
        )
    return start


def frozen_features(
    prepared: Prepared,
    config: Config,
    folder: Path,
    listener: Listener,
    *,
    rows: IntArray | None = None,
) -> FeatureStore | None:
    """Return frozen features of the images ``rows``, by default those for training.

    None where no network is trained that could give some. They are kept in ``folder``, where an earlier run may
    have left them.
    """
    channels, _, size = prepared.store.images.shape[1:]
    device = pick_device(config.device)
    extractor = frozen_extractor(config, prepared.start, channels=channels, image_size=size, device=device)
    if extractor is None:
        return None
    rows = np.unique(prepared.index[prepared.rows("train") if rows is None else rows])
    known = (FEATURES, prepared.start, extractor.mirror, size, version("torch"), device)
    path = folder / f"{key_of(known, [prepared.store.digests[rows].tobytes()])}.features.npy"

    def make(rows: IntArray) -> FloatArray:
        return extractor.extract(
            prepared.store.images,
            rows,
            progress=lambda fraction, words: listener(Progress("Computing features", fraction, words)),
        )

    with threads(os.cpu_count() or 1):
        return FeatureStore.kept(path, rows, make)
