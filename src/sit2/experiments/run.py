"""One run: the stages in order. It is a grid of one place."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sit2.config.recipe import Recipe, model_folder
from sit2.config.schema import Config, make_config
from sit2.confusion.matrix_file import matrix_table
from sit2.confusion.pairs_file import pairs_table
from sit2.confusion.predictions_file import predictions_table
from sit2.data.cache import networks_folder
from sit2.data.quality.findings import class_warnings, findings_json
from sit2.data.readers import read_dataset
from sit2.data.thumbnails import write_thumbnails
from sit2.errors import RunFolderError
from sit2.evaluation.metrics import Metrics, compute_metrics
from sit2.evaluation.statistics import TestResult, compare_all
from sit2.events import Cost, Event, Listener, Note, Planned, StageBegan, nobody
from sit2.experiments.artifacts import write_batches, write_examples
from sit2.experiments.confusion import Measured
from sit2.experiments.design import Grid, Source
from sit2.experiments.grid import Cell, GridRun, Place
from sit2.experiments.planning import of_fold
from sit2.experiments.prepare import Prepared, training_seeds
from sit2.methods.method import Mixing
from sit2.methods.phases import make_phases, pairs_from
from sit2.records import ClassPair, Dataset, Predictions
from sit2.report.page import write_report
from sit2.seeds import Seeds
from sit2.storage.run_folder import RunFolder, predictions_file
from sit2.training.history import GrowingHistory, history_table


@dataclass(frozen=True)
class Run:
    """A finished run; its folder holds the same."""

    folder: Path
    classes: tuple[str, ...]
    pairs: tuple[ClassPair, ...]  # ranked; ``chosen`` marks those that not-sure images were made from
    predictions: dict[str, Predictions] = field(repr=False)  # of the test images, by recipe
    metrics: dict[str, dict[str, Metrics]] = field(repr=False)  # recipe → split → metric → value
    comparison: dict[str, TestResult] = field(repr=False)  # recipe → its test against its control


def train(
    data: Any,
    *,
    out: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener = nobody,
    **settings: Any,
) -> Run:
    """Train a classifier, and its control where there is one, on a folder of images; say how good it is.

    Args:
        data: a folder, manifest, Parquet file with images in it or ``.npz`` file; or, in memory, a pandas
            DataFrame with the columns ``path`` or ``image``, ``label``, and perhaps ``group`` and ``split``; a pair
            ``(images, labels)``; a Hugging Face ``Dataset``, or several by split; a mapping of arrays as in an
            ``.npz`` file. Arrays of images are (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1, 3 or 4, uint8 or
            floats in [0, 1].
        out: the run folder to write; must not hold anything yet, unless one of the next two is set.
        resume: finish the run that was begun in ``out``.
        overwrite: replace the run in ``out``.
        listener: hears of everything on the way, see :mod:`sit2.events`.
        settings: as in :class:`~sit2.config.schema.Config`, for example ``method="not-sure", image_size=48``.

    Raises:
        Sit2Error: for anything that the caller can mend.
    """
    config = make_config(settings)
    if not isinstance(data, str | Path | Dataset):
        data = read_dataset(
            data, groups=config.groups, group_pattern=config.group_pattern, layout=config.layout
        )
    return run_experiment(
        data, Path(out), config, config.recipes, listener=listener, resume=resume, overwrite=overwrite
    )


def open_run(
    source: str | Path | Dataset,
    out: Path,
    config: Config,
    recipes: Sequence[Recipe],
    *,
    resume: bool | None = None,
    overwrite: bool = False,
) -> RunFolder:
    """Look whether a run can begin in a folder, or an unfinished one go on. Loads nothing heavy.

    Raises:
        RunFolderError: when it cannot.
    """
    name = source.name if isinstance(source, Dataset) else str(Path(source).expanduser().resolve())
    folder = RunFolder.open(
        out,
        settings=config.as_dict(),
        identity={"data": name, "methods": [str(recipe) for recipe in recipes]},
        command=shlex.join(["sit2", *sys.argv[1:]]),
        resume=resume,
        overwrite=overwrite,
    )
    if folder.complete:
        folder.release()
        raise RunFolderError(f"the run in {out} is complete\nuse --overwrite to run it again, or another -o")
    return folder


def open_folder(out: Path, source: Path, config: Config, *, overwrite: bool) -> RunFolder:
    """Open a folder for what no run is: confusion alone, or not-sure images."""
    return RunFolder.open(
        out,
        settings=config.as_dict(),
        identity={"data": str(source.expanduser().resolve())},
        command=shlex.join(["sit2", *sys.argv[1:]]),
        overwrite=overwrite,
    )


def run_experiment(
    source: str | Path | Dataset,
    out: Path,
    config: Config,
    recipes: Sequence[Recipe],
    *,
    listener: Listener = nobody,
    resume: bool | None = None,
    overwrite: bool = False,
) -> Run:
    """Train recipes on one data set at one budget, compare each with its control, write the run folder.

    Raises:
        Sit2Error: for anything that the caller can mend.
    """
    heard = Notes(listener)
    with open_run(source, out, config, recipes, resume=resume, overwrite=overwrite) as folder:
        if resume and not folder.resumed:
            heard(Note(f"there is nothing to resume in {out}: the run begins"))
        data = source if isinstance(source, Dataset) else Path(source)
        grid = Grid((Source(data),), tuple(recipes), splits=1, is_run=True)
        networks = networks_folder(config.cache, folder.state)
        return run_grid(GridRun(grid, config, folder.state, networks, heard), folder, config, heard)


class Notes:
    """A listener that passes events on, and keeps the notes for the record."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.notes: list[str] = []

    def __call__(self, event: Event) -> None:
        """Keep a note; pass everything on."""
        if isinstance(event, Note):
            self.notes.append(event.text)
        self.listener(event)


STAGES = ("images", "confusion", "training", "evaluation", "report")


def run_grid(work: GridRun, folder: RunFolder, config: Config, heard: Notes) -> Run:
    """Run the stages of a grid of one place in order."""

    def stage(name: str) -> contextlib.AbstractContextManager[None]:
        heard(StageBegan(name, STAGES.index(name) + 1, len(STAGES)))
        return folder.stage(name)

    with stage("images"):
        (place,) = next(work.rounds())
        folder.begin()
        record_data(folder, place.prepared)
        for warning in class_warnings(place.prepared.findings):
            heard(Note(warning))
        heard(planned(place, work.grid.recipes))
    with folder.running():
        with stage("confusion"):
            (place,) = work.measure([place])
            if place.measured is not None:
                record_confusion(folder, place.measured)
                mixing = [r for r in work.grid.recipes if isinstance(config.make_method(r.method), Mixing)]
                if any(recipe.pairs != "random" for recipe in mixing):
                    training_set = place.prepared.training_set(config)
                    write_examples(folder.path / "synthesis", training_set, place.measured.chosen, config)
        with stage("training"):
            _record_batches(folder, place, work.grid.recipes)
            cells = _answer(work, place, folder)
        with stage("evaluation"):
            run = evaluate(folder, place, cells)
        with stage("report"):
            folder.save_info(notes=heard.notes)
            write_report(folder.path, last=True)
    folder.finish()
    return run


def _answer(work: GridRun, place: Place, folder: RunFolder) -> list[Cell]:
    """Train and answer, while history.csv grows."""
    jobs = {recipe.training: place.job(recipe) for recipe in work.grid.recipes}
    history = GrowingHistory(
        lambda table: folder.write_table("history.csv", table),
        {training: [one.name for one in job.trainings] for training, job in jobs.items()},
    )

    def listener(event: Event) -> None:
        history(event)
        work.listener(event)

    def grown(cells: Sequence[Cell]) -> None:
        for cell in cells:
            history.finish(cell.recipe.training, cell.outcome.histories)

    return replace(work, listener=listener).answer(
        [place],
        grown=grown,
        models=lambda recipe: model_folder(folder.path, recipe, work.config.recipe),
    )


# Of a training step on the same images, and of nothing in particular: they only weigh the parts of a bar.
_ASKING, _VIEWS = 1 / 3, 4
_EVALUATION, _REPORT = 3.0, 6.0  # seconds, as most runs on record took


def planned(place: Place, recipes: Sequence[Recipe]) -> Planned:
    """Return what the stages after the images are expected to cost."""
    config, prepared = place.config, place.prepared
    train, asked = len(prepared.rows("train")), len(prepared.rows("val")) + len(prepared.rows("test"))
    solved = {recipe for recipe in recipes if config.make_method(recipe.method).in_closed_form}
    members: dict[tuple[str, str], int] = {}  # of what is trained: those of a smaller ensemble are shared
    for recipe in set(recipes) - solved:
        trained = recipe.method, recipe.pairs if recipe.trains_with_pairs else ""
        members[trained] = max(members.get(trained, 0), recipe.members)
    samples = sum(members.values()) * config.total_steps(train) * config.step_size + len(solved) * train
    views = sum((_VIEWS if "tta" in recipe.predictors else 1) * recipe.members for recipe in recipes)
    return Planned(
        (
            Cost("confusion", _cost_of_folds(config, train, recipes)),
            Cost("training", samples),
            Cost("evaluation", asked * views * _ASKING, _EVALUATION),  # and the answers, which come before it
            Cost("report", seconds=_REPORT),
        )
    )


def _cost_of_folds(config: Config, train: int, recipes: Sequence[Recipe]) -> float:
    """Return the samples that the folds are trained on; whatever else measures confusion trains on none."""
    if config.confusion != "folds" or not any(recipe.needs_confusion for recipe in recipes):
        return 0.0
    inside = max(1, train * (config.folds - 1) // config.folds)
    fold = of_fold(config, inside)
    return config.folds * fold.total_steps(inside) * fold.step_size


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


def _record_batches(folder: RunFolder, place: Place, recipes: Sequence[Recipe]) -> None:
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


def evaluate(folder: RunFolder, place: Place, cells: Sequence[Cell]) -> Run:
    """Write predictions, metrics, history and the comparison of each recipe with its control."""
    prepared = place.prepared
    paths = [prepared.dataset.paths[n] for split in ("val", "test") for n in prepared.rows(split)]
    classes, metrics = prepared.dataset.classes, dict[str, dict[str, Metrics]]()
    for cell in cells:
        both = Predictions(
            cell.validation.ids + cell.predictions.ids,
            np.concatenate([cell.validation.labels, cell.predictions.labels]),
            np.concatenate([cell.validation.probabilities, cell.predictions.probabilities]),
        )
        table = predictions_table(both, classes, paths)
        folder.write_table(str(predictions_file(Path(), cell.method)), table)
        parts = {"val": cell.validation, "test": cell.predictions}
        metrics[cell.method] = {
            split: compute_metrics(part, place.pairs) for split, part in parts.items() if len(part.ids)
        }
    folder.write_table(
        "history.csv", history_table([(cell.recipe.training, cell.outcome.histories) for cell in cells])
    )
    tests = {cell.method: cell.predictions for cell in cells}
    comparison = compare_all(
        tests, _controls(cells, place.config.control), seeds=Seeds(place.config.seed).child("statistics")
    )
    folder.write_json("metrics.json", metrics)
    folder.write_json("comparison.json", {method: test.to_json() for method, test in comparison.items()})
    folder.save_info(
        samples_seen={cell.method: cell.outcome.budget for cell in cells},
        training_seconds={cell.method: round(cell.outcome.seconds, 2) for cell in cells},
    )
    return Run(folder.path, classes, place.pairs, tests, metrics, comparison)


def _controls(cells: Sequence[Cell], asked: str) -> dict[str, str]:
    """Return the control of each recipe that has one among the cells."""
    there = {cell.recipe for cell in cells}
    controls = {cell.method: cell.recipe.control(asked) for cell in cells}
    return {method: str(control) for method, control in controls.items() if control in there}
