"""Recipes × splits × seeds × numbers of labels, on one data set or many, as independent cells.

A cell is one recipe on one data set, split, seed and number of labels. Its answers are kept under a hash of
all that determines them: nothing is trained twice, whatever was stopped or is asked for later. A run is a grid
of one split and seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sit2.config.recipe import Recipe
from sit2.config.schema import Config, make_config
from sit2.evaluation.metrics import compute_metrics
from sit2.events import CellEnded, Event, Listener, Note, TrainingEnded, nobody
from sit2.execution.parts import Part
from sit2.execution.recipe_job import Outcome, RecipeJob
from sit2.execution.runner import run_recipes
from sit2.experiments.confusion import Measured, measure_confusion
from sit2.experiments.design import Grid
from sit2.experiments.folds import split_or_folds
from sit2.experiments.mirror_check import warned_of_flips
from sit2.experiments.planning import check_calibration, plan
from sit2.experiments.prepare import Prepared, frozen_features, load_images, training_seeds
from sit2.features.frozen import FeatureStore
from sit2.inference.decisions import Answers
from sit2.methods.phases import overlap
from sit2.records import ClassPair, Predictions
from sit2.seeds import Seeds


@dataclass(frozen=True)
class Cell:
    """One finished cell: the answers of one recipe, and what they were made with."""

    dataset: str
    labels: int | None  # training images a class that were asked for; None: all
    recipe: Recipe
    split: int
    seed: int
    predictions: Predictions  # of the test images
    validation: Predictions  # of predictors that were fitted without each image
    pairs: tuple[ClassPair, ...]  # ranked; ``chosen`` marks those that count as pairs in pair_error
    train_images: int
    val_images: int
    images: int  # of the whole data set
    outcome: Outcome
    fold: int = 0  # of cross-validation, from 1

    @property
    def method(self) -> str:
        """Return the recipe as it is written."""
        return str(self.recipe)

    @property
    def repeat(self) -> tuple[int, int]:
        """Return (split, seed): cells of one repeat are paired."""
        return self.split, self.seed

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """Return the metrics of the test predictions."""
        return compute_metrics(self.predictions, self.pairs)

    def row(self) -> dict[str, Any]:
        """Return the row of results.csv, and with it what the benchmark's file also has."""
        names: dict[str, Any] = {"dataset": self.dataset, "method": self.method}
        names |= {"split": self.split, "seed": self.seed, "budget": self.outcome.budget}
        more = {
            "labels_per_class": self.labels,
            "pairs": sum(pair.chosen for pair in self.pairs),
            "train_images": self.train_images,
            "val_images": self.val_images,
            "test_images": len(self.predictions.ids),
            "images": self.images,
        }
        return {**names, **self.metrics, "seconds": round(self.outcome.seconds, 2), **more}


@dataclass(frozen=True)
class Place:
    """A data set at one (split, seed, number of labels), with what its cells share."""

    name: str
    labels: int | None
    config: Config
    prepared: Prepared
    features: FeatureStore | None = None  # frozen ones of the training images
    measured: Measured | None = None
    fold: int = 0  # of cross-validation, from 1; 0: there is none

    @property
    def seeds(self) -> Seeds:
        """Return the seeds of its trainings."""
        seeds = training_seeds(self.config)
        return seeds.child("cv", self.fold) if self.fold else seeds

    @property
    def unseen(self) -> Part:
        """Return the images that what is kept is fitted to, after it was trained on all images.

        Validation images; with cross-validation those that the fold left out.
        """
        return self.parts["test" if self.fold else "val"]

    @cached_property
    def parts(self) -> dict[str, Part]:
        """Return the images of each split as jobs see them."""
        splits = ("train", "val", "test", "calibration")
        return {split: self.prepared.part(self.prepared.rows(split)) for split in splits}

    @property
    def split(self) -> int:
        """Return the root of its splits."""
        return self.config.split_root

    @property
    def pairs(self) -> tuple[ClassPair, ...]:
        """Return all pairs, ranked; none where confusion was not measured."""
        return () if self.measured is None else self.measured.pairs

    def job(self, recipe: Recipe, config: Config | None = None, **more: Any) -> RecipeJob:
        """Return everything that has to be done for a recipe here; ``more`` as :func:`plan` takes it."""
        return plan(
            recipe,
            config=config or self.config,
            seeds=self.seeds,
            classes=self.prepared.dataset.classes,
            store=self.prepared.store,
            train=self.parts["train"],
            val=self.parts["val"],
            predict=self.parts["test"],
            calibration=self.parts["calibration"],
            start=self.prepared.start,
            features=self.features,
            chosen=() if self.measured is None else self.measured.chosen,
            layout=self.prepared.dataset.layout,
            **more,
        )

    def cell(self, recipe: Recipe, outcome: Outcome) -> Cell:
        """Put finished answers beside the truth."""
        prepared = self.prepared
        val, test = prepared.rows("val"), prepared.rows("test")
        return Cell(
            self.name,
            self.labels,
            recipe,
            self.split,
            self.config.seed,
            prepared.predictions(test, outcome.answers),
            prepared.predictions(val, Answers(outcome.validation)),
            self.pairs,
            len(prepared.rows("train")),
            len(val),
            len(prepared.dataset),
            outcome,
            self.fold,
        )


Grown = Callable[[list[Cell]], None]  # called with the finished cells, in the grid's order
Models = Callable[[Recipe], Path | None]  # where to write a recipe's model


@dataclass(frozen=True)
class GridRun:
    """The stages of a grid: :meth:`rounds` of places, then :meth:`measure` and :meth:`answer` each.

    In rounds: every recipe on every data set at one (split, seed), then the next, so that what is finished is
    balanced whenever it is read.
    """

    grid: Grid
    config: Config
    keep: Path  # folder of finished answers and checkpoints
    networks: Path  # where trained networks are kept
    listener: Listener

    def rounds(self) -> Iterator[list[Place]]:
        """Yield the places of each round: images decoded and split.

        Raises:
            Sit2Error: for anything that the caller can fix, before anything is trained.
        """
        configs = [make_config(self.config.as_dict(), source.settings) for source in self.grid.sources]
        loaded = [
            load_images(source.data, config, self.listener)
            for source, config in zip(self.grid.sources, configs, strict=True)
        ]
        if len(loaded) > 1:  # what is told of each bears the name that it is compared under
            loaded = [
                replace(images, found=replace(images.found, name=source.name))
                for source, images in zip(self.grid.sources, loaded, strict=True)
            ]
        configs = [images.config for images in loaded]
        for source, config, images in zip(self.grid.sources, configs, loaded, strict=True):
            if self.grid.splits > 1 and "test" in images.found.splits and not config.resplit:
                self.listener(
                    Note(
                        f"{source.name} comes with test images of its own: every split tests the same ones, "
                        "which is no repeat; --resplit draws new ones"
                    )
                )
        for number, (split, seed) in enumerate(self.grid.repeats(self.config)):
            listener = self.listener if number == 0 else nobody  # sizes are told once
            places = []
            for source, config, images in zip(self.grid.sources, configs, loaded, strict=True):
                for labels in self.grid.labels or (config.labels_per_class,):
                    own = replace(config, labels_per_class=labels, split_seed=split, seed=seed)
                    parts = split_or_folds(images, own, listener)
                    for part in parts:
                        val, kept = (part.part(part.rows(split)) for split in ("val", "calibration"))
                        check_calibration(self.grid.recipes, own, val, kept, trials=self.grid.trials)
                    if number == 0 and labels == (self.grid.labels or (labels,))[0]:  # the same everywhere
                        parts[0] = warned_of_flips(parts[0], own, listener)
                    places += [
                        Place(source.name, labels, own, part, fold=fold if own.cv else 0)
                        for fold, part in enumerate(parts, 1)
                    ]
            yield places

    def measure(self, places: Sequence[Place], title: str = "Measuring confusion") -> list[Place]:
        """Return the places with their confusion, measured on the training images alone.

        Where no recipe uses it, that of the folds is not measured.
        """
        places = [replace(place, features=self._features(place)) for place in places]
        needed = any(recipe.needs_confusion for recipe in self.grid.recipes)
        unmeasured = [] if needed else [place for place in places if place.fold]
        places = places if needed else [place for place in places if not place.fold]
        measured = measure_confusion(
            [(place.prepared, place.config, place.features) for place in places],
            needed=needed,
            networks=self.networks,
            keep=self.keep,
            listener=self.listener,
            title=title,
        )
        found = [replace(place, measured=one) for place, one in zip(places, measured, strict=True)]
        for place in found:
            if place.fold <= 1:
                self._note_overlap(place)
        return [*unmeasured, *found]

    def _features(self, place: Place) -> FeatureStore | None:
        """Return frozen features of all images that networks are trained on, sooner or later."""
        prepared, rows = place.prepared, None
        if place.config.refits:
            rows = np.arange(len(prepared.dataset)) if place.config.cv else prepared.used
        return frozen_features(prepared, place.config, self.networks, self.listener, rows=rows)

    def _note_overlap(self, place: Place) -> None:
        """Say where random pairs cannot all be others than the chosen ones."""
        chosen, classes = (
            () if place.measured is None else place.measured.chosen,
            place.prepared.dataset.classes,
        )
        for recipe in self.grid.recipes:
            if common := overlap(recipe.pairs, chosen, len(classes)):
                self.listener(
                    Note(
                        f"{recipe}: {common} of its {len(chosen)} random pairs are chosen ones, because "
                        f"{len(classes)} classes have too few others: it is hardly a control on {place.name}"
                    )
                )

    def answer(
        self,
        places: Sequence[Place],
        title: str = "Training",
        *,
        grown: Grown = lambda _cells: None,
        models: Models = lambda _recipe: None,
        before: int = 0,
    ) -> list[Cell]:
        """Train every recipe at every place, and return the cells in the grid's order.

        Args:
            places: as :meth:`measure` returns them.
            title: what the progress is called.
            grown: called with the finished cells whenever there is another.
            models: where to write which recipe's model; for grids of one place.
            before: cells of earlier rounds, for the number of each.
        """
        wanted = [(place, recipe) for place in places for recipe in self.grid.recipes]
        jobs = [
            place.job(recipe, trials=self.grid.trials, name=self.name_of(place), save_to=models(recipe))
            for place, recipe in wanted
        ]
        done: dict[int, Cell] = {}
        every = len(wanted) * len(self.grid.repeats(self.config))

        def add(n: int, outcome: Outcome) -> None:
            place, recipe = wanted[n]
            done[n] = place.cell(recipe, outcome)
            grown([done[k] for k in sorted(done)])
            if not self.grid.is_run:
                name = f"{self.name_of(place)}{recipe}"
                accuracy = float(done[n].predictions.correct.mean())
                self.listener(CellEnded(name, before + len(done), every, accuracy))

        def listener(event: Event) -> None:
            """Pass on what happens; of a cell its own line says that its training has ended."""
            if self.grid.is_run or not isinstance(event, TrainingEnded):
                self.listener(event)

        run_recipes(
            jobs,
            config=self.config,
            listener=listener,
            title=title,
            networks=self.networks,
            keep=self.keep,
            done=add,
        )
        return [done[n] for n in range(len(wanted))]

    def name_of(self, place: Place) -> str:
        """Return what a place's trainings are called, where there are several places."""
        if place.fold:
            return f"fold {place.fold}: "
        if len(self.grid.sources) == self.grid.splits == self.grid.seeds == 1 and len(self.grid.labels) < 2:
            return ""
        labels = "" if place.labels is None else f"{place.labels} labels, "
        return f"{place.name}, {labels}split {place.split}, seed {place.config.seed}: "
