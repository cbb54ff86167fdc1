"""The stages of a run, each a function of what the stages before it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sit2.config import Config
from sit2.confusion.estimate import Fold, out_of_fold_probabilities
from sit2.confusion.pairs import choose_pairs, measure, rank_pairs
from sit2.confusion.probe import probe_probabilities
from sit2.data.cache import cache_folder
from sit2.data.readers import read_dataset
from sit2.data.readers.validate import validate
from sit2.data.splits import describe, folds, limit_labels, make_splits
from sit2.data.store import fingerprint, load_pixels
from sit2.data.words import counted, listed
from sit2.job import Job, Outcome
from sit2.parallel import plan_workers, run_all
from sit2.records import ByteArray, ClassPair, Confusion, Dataset, FloatArray, IntArray, Predictions
from sit2.screen import Screen
from sit2.seeds import Seeds
from sit2.training.augment import PRESETS
from sit2.training.backbones import build_network
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

    def rows(self, split: str) -> IntArray:
        """Return the rows of a split, in the dataset's order."""
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def predictions(self, rows: IntArray, probabilities: FloatArray) -> Predictions:
        """Put a model's probabilities (len(rows), K) beside the truth."""
        part = self.dataset.take(rows)
        return Predictions(part.ids, part.labels, probabilities, part.groups)

    def feed(self, config: Config) -> Feed:
        """Return the training images as a phase draws them, but not normalised: they can be looked at."""
        rows, channels = self.rows("train"), self.images.shape[1]
        return Feed.of(
            self.images,
            self.dataset.labels,
            len(self.dataset.classes),
            rows=rows,
            normalise=Normalisation((0.0,) * channels, (1.0,) * channels),
            augment=PRESETS[config.augment],
            seeds=Seeds(config.seed).child("examples"),
        )


def prepare(source: str | Path | Dataset, config: Config, screen: Screen) -> Prepared:
    """Find the images, decode them, leave out the unreadable, split the rest.

    Raises:
        DataError: when nothing could be trained on what is there.
    """
    found = source if isinstance(source, Dataset) else read_dataset(source, groups=config.groups)
    for note in found.notes:
        screen.warn(note)
    with screen.progress("Reading images") as show:
        pixels = load_pixels(
            found,
            size=config.image_size,
            channels=config.channels,
            resize=config.resize,
            cache=cache_folder(config.cache),
            progress=lambda done, total: show(done / total, f"{done:,} of {total:,}"),
        )
    readable = np.array([not problem for problem in pixels.problems])
    good = np.flatnonzero(readable).astype(np.int64)
    dataset = found if readable.all() else found.take(good)
    images = pixels.images if readable.all() else pixels.images[good]
    if not readable.all():
        bad = [f"{found.paths[n]} ({pixels.problems[n]})" for n in np.flatnonzero(~readable)]
        screen.warn(left_out(bad))
        validate(dataset)
    seeds = Seeds(config.seed)
    splits = make_splits(
        dataset,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        seeds=seeds.child("splits"),
    )
    if config.labels_per_class is not None:
        splits = limit_labels(splits, dataset.labels, config.labels_per_class, seeds.child("labels"))
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
        }
    )
    prepared = Prepared(dataset, images, splits, samples, fingerprint(found, pixels))
    colours = "gray" if images.shape[1] == 1 else "colour"
    size = f"{config.image_size} × {config.image_size} pixels, {colours}"
    screen.say(f"{dataset.name}: {counted(len(dataset), 'image')} of {len(dataset.classes)} classes, {size}")
    screen.say(", ".join(f"{len(prepared.rows(s)):,} {words}" for s, words in _SPLIT_WORDS.items()))
    return prepared


def check_network(prepared: Prepared, config: Config) -> None:
    """Raise now what every training would raise later: an unknown device or backbone, weights that don't fit.

    Raises:
        ConfigError, ModelError: see :func:`~sit2.training.backbones.build_network`.
    """
    pick_device(config.device)
    build_network(
        config.backbone,
        channels=prepared.images.shape[1],
        image_size=config.image_size,
        outputs=len(prepared.dataset.classes),
        seed=config.seed,
        pretrained=config.pretrained,
        weights=config.weights,
    )


_SPLIT_WORDS = {"train": "for training", "val": "for validation", "test": "for the test"}


def left_out(bad: Sequence[str]) -> str:
    """Say which images cannot be read."""
    are = "is" if len(bad) == 1 else "are"
    return f"{counted(len(bad), 'image')} cannot be read and {are} left out: {listed(bad)}"


def measure_confusion(
    prepared: Prepared, config: Config, screen: Screen, *, keep: Path | None = None
) -> tuple[Confusion, list[ClassPair]]:
    """Estimate confusion out of fold, on the training images only; rank the pairs and choose among them."""
    if config.confusion == "probe":
        probabilities = _probe(prepared, config, screen)
    else:
        probabilities = _train_folds(prepared, config, screen, keep)
    dataset = prepared.dataset.take(prepared.rows("train"))
    confusion = measure(probabilities, dataset.labels, dataset.classes)
    return confusion, choose(confusion, config)


def _probe(prepared: Prepared, config: Config, screen: Screen) -> FloatArray:
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
            groups=dataset.groups,
            mirror=augment.mirror,
            any_way_up=augment.any_way_up,
            seeds=Seeds(config.seed),
            device="cpu" if device == "mps" else device,  # which has no float64
            progress=show,
        )


def _train_folds(prepared: Prepared, config: Config, screen: Screen, keep: Path | None) -> FloatArray:
    """(N, K) probabilities for the training images, each from a network trained on the other folds."""
    train = prepared.rows("train")
    dataset, seeds = prepared.dataset.take(train), Seeds(config.seed)
    epochs = config.epochs / 2 if config.confusion_epochs is None else config.confusion_epochs
    fold_config = replace(config, epochs=epochs, early_stop=0)
    parts = folds(dataset.labels, dataset.groups, config.folds, seeds.child("folds"))
    workers = plan_workers(config, len(parts))

    def predict_folds(parts: Sequence[Fold]) -> list[FloatArray]:
        jobs = [
            (
                f"fold-{number}",
                Job(
                    "plain",
                    fold_config,
                    seeds.child("fold", number),
                    dataset.classes,
                    prepared.images,
                    prepared.dataset.labels,
                    train_rows=train[inside],
                    predict_rows=train[held_out],
                    checkpoint=keep / f"fold-{number}.pt" if keep else None,
                ),
            )
            for number, (inside, held_out) in enumerate(parts)
        ]
        title = f"Measuring confusion in {len(parts)} folds"
        outcomes = run_all(jobs, workers=workers, screen=screen, title=title, keep=keep)
        return [outcome.probabilities for outcome in outcomes]

    return out_of_fold_probabilities(len(train), len(dataset.classes), parts, predict_folds)


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
                Seeds(config.seed),
                prepared.dataset.classes,
                prepared.images,
                prepared.dataset.labels,
                train_rows=prepared.rows("train"),
                val_rows=prepared.rows("val"),
                predict_rows=np.concatenate([prepared.rows("val"), prepared.rows("test")]),
                pairs=tuple(pair for pair in pairs if pair.chosen),
                checkpoint=keep / f"{method}.pt" if keep else None,
                save_to=models.get(method),
            ),
        )
        for method in methods
    ]
    title = f"Training {', '.join(methods)}"
    outcomes = run_all(jobs, workers=workers, screen=screen, title=title, keep=keep)
    return dict(zip(methods, outcomes, strict=True))


def predictions_table(predictions: Predictions, classes: Sequence[str], paths: Sequence[str]) -> pd.DataFrame:
    """Return a table of the contract's columns: id, path, label, predicted, p_<class>…"""
    label = [classes[n] if n >= 0 else "" for n in predictions.labels]
    predicted = [classes[n] for n in predictions.predicted]
    table = pd.DataFrame({"id": predictions.ids, "path": paths, "label": label, "predicted": predicted})
    columns = [f"p_{name}" for name in classes]
    return pd.concat([table, pd.DataFrame(predictions.probabilities, columns=columns)], axis=1)
