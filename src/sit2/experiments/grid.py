"""Methods × splits × seeds × numbers of labels, on one data set or many, as independent cells.

A cell is one method on one data set, split, seed and number of labels. Its training is kept in ``cells/``
under a hash of all that determines it: nothing is trained twice, whatever was stopped or is asked for later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sit2.cli.screen import Screen
from sit2.config.schema import Config, check_method, make_config
from sit2.confusion.pairs import measure, pairs_table
from sit2.errors import ConfigError
from sit2.evaluation.metrics import compute_metrics
from sit2.execution.job import Job, Outcome
from sit2.execution.pool import plan_workers, run_all, share_networks
from sit2.experiments.stages import (
    FoldWork,
    Loaded,
    Prepared,
    check_network,
    choose,
    load_images,
    probe,
    split_images,
    training_seeds,
)
from sit2.records import ClassPair, Predictions
from sit2.storage.run_folder import RunFolder


@dataclass(frozen=True)
class Source:
    """A data set, and the settings that are its own, such as ``augment`` and ``groups``."""

    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name that stands in results.csv."""
        return self.path.expanduser().resolve().stem or "data"


@dataclass(frozen=True)
class Grid:
    """What is to be compared: every method on every source, split, seed and number of labels."""

    sources: tuple[Source, ...]
    methods: tuple[str, ...]
    splits: int = 5
    seeds: int = 1
    labels: tuple[int, ...] = ()  # training images a class, in place of labels_per_class
    trials: int = 1

    def __post_init__(self) -> None:
        for name, value in (("splits", self.splits), ("seeds", self.seeds), ("tune", self.trials)):
            if value < 1:
                raise ConfigError(f"{name} is {value}\nexpected at least 1")
        for method in self.methods:
            check_method(method)
        for what, names in (("method", self.methods), ("data set", [s.name for s in self.sources])):
            twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
            if twice:
                raise ConfigError(f"the {what} {twice[0]!r} is named twice\nexpected each name once")
        if len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"labels are {self.labels}\nexpected each number once")
        if any(n < 1 for n in self.labels):
            raise ConfigError(f"labels are {self.labels}\nexpected numbers of at least 1")

    def repeats(self, config: Config) -> list[tuple[int, int]]:
        """Return every (split, seed), from the configured ones upwards; another split first."""
        first = config.seed if config.split_seed is None else config.split_seed
        return [(first + s, config.seed + r) for r in range(self.seeds) for s in range(self.splits)]


@dataclass(frozen=True)
class Cell:
    """One finished cell: the test predictions of one method, and what they were made with."""

    dataset: str
    labels: int | None  # training images a class that were asked for; None: all
    method: str
    split: int
    seed: int
    predictions: Predictions  # of the test images
    pairs: tuple[ClassPair, ...]  # ranked; ``chosen`` marks those that count as pairs in pair_error
    train_images: int
    images: int  # of the whole data set
    outcome: Outcome

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
        names |= {"split": self.split, "seed": self.seed, "budget": self.outcome.passes}
        more = {
            "labels_per_class": self.labels,
            "pairs": sum(pair.chosen for pair in self.pairs),
            "train_images": self.train_images,
            "test_images": len(self.predictions.ids),
            "images": self.images,
        }
        return {**names, **self.metrics, "seconds": round(self.outcome.seconds, 2), **more}


@dataclass(frozen=True)
class Place:
    """A data set at one (split, seed, number of labels), with what its cells share."""

    name: str
    labels: int | None
    split: int
    seed: int
    config: Config
    prepared: Prepared
    pairs: tuple[ClassPair, ...] = ()

    def job(self, method: str, trials: int) -> Job:
        """Return a cell's training."""
        prepared = self.prepared
        rows = [prepared.rows(split) for split in ("train", "val", "test")]
        return Job(
            method,
            self.config,
            training_seeds(self.config),
            prepared.dataset.classes,
            prepared.images,
            prepared.dataset.labels,
            train_rows=rows[0],
            val_rows=rows[1],
            predict_rows=np.concatenate(rows[1:]),
            pairs=tuple(pair for pair in self.pairs if pair.chosen),
            trials=trials,
            groups=prepared.bound_groups("train"),
        )

    def cell(self, method: str, outcome: Outcome) -> Cell:
        """Put a finished training beside the truth."""
        prepared, test = self.prepared, self.prepared.rows("test")
        predictions = prepared.predictions(test, outcome.probabilities[-len(test) :])
        return Cell(
            self.name,
            self.labels,
            method,
            self.split,
            self.seed,
            predictions,
            self.pairs,
            len(prepared.rows("train")),
            len(prepared.dataset),
            outcome,
        )


Grown = Callable[[list[Cell]], None]  # called with all finished cells, in the grid's order


@dataclass
class GridRun:
    """Runs every cell of a grid that is not in ``folder`` yet.

    In rounds: every method on every data set at one (split, seed), then the next, so that what is finished is
    balanced whenever it is read.
    """

    grid: Grid
    config: Config
    folder: Path
    screen: Screen
    grown: Grown = lambda _cells: None
    begin: Callable[[], None] = lambda: None  # called when the input is known to be good, before any training

    def run(self) -> list[Cell]:
        """Return all cells, in the grid's order.

        Raises:
            Sit2Error: for anything that the caller can mend, before anything is trained.
        """
        configs = [make_config(self.config.as_dict(), source.settings) for source in self.grid.sources]
        loaded = [
            load_images(source.path, config, self.screen)
            for source, config in zip(self.grid.sources, configs, strict=True)
        ]
        for source, config, images in zip(self.grid.sources, configs, loaded, strict=True):
            if self.grid.splits > 1 and "test" in images.found.splits and not config.resplit:
                self.screen.warn(
                    f"{source.name} comes with test images of its own: every split tests the same ones, "
                    "which is no repeat; --resplit draws new ones"
                )
        cells: list[Cell] = []
        repeats = self.grid.repeats(self.config)
        for number, repeat in enumerate(repeats, 1):
            title = f"Round {number} of {len(repeats)}"
            screen = self.screen if number == 1 else replace(self.screen, quiet=True)  # sizes are told once
            places = [
                self._place(source, replace(config, labels_per_class=labels), images, repeat, screen)
                for source, config, images in zip(self.grid.sources, configs, loaded, strict=True)
                for labels in self.grid.labels or (config.labels_per_class,)
            ]
            if number == 1:
                for place in places:
                    check_network(place.prepared, place.config, self.screen)
                self.begin()
            cells += self._train(self._measure_confusion(places, title), cells, title)
        return cells

    @property
    def cells(self) -> Path:
        """The folder of finished trainings."""
        return self.folder / "cells"

    def _place(
        self, source: Source, config: Config, images: Loaded, repeat: tuple[int, int], screen: Screen
    ) -> Place:
        split, seed = repeat
        config = replace(config, split_seed=split, seed=seed)
        prepared = split_images(images, config, screen)
        return Place(source.name, config.labels_per_class, split, seed, config, prepared)

    def _measure_confusion(self, places: Sequence[Place], title: str) -> list[Place]:
        """Return the places with their pairs; the folds of all places are trained in one pool."""
        works = [FoldWork.of(p.prepared, p.config) if p.config.confusion == "folds" else None for p in places]
        jobs = [_named(job, self.cells) for work in works if work for job in work.jobs]
        outcomes = iter(self._run_all(jobs, f"{title}: measuring confusion"))
        measured = []
        for place, work in zip(places, works, strict=True):
            if work is None:
                probabilities = probe(place.prepared, place.config, self.screen)
            else:
                probabilities = work.probabilities([next(outcomes) for _ in work.jobs])
            dataset = place.prepared.dataset.take(place.prepared.rows("train"))
            confusion = measure(probabilities, dataset.labels, dataset.classes)
            measured.append(replace(place, pairs=tuple(choose(confusion, place.config))))
            self._write_pairs(measured[-1])
        return measured

    def _train(self, places: Sequence[Place], before: Sequence[Cell], title: str) -> list[Cell]:
        wanted = [(place, method) for place in places for method in self.grid.methods]
        jobs = [_named(place.job(method, self.grid.trials), self.cells) for place, method in wanted]
        jobs = share_networks(jobs, self.cells)
        done: dict[int, Cell] = {}

        def add(n: int, outcome: Outcome) -> None:
            place, method = wanted[n]
            done[n] = place.cell(method, outcome)
            self.grown([*before, *(done[k] for k in sorted(done))])

        self._run_all(jobs, f"{title}: {len(jobs)} cells", add)
        return [done[n] for n in range(len(wanted))]

    def _run_all(
        self,
        jobs: Sequence[tuple[str, Job]],
        title: str,
        done: Callable[[int, Outcome], None] | None = None,
    ) -> list[Outcome]:
        workers = plan_workers(self.config, max(1, len(jobs)))
        return run_all(jobs, workers=workers, screen=self.screen, title=title, keep=self.cells, done=done)

    def _write_pairs(self, place: Place) -> None:
        labels = "" if place.labels is None else f"-{place.labels}"
        name = f"pairs/{place.name}{labels}-split{place.split}-seed{place.seed}.csv"
        RunFolder(self.folder).write_table(name, pairs_table(place.pairs))


def _named(job: Job, cells: Path) -> tuple[str, Job]:
    """Return a job under the name that it is kept by."""
    key = job.key()
    return key, replace(job, checkpoint=cells / f"{key}.pt")
