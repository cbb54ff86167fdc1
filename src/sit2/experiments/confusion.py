"""The second stage: where a classifier confuses the classes, measured on the training images alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sit2.config.recipe import Recipe
from sit2.config.schema import Config
from sit2.confusion.out_of_fold import Fold, out_of_fold_probabilities
from sit2.confusion.pairs import choose_pairs, measure, rank_pairs
from sit2.data.splits import folds
from sit2.evaluation.proportions import Share
from sit2.events import Listener, Progress
from sit2.execution.parts import Part
from sit2.execution.recipe_job import Outcome, RecipeJob
from sit2.execution.runner import run_recipes
from sit2.experiments.planning import of_fold, plan
from sit2.experiments.prepare import Prepared, training_seeds
from sit2.features.closed_form import closed_form_probabilities
from sit2.features.frozen import FeatureStore
from sit2.features.opinion import fit_opinion
from sit2.records import ClassPair, Confusion, FloatArray, IntArray
from sit2.storage.run_info import MeasuredBy
from sit2.training.augmentations import PRESETS
from sit2.training.device import pick_device, threads

CLOSED_FORM = "a linear classifier for which no network was trained, each training image left out in turn"


@dataclass(frozen=True)
class Measured:
    """Confusion on one split, and all pairs ranked by it; ``chosen`` marks those that are used."""

    confusion: Confusion
    pairs: tuple[ClassPair, ...]
    by: MeasuredBy | None = None  # what measured it, and how good that is

    @property
    def chosen(self) -> tuple[ClassPair, ...]:
        """Return the chosen pairs."""
        return tuple(pair for pair in self.pairs if pair.chosen)


def measure_confusion(
    places: Sequence[tuple[Prepared, Config, FeatureStore | None]],
    *,
    needed: bool,
    networks: Path,
    keep: Path | None,
    listener: Listener,
    title: str = "Measuring confusion",
) -> list[Measured | None]:
    """Return the confusion of each place, in order; the folds of all places are trained in one pool.

    Args:
        places: prepared images, each with its configuration and, where there are some, frozen features.
        needed: whether a recipe uses pairs. If not, confusion is measured only where that is nearly free.
        networks, keep: see :func:`~sit2.execution.runner.run_recipes`.
        listener: hears how far it is.
        title: what the progress is called.
    """
    plans = [
        FoldPlan.of(prepared, config, f" ({number} of {len(places)})" if len(places) > 1 else "")
        if needed and config.confusion == "folds"
        else None
        for number, (prepared, config, _) in enumerate(places, 1)
    ]
    jobs = [job for one in plans if one is not None for job in one.jobs]
    outcomes = iter(
        run_recipes(jobs, config=places[0][1], listener=listener, title=title, networks=networks, keep=keep)
        if jobs
        else ()
    )
    found: list[Measured | None] = []
    for (prepared, config, features), one in zip(places, plans, strict=True):
        if one is not None:
            probabilities = one.probabilities([next(outcomes) for _ in one.jobs])
        elif config.confusion == "folds":
            found.append(None)
            continue
        else:
            probabilities = in_closed_form(prepared, config, features, listener, title)
        found.append(judged(prepared, config, probabilities))
    return found


def judged(prepared: Prepared, config: Config, probabilities: FloatArray) -> Measured:
    """Sum up left-out probabilities of the training images (N, K), and choose pairs."""
    dataset = prepared.dataset.take(prepared.rows("train"))
    by = CLOSED_FORM if config.confusion != "folds" else f"networks trained on {config.folds} folds"
    return summed(probabilities, dataset.labels, dataset.classes, config, by=by, groups=dataset.groups)


def summed(
    probabilities: FloatArray,
    labels: IntArray,
    classes: Sequence[str],
    config: Config,
    *,
    by: str,
    groups: Sequence[str] = (),
) -> Measured:
    """Sum up probabilities (N, K), ``by`` whom is said, of images with labels (N,), and choose pairs."""
    confusion = measure(probabilities, labels, classes)
    right = Share.of(probabilities.argmax(axis=1) == labels, groups)
    who = MeasuredBy(by, right.hits, right.n, right.lower, right.upper)
    return Measured(confusion, choose(confusion, config), who)


def choose(confusion: Confusion, config: Config) -> tuple[ClassPair, ...]:
    """Rank all pairs and mark the chosen ones, by the configured rule."""
    ranked = choose_pairs(
        rank_pairs(confusion),
        num_classes=len(confusion.classes),
        coverage=config.pair_coverage,
        min_confused=config.min_confused,
        max_pairs=config.max_pairs,
    )
    return tuple(ranked)


def in_closed_form(
    prepared: Prepared,
    config: Config,
    features: FeatureStore | None,
    listener: Listener,
    title: str = "Measuring confusion",
) -> FloatArray:
    """(N, K) left-out probabilities for the training images, in closed form.

    On random convolutional features, and on frozen ones beside them where there are some.
    """
    train, augmentation = prepared.part(prepared.rows("train")), PRESETS[config.augment]
    device = pick_device(config.device)
    given = prepared.store.images, train.labels, len(prepared.dataset.classes)
    how: dict[str, Any] = {
        "rows": train.rows,
        "groups": train.groups,
        "mirror": augmentation.mirror,
        "dihedral": augmentation.dihedral,
        "seeds": training_seeds(config),
        "device": "cpu" if device == "mps" else device,  # which has no float64
        "progress": lambda fraction, words: listener(Progress(title, fraction, words)),
    }
    with threads(config.threads):
        if features is None:
            return closed_form_probabilities(*given, **how)
        return fit_opinion(*given, features=features.of(train.rows), extractor=None, **how)[1]


@dataclass(frozen=True)
class FoldPlan:
    """The trainings that measure confusion out of fold."""

    folds: list[Fold]  # (rows to train on, rows held out), of the training images
    jobs: list[RecipeJob]  # one for each fold
    shape: tuple[int, int]  # (N training images, K classes)

    @classmethod
    def of(cls, prepared: Prepared, config: Config, place: str = "") -> FoldPlan:
        """Plan the folds; ``place`` tells them from those of others in the names of their trainings."""
        train, seeds = prepared.rows("train"), training_seeds(config)
        dataset = prepared.dataset.take(train)
        parts = folds(
            dataset.labels, dataset.groups, config.folds, seeds.child("folds"), duplicates=dataset.duplicates
        )
        jobs = [
            plan(
                Recipe("plain"),
                config=of_fold(config, len(inside)),
                start=prepared.start,
                seeds=seeds.child("fold", number),
                classes=dataset.classes,
                store=prepared.store,
                train=prepared.part(train[inside]),
                val=Part.empty(),
                predict=prepared.part(train[held_out]),
                name=f"{prepared.dataset.name}{place}, fold {number + 1}: ",
            )
            for number, (inside, held_out) in enumerate(parts)
        ]
        return cls(parts, jobs, (len(train), len(dataset.classes)))

    def probabilities(self, outcomes: Sequence[Outcome]) -> FloatArray:
        """Put what the folds predicted together: (N, K)."""
        found: FloatArray = out_of_fold_probabilities(
            *self.shape, self.folds, lambda _: [np.asarray(one.probabilities) for one in outcomes]
        )
        return found
