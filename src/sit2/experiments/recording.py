"""What a run writes into its folder, stage by stage, beside models, figures and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sit2.config.recipe import Recipe
from sit2.confusion.matrix_file import matrix_table
from sit2.confusion.pairs_file import pairs_table
from sit2.confusion.predictions_file import predictions_table
from sit2.data.quality.findings import findings_json
from sit2.data.thumbnails import write_thumbnails
from sit2.errors import RunFolderError
from sit2.evaluation.metrics import Metrics, compute_metrics
from sit2.evaluation.selective import SetReport
from sit2.evaluation.statistics import TestResult, compare_all
from sit2.experiments.artifacts import write_batches
from sit2.experiments.confusion import Measured
from sit2.experiments.grid import Cell, Place
from sit2.experiments.prepare import Prepared, training_seeds
from sit2.inference.decisions import level, set_report
from sit2.inference.predictions_writer import with_decisions
from sit2.methods.phases import make_phases, pairs_from
from sit2.records import Predictions
from sit2.seeds import Seeds
from sit2.storage.run_folder import RunFolder, predictions_file


def record_data(folder: RunFolder, prepared: Prepared) -> None:
    """Write samples.csv and check.json; refuse to go on with a run whose images have changed.

    Raises:
        RunFolderError: when the unfinished run saw other images, labels or splits.
    """
    before = folder.info.get("dataset", {}).get("fingerprint")
    if before not in (None, prepared.fingerprint):
        raise RunFolderError(
            f"the images or labels have changed since the run in {folder.path} began\n"
            "use --overwrite to begin again, or another -o"
        )
    folder.write_table("samples.csv", prepared.samples.table())
    folder.write_json("check.json", findings_json(prepared.findings))
    folder.save_info(
        root=str(prepared.dataset.root.resolve()),
        dataset={
            "name": prepared.dataset.name,
            "fingerprint": prepared.fingerprint,
            "classes": list(prepared.dataset.classes),
            "images": len(prepared.dataset),
            "left_out": len(prepared.samples) - len(prepared.dataset),
            "bytes": int(prepared.store.images.nbytes),
        },
    )


def record_batches(folder: RunFolder, place: Place, recipes: Sequence[Recipe]) -> None:
    """Write the beginning of every phase's first batch, and small copies of images that are in no file."""
    prepared, config, classes = place.prepared, place.config, place.prepared.dataset.classes
    chosen = () if place.measured is None else place.measured.chosen
    for recipe in {recipe.training: recipe for recipe in recipes}.values():
        pairs = pairs_from(recipe.pairs, chosen, classes, training_seeds(config))
        phases = make_phases(config.make_method(recipe.method), pairs, len(classes))
        training_set = prepared.training_set(config, "training")
        write_batches(folder.path / "batches", training_set, recipe, phases, config)
    if prepared.dataset.arrays:
        rows = np.concatenate([prepared.rows("train"), prepared.rows("test")])
        write_thumbnails(folder.path / "thumbnails.npz", prepared.dataset.take(rows), config)


def record_confusion(folder: RunFolder, measured: Measured, place: str = "confusion/") -> None:
    """Write matrix.csv and pairs.csv, and how good what measured them is."""
    folder.write_table(f"{place}matrix.csv", matrix_table(measured.confusion))
    folder.write_table(f"{place}pairs.csv", pairs_table(measured.pairs))
    if measured.by is not None:
        folder.save_info(confusion=measured.by.to_json())


def record_evaluation(
    folder: RunFolder, place: Place, cells: Sequence[Cell], *, folds: int = 0
) -> tuple[dict[str, dict[str, Metrics]], dict[str, TestResult]]:
    """Write predictions, metrics and the comparison of each recipe with its control; return the last two.

    Args:
        folder: of the run.
        place: whose validation and test images the cells answer for.
        cells: one for each recipe.
        folds: of cross-validation, where the cells put its answers together.
    """
    prepared = place.prepared
    paths = [prepared.dataset.paths[n] for split in ("val", "test") for n in prepared.rows(split)]
    classes, metrics = prepared.dataset.classes, dict[str, dict[str, Metrics]]()
    sets: dict[str, Any] = {}
    for cell in cells:
        both = Predictions(
            cell.validation.ids + cell.predictions.ids,
            np.concatenate([cell.validation.labels, cell.predictions.labels]),
            np.concatenate([cell.validation.probabilities, cell.predictions.probabilities]),
        )
        table = predictions_table(both, classes, paths)
        if (report := _sets(cell, place)) is not None:
            sets[cell.method] = report.to_json()
            table = with_decisions(table, cell.predictions, classes, report.coverage)
        folder.write_table(str(predictions_file(Path(), cell.method)), table)
        parts = {"val": cell.validation, "test": cell.predictions}
        metrics[cell.method] = {
            split: compute_metrics(part, place.pairs) for split, part in parts.items() if len(part.ids)
        }
    tests = {cell.method: cell.predictions for cell in cells}
    controls, seeds = _controls(cells, place.config.control), Seeds(place.config.seed).child("statistics")
    compared = compare_all(tests, controls, seeds=seeds)
    comparison = {method: replace(test, folds=folds) for method, test in compared.items()}
    folder.write_json("metrics.json", metrics)
    if sets:
        folder.write_json("sets.json", sets)
    folder.write_json("comparison.json", {method: test.to_json() for method, test in comparison.items()})
    folder.save_info(
        samples_seen={cell.method: cell.outcome.budget for cell in cells},
        training_seconds={cell.method: round(cell.outcome.seconds, 2) for cell in cells},
    )
    return metrics, comparison


def _sets(cell: Cell, place: Place) -> SetReport | None:
    """Return how good a recipe's sets and decisions are on the test images; None where it makes none."""
    promise, said = cell.outcome.promise, cell.predictions
    if said.unlike is None and said.p_values is None:
        return None
    coverage = level(promise, None, place.prepared.dataset.classes, cell.method)
    return set_report(said, place.prepared.dataset.classes, place.pairs, promise, coverage)


def _controls(cells: Sequence[Cell], asked: str) -> dict[str, str]:
    """Return the control of each recipe that has one among the cells."""
    there = {cell.recipe for cell in cells}
    controls = {cell.method: cell.recipe.control(asked) for cell in cells}
    return {method: str(control) for method, control in controls.items() if control in there}
