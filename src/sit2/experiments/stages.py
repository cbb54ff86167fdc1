"""The stages of a run, each a function of what the stages before it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sit2.cli.screen import Screen
from sit2.config.schema import Config
from sit2.confusion.out_of_fold import Fold, out_of_fold_probabilities
from sit2.confusion.pairs import choose_pairs, measure, rank_pairs
from sit2.data.cache import cache_folder
from sit2.data.duplicates import name_copies
from sit2.data.pixels import Pixels, fingerprint, load_pixels_for
from sit2.data.quality import Finding, quick_check
from sit2.data.quality.leaks import leak_notes
from sit2.data.readers import read_dataset
from sit2.data.readers.validate import validate
from sit2.data.splits import bound, describe, draw_splits, folds
from sit2.data.words import counted, left_out
from sit2.execution.job import Job, Outcome
from sit2.execution.pool import plan_workers, run_all, share_networks
from sit2.features.closed_form import probe_probabilities
from sit2.records import ByteArray, ClassPair, Confusion, Dataset, FloatArray, IntArray, Predictions
from sit2.seeds import Seeds
from sit2.training.augment import PRESETS
from sit2.training.backbones import build_network, weights_channels
from sit2.training.device import pick_device, threads
from sit2.training.feed import Feed, Normalisation


@dataclass(frozen=True)
class Prepared:
    """Images as pixels, each in its split; the unreadable ones are left out, and listed."""

    dataset: Dataset  # readable images only
    images: ByteArray  # (N, C, H, W) uint8
    splits: NDArray[np.str_]  # (N,) of "train", "val", "test", "unused"
    samples: pd.DataFrame  # samples.csv: every image that was found
    fingerprint: str
    findings: tuple[Finding, ...] = ()  # of the quick check

    def rows(self, split: str) -> IntArray:
        """Return the rows of a split, in the dataset's order."""
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def bound_groups(self, split: str) -> tuple[str, ...]:
        """Return a name for each image of a split, one for all that must stay together; none if none must."""
        part = self.dataset.take(self.rows(split))
        return bound(part.groups, part.copies)

    def predictions(self, rows: IntArray, probabilities: FloatArray) -> Predictions:
        """Put a model's probabilities (len(rows), K) beside the truth."""
        part = self.dataset.take(rows)
        return Predictions(part.ids, part.labels, probabilities, part.groups)

    def feed(self, config: Config, draws: str = "examples") -> Feed:
        """Return the training images as a phase draws them, but not normalised: they can be looked at.

        The draws named "training" are those that the networks are trained on.
        """
        rows, channels = self.rows("train"), self.images.shape[1]
        return Feed.of(
            self.images,
            self.dataset.labels,
            len(self.dataset.classes),
            rows=rows,
            normalise=Normalisation((0.0,) * channels, (1.0,) * channels),
            augment=PRESETS[config.augment],
            seeds=training_seeds(config).child(draws),
            balanced=config.balance == "sampling",
        )


@dataclass(frozen=True)
class Loaded:
    """Every image that was found, decoded, and not yet split."""

    found: Dataset
    pixels: Pixels
    fingerprint: str


def split_seeds(config: Config) -> Seeds:
    """Return the seeds of what is chance in the data: the splits, and which labels are kept."""
    return Seeds(config.seed if config.split_seed is None else config.split_seed)


def training_seeds(config: Config) -> Seeds:
    """Return the seeds of everything else; with a split seed of its own, every split has others."""
    seeds = Seeds(config.seed)
    return seeds if config.split_seed is None else seeds.child("split", config.split_seed)


def prepare(source: str | Path | Dataset, config: Config, screen: Screen) -> Prepared:
    """Find the images, decode them, leave out the unreadable, split the rest.

    Raises:
        DataError: when nothing could be trained on what is there.
    """
    return split_images(load_images(source, config, screen), config, screen)


def load_images(source: str | Path | Dataset, config: Config, screen: Screen) -> Loaded:
    """Find the images and decode them. Raises :class:`DataError` when nothing could be trained on."""
    found = (
        source
        if isinstance(source, Dataset)
        else read_dataset(source, groups=config.groups, group_pattern=config.group_pattern)
    )
    for note in found.notes:
        screen.warn(note)
    with screen.progress("Reading images") as show:
        pixels = load_pixels_for(
            config,
            found,
            cache=cache_folder(config.cache),
            progress=lambda done, total: show(done / total, f"{done:,} of {total:,}"),
        )
    for note in pixels.notes:
        screen.warn(note)
    if bad := left_out(found.paths, pixels.problems):
        screen.warn(bad)
        validate(found.take(_readable(pixels)))
    return Loaded(name_copies(found, pixels), pixels, fingerprint(found, pixels))


def split_images(loaded: Loaded, config: Config, screen: Screen) -> Prepared:
    """Put every readable image into a split.

    Raises:
        DataError: when that cannot be done, or the given splits leak and that is not allowed.
    """
    found, pixels, good = loaded.found, loaded.pixels, _readable(loaded.pixels)
    whole = len(good) == len(found)
    dataset, images = (found, pixels.images) if whole else (found.take(good), pixels.images[good])
    if config.resplit:
        dataset = replace(dataset, splits=())
    for sentence in leak_notes(dataset, allow=config.allow_leaks):
        screen.warn(sentence)
    splits = draw_splits(
        dataset,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        labels_per_class=config.labels_per_class,
        seeds=split_seeds(config),
    )
    for sentence in describe(splits, dataset.labels, dataset.classes):
        screen.warn(sentence)
    every = np.full(len(found), "unused", dtype=object)
    every[good] = splits
    samples = pd.DataFrame(
        {
            "id": found.ids,
            "path": found.paths,
            "label": [found.classes[n] for n in found.labels],
            "group": found.groups or "",
            "split": every,
            "problem": pixels.problems,
        },
        dtype=object,  # pandas' own strings refuse file names with broken characters
    )
    findings = quick_check(replace(found, splits=dataset.splits and found.splits), pixels.problems)
    prepared = Prepared(dataset, images, splits, samples, loaded.fingerprint, findings)
    colours = "gray" if images.shape[1] == 1 else "colour"
    size = f"{config.image_size} × {config.image_size} pixels, {colours}"
    screen.say(f"{dataset.name}: {counted(len(dataset), 'image')} of {len(dataset.classes)} classes, {size}")
    screen.say(", ".join(f"{len(prepared.rows(s)):,} {words}" for s, words in _SPLIT_WORDS.items()))
    return prepared


def _readable(pixels: Pixels) -> IntArray:
    return np.array([n for n, problem in enumerate(pixels.problems) if not problem], dtype=np.int64)


def check_network(prepared: Prepared, config: Config, screen: Screen) -> None:
    """Raise now what every training would raise later: an unknown device or backbone, weights that don't fit.

    Raises:
        ConfigError, ModelError: see :func:`~sit2.training.backbones.build_network`.
    """
    pick_device(config.device)
    channels = prepared.images.shape[1]
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
        screen.warn(
            "the weights are for colour and the images are gray: they keep one channel, and the first "
            "convolution is summed over its three, which computes the same"
        )


_SPLIT_WORDS = {"train": "for training", "val": "for validation", "test": "for the test"}


def measure_confusion(
    prepared: Prepared, config: Config, screen: Screen, *, keep: Path | None = None
) -> tuple[Confusion, list[ClassPair]]:
    """Estimate confusion out of fold, on the training images only; rank the pairs and choose among them."""
    if config.confusion == "probe":
        probabilities = probe(prepared, config, screen)
    else:
        probabilities = _train_folds(prepared, config, screen, keep)
    dataset = prepared.dataset.take(prepared.rows("train"))
    confusion = measure(probabilities, dataset.labels, dataset.classes)
    return confusion, choose(confusion, config)


def probe(prepared: Prepared, config: Config, screen: Screen) -> FloatArray:
    """(N, K) probabilities for the training images, in closed form."""
    train, augment = prepared.rows("train"), PRESETS[config.augment]
    dataset = prepared.dataset.take(train)
    device = pick_device(config.device)
    with screen.progress("Probing confusion") as show, threads(config.threads):
        return probe_probabilities(
            prepared.images,
            dataset.labels,
            len(dataset.classes),
            rows=train,
            groups=prepared.bound_groups("train"),
            mirror=augment.mirror,
            any_way_up=augment.any_way_up,
            seeds=training_seeds(config),
            device="cpu" if device == "mps" else device,  # which has no float64
            progress=show,
        )


def _train_folds(prepared: Prepared, config: Config, screen: Screen, keep: Path | None) -> FloatArray:
    """(N, K) probabilities for the training images, each from a network trained on the other folds."""
    work = FoldWork.of(prepared, config, keep)
    jobs = [(f"fold-{number}", job) for number, job in enumerate(work.jobs)]
    title = "Measuring confusion"
    workers = plan_workers(config, len(jobs))
    return work.probabilities(run_all(jobs, workers=workers, screen=screen, title=title, keep=keep))


@dataclass(frozen=True)
class FoldWork:
    """The trainings that measure confusion out of fold."""

    folds: list[Fold]  # (rows to train on, rows held out), of the training images
    jobs: list[Job]  # one for each fold
    shape: tuple[int, int]  # (N training images, K classes)

    @classmethod
    def of(cls, prepared: Prepared, config: Config, keep: Path | None = None) -> FoldWork:
        """Plan the folds; ``keep`` is a folder for checkpoints."""
        train, seeds = prepared.rows("train"), training_seeds(config)
        dataset = prepared.dataset.take(train)
        parts = folds(
            dataset.labels, dataset.groups, config.folds, seeds.child("folds"), copies=dataset.copies
        )
        jobs = [
            Job(
                "plain",
                _fold_config(config),
                seeds.child("fold", number),
                dataset.classes,
                prepared.images,
                prepared.dataset.labels,
                train_rows=train[inside],
                predict_rows=train[held_out],
                checkpoint=keep / f"fold-{number}.pt" if keep else None,
            )
            for number, (inside, held_out) in enumerate(parts)
        ]
        return cls(parts, jobs, (len(train), len(dataset.classes)))

    def probabilities(self, outcomes: Sequence[Outcome]) -> FloatArray:
        """Put what the folds predicted together: (N, K)."""
        return out_of_fold_probabilities(
            *self.shape, self.folds, lambda _: [outcome.probabilities for outcome in outcomes]
        )


def _fold_config(config: Config) -> Config:
    """Half the budget, unless told otherwise, and no early stopping."""
    if config.confusion_epochs is not None:
        return replace(config, epochs=config.confusion_epochs, passes=None, early_stop=0)
    passes = None if config.passes is None else max(1, config.passes // 2)
    return replace(config, epochs=max(0.01, config.epochs / 2), passes=passes, early_stop=0)


def choose(confusion: Confusion, config: Config) -> list[ClassPair]:
    """Rank all pairs and mark the chosen ones, by the configured rule."""
    return choose_pairs(
        rank_pairs(confusion),
        num_classes=len(confusion.classes),
        coverage=config.pair_coverage,
        min_confused=config.min_confused,
        max_pairs=config.max_pairs,
    )


def train_methods(
    prepared: Prepared,
    config: Config,
    methods: Sequence[str],
    pairs: Sequence[ClassPair],
    screen: Screen,
    *,
    models: Mapping[str, Path],
    keep: Path | None = None,
) -> dict[str, Outcome]:
    """Train every method from the same initial weights at the same budget; predict validation and test.

    ``models`` says where to write which method's model.
    """
    workers = plan_workers(config, len(methods))
    jobs = [
        (
            method,
            Job(
                method,
                config,
                training_seeds(config),
                prepared.dataset.classes,
                prepared.images,
                prepared.dataset.labels,
                train_rows=prepared.rows("train"),
                val_rows=prepared.rows("val"),
                predict_rows=np.concatenate([prepared.rows("val"), prepared.rows("test")]),
                pairs=tuple(pair for pair in pairs if pair.chosen),
                checkpoint=keep / f"{method}.pt" if keep else None,
                save_to=models.get(method),
                groups=prepared.bound_groups("train"),
            ),
        )
        for method in methods
    ]
    jobs = share_networks(jobs, keep)
    title = f"Training {len(methods)} networks"
    outcomes = run_all(jobs, workers=workers, screen=screen, title=title, keep=keep)
    return dict(zip(methods, outcomes, strict=True))
