"""Runs that are finished, compared with each other on the test images that they share: nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sit2.data.words import counted
from sit2.errors import RunFolderError
from sit2.evaluation.metrics import Metrics, compute_metrics
from sit2.evaluation.statistics import TestResult, compare_all
from sit2.records import Predictions
from sit2.report.data import RunData, load_run
from sit2.seeds import Seeds
from sit2.storage.run_info import read_info


@dataclass(frozen=True)
class Finished:
    """The main recipes of some runs, on the same test images; the first is the control of the others."""

    predictions: dict[str, Predictions]  # by "folder (recipe)"
    metrics: dict[str, Metrics]
    tests: dict[str, TestResult]
    folds: int = 0  # of cross-validation that the first is of


def compare_finished(folders: Sequence[Path]) -> Finished:
    """Compare the main recipes of two runs or more; every one with the first.

    Raises:
        RunFolderError: one is no finished run with predictions, or they tested other images.
    """
    runs = [_load(folder) for folder in folders]
    first, predictions = runs[0], dict[str, Predictions]()
    for folder, run in zip(folders, runs, strict=True):
        assert run.method is not None
        own = run.predictions[run.method]
        if name_of(folder, run) in predictions:
            raise RunFolderError(f"the run {folder} is named twice\nexpected each once")
        predictions[name_of(folder, run)] = _in_order_of(first, folders[0], own, run, folder)
    control, *others = predictions
    tests = {
        name: replace(test, folds=first.folds)
        for name, test in compare_all(predictions, dict.fromkeys(others, control), seeds=Seeds(0)).items()
    }
    metrics = {name: compute_metrics(one, ()) for name, one in predictions.items()}
    return Finished(predictions, metrics, tests, first.folds)


def name_of(folder: Path, run: RunData) -> str:
    """Return what a run is called beside others."""
    return f"{folder} ({run.method})"


def _load(folder: Path) -> RunData:
    if read_info(folder).is_comparison:
        raise RunFolderError(
            f"{folder} is the folder of a comparison\nexpected runs, as `sit2 train` writes them"
        )
    run = load_run(folder)
    if not run.complete or run.method is None:
        raise RunFolderError(
            f"the run in {folder} is not finished or has no test\nexpected one that `sit2 train` has finished"
        )
    return run


def _in_order_of(
    first: RunData, first_folder: Path, own: Predictions, run: RunData, folder: Path
) -> Predictions:
    """Return a run's predictions in the order of the first run's test images.

    Raises:
        RunFolderError: the classes, the images or the labels are not the same.
    """
    assert first.method is not None
    wanted = first.predictions[first.method]
    if run.classes != first.classes:
        raise RunFolderError(
            f"the runs in {first_folder} and {folder} have other classes\nexpected the same ones"
        )
    place = {name: n for n, name in enumerate(own.ids)}
    common = [place[name] for name in wanted.ids if name in place]
    if not len(common) == len(own.ids) == len(wanted.ids):
        raise RunFolderError(
            f"the runs in {first_folder} and {folder} tested other images: {len(wanted.ids):,} and "
            f"{len(own.ids):,}, of which {counted(len(common), 'is', 'are')} the same\n"
            "expected the same test: train both with the same data, --seed and --split-seed"
        )
    rows = own.take(np.array(common, dtype=np.int64))
    if not (rows.labels == wanted.labels).all():
        raise RunFolderError(
            f"the runs in {first_folder} and {folder} have other labels for the same test images"
        )
    return replace(rows, groups=wanted.groups)
