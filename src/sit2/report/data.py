"""What the folder of a run or of a comparison holds, read by the readers of its files. Absent files leave gaps.

N test images, K classes. This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sit2.config.recipe import AUTO, Recipe
from sit2.confusion.matrix_file import read_matrix
from sit2.confusion.pairs_file import read_pairs
from sit2.confusion.predictions_file import read_run_predictions
from sit2.data.quality.findings import Finding, read_findings
from sit2.data.samples import Samples, read_samples
from sit2.errors import ConfigError, DataError
from sit2.evaluation.class_figures import ClassFigures, class_figures
from sit2.evaluation.metrics import Metrics, read_metrics
from sit2.evaluation.ranks import Ranks, read_ranks
from sit2.evaluation.results import CellResult, Summary, read_results, read_summary
from sit2.evaluation.selective import SetReport, read_set_reports
from sit2.evaluation.statistics import TestResult, read_tests
from sit2.evaluation.verdicts import RepeatedResult, read_verdicts
from sit2.methods import METHODS
from sit2.records import ClassPair, Confusion, Predictions
from sit2.report.unfinished import signs
from sit2.storage.reading import damaged, read_settings
from sit2.storage.run_folder import predictions_file
from sit2.storage.run_info import RunInfo, read_info
from sit2.training.history import Epoch, read_history


@dataclass(frozen=True)
class RunData:
    """A run, as far as it got."""

    folder: Path
    info: RunInfo
    settings: Mapping[str, Any]
    classes: tuple[str, ...]
    samples: Samples
    predictions: Mapping[str, Predictions]  # by recipe, of the N test images
    paths: tuple[str, ...]  # N, relative to the data set's root
    metrics: Mapping[str, Metrics]  # by recipe, of the test images
    tests: Mapping[str, TestResult]  # recipe → its test against its control
    pairs: tuple[ClassPair, ...]  # ranked
    confusion: Confusion | None  # out of fold, on the training images
    history: tuple[Epoch, ...]  # with cross-validation, of the first fold
    findings: tuple[Finding, ...] | None  # None: the data set was not checked
    sets: Mapping[str, SetReport] = field(
        default_factory=dict
    )  # by recipe, of those that give sets or decide

    @cached_property
    def method(self) -> str | None:
        """The recipe that the run was made for; None before there are predictions."""
        asked = _canonical(str(self.settings.get("method", "")))
        if asked in self.predictions:
            return asked
        return next(reversed([*self.predictions, *self.tests]), None) if self.predictions else None

    def control_of(self, method: str) -> str | None:
        """Return what a recipe is compared with; None where there is nothing."""
        if method in self.tests:
            control: str | None = self.tests[method].control
        else:
            control = _control(method, str(self.settings.get("control", AUTO)))
        return control if control in self.predictions else None

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """The recipes that the page shows side by side: the control, where there is one, and the method."""
        if self.method is None:
            return ()
        control = self.control_of(self.method)
        return (self.method,) if control is None else (control, self.method)

    @cached_property
    def references(self) -> tuple[str, ...]:
        """The recipes that train nothing and stand beside the others, as nobody's control: what that reaches."""
        controls = {self.control_of(recipe) for recipe in self.predictions}
        others = [one for one in self.predictions if one != self.method and one not in controls]
        return tuple(one for one in others if one not in self.tests and _in_closed_form(one))

    @cached_property
    def unfinished(self) -> Mapping[str, tuple[str, ...]]:
        """Why trainings look unfinished, by recipe; those that do not are left out."""
        found = {
            recipe: signs(recipe, one, self.history, self.classes) for recipe, one in self.predictions.items()
        }
        return {recipe: why for recipe, why in found.items() if why}

    @cached_property
    def figures(self) -> tuple[ClassFigures, ...]:
        """How well the run's main recipe does on each class; nothing before there are predictions."""
        return () if self.method is None else class_figures(self.predictions[self.method], self.classes)

    @cached_property
    def folds(self) -> int:
        """How many folds of cross-validation the figures are of; 0: a held-out test."""
        return len(set(self.samples.folds) - {""})

    @property
    def refit(self) -> bool:
        """Whether the models that are kept were trained on all images, after others were evaluated."""
        return self.settings.get("refit") is True or self.folds > 0

    @property
    def test(self) -> TestResult | None:
        """The paired comparison that the run was made for."""
        return None if self.method is None else self.tests.get(self.method)

    @property
    def chosen(self) -> tuple[ClassPair, ...]:
        """The pairs that count as confused."""
        return tuple(pair for pair in self.pairs if pair.chosen)

    @property
    def complete(self) -> bool:
        """Whether the run was finished."""
        return self.info.complete


def _canonical(recipe: str) -> str:
    """Return a recipe as it is written; as it stands where this version does not know it."""
    try:
        return str(Recipe.parse(recipe))
    except ConfigError:
        return recipe


def _in_closed_form(recipe: str) -> bool:
    try:
        return METHODS[Recipe.parse(recipe).method].in_closed_form
    except ConfigError:
        return False


def _control(recipe: str, asked: str) -> str | None:
    try:
        control = Recipe.parse(recipe).control(asked)
    except ConfigError:
        return None
    return None if control is None else str(control)


def load_run(folder: Path) -> RunData:
    """Read the folder of a run.

    Raises:
        RunFolderError: it is no such folder, another version wrote it, or a file in it is damaged.
    """
    info, samples = read_info(folder), read_samples(folder / "samples.csv")
    measured = next((f for f in (folder / "confusion", folder) if (f / "matrix.csv").exists()), folder)
    confusion = read_matrix(measured / "matrix.csv")
    classes = info.dataset.classes or (() if confusion is None else confusion.classes)
    if confusion is not None and confusion.classes != classes:
        raise damaged(measured / "matrix.csv", "its classes are not those of run.json")
    predictions, paths = _predictions(folder, info, samples, classes)
    metrics = read_metrics(folder / "metrics.json")
    run = RunData(
        folder=folder,
        info=info,
        settings=read_settings(folder / "config.yaml"),
        classes=classes,
        samples=samples,
        predictions=predictions,
        paths=paths,
        metrics={recipe: splits["test"] for recipe, splits in metrics.items() if "test" in splits},
        tests=read_tests(folder / "comparison.json"),
        pairs=_pairs(measured / "pairs.csv", classes),
        confusion=confusion,
        history=tuple(row for row in read_history(folder / "history.csv") if row.fold in ("", "1")),
        findings=read_findings(folder / "check.json"),
        sets=read_set_reports(folder / "sets.json"),
    )
    return replace(run, tests={name: _with_signs(test, run) for name, test in run.tests.items()})


def _with_signs(test: TestResult, run: RunData) -> TestResult:
    """Say which trainings of a comparison look unfinished; as its file does where there are no predictions."""
    both = (test.method, test.control)
    if not all(name in run.predictions for name in both):
        return test
    return replace(test, unfinished=tuple(name for name in both if name in run.unfinished))


def _pairs(path: Path, classes: tuple[str, ...]) -> tuple[ClassPair, ...]:
    try:
        return tuple(read_pairs(path, classes)) if path.exists() else ()
    except DataError as error:
        raise damaged(path, str(error).partition("\n")[0]) from None


def _predictions(
    folder: Path, info: RunInfo, samples: Samples, classes: tuple[str, ...]
) -> tuple[dict[str, Predictions], tuple[str, ...]]:
    """Return the predictions of the test images by recipe, and the paths of these images."""
    test = samples.rows("test")
    groups = {samples.ids[n]: samples.groups[n] if samples.groups else "" for n in test}
    found: dict[str, Predictions] = {}
    paths: tuple[str, ...] = ()
    for recipe in info.methods:
        path = predictions_file(folder, recipe)
        file = read_run_predictions(path)
        if file is None:
            continue
        if file.classes != classes:
            raise damaged(path, "its classes are not those of run.json")
        rows = np.array([n for n, name in enumerate(file.predictions.ids) if name in groups], dtype=np.int64)
        own = file.predictions.take(rows)
        if samples.groups:
            own = replace(own, groups=tuple(groups[name] for name in own.ids))
        first = next(iter(found.values()), own)
        if own.ids != first.ids or len(own.ids) != len(test):
            raise damaged(path, "it is not of the run's test images, in the order of the other files")
        if len(rows):
            found[recipe], paths = own, tuple(file.paths[n] for n in rows)
    return found, paths


@dataclass(frozen=True)
class ComparisonData:
    """A comparison, as far as it got."""

    folder: Path
    info: RunInfo
    settings: Mapping[str, Any]
    cells: tuple[CellResult, ...]
    summaries: tuple[Summary, ...]
    results: tuple[RepeatedResult, ...]  # each recipe against its control, on each data set
    ranks: Ranks | None

    @property
    def datasets(self) -> tuple[str, ...]:
        """In the order of results.csv."""
        return tuple(dict.fromkeys(cell.dataset for cell in self.cells))

    @property
    def methods(self) -> tuple[str, ...]:
        """In the order of results.csv."""
        return tuple(dict.fromkeys(cell.method for cell in self.cells))


def load_comparison(folder: Path) -> ComparisonData:
    """Read the folder of a comparison.

    Raises:
        RunFolderError: it is no such folder, another version wrote it, or a file in it is damaged.
    """
    return ComparisonData(
        folder=folder,
        info=read_info(folder),
        settings=read_settings(folder / "config.yaml"),
        cells=read_results(folder / "results.csv"),
        summaries=read_summary(folder / "summary.csv"),
        results=read_verdicts(folder / "comparison.json"),
        ranks=read_ranks(folder / "ranks.json"),
    )
