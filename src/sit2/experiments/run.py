"""One run: the stages in order. It is a grid of one place."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sit2.config.recipe import Recipe, model_folder
from sit2.config.schema import Config, make_config
from sit2.data.cache import networks_folder
from sit2.data.quality.findings import class_warnings
from sit2.errors import RunFolderError
from sit2.evaluation.metrics import Metrics
from sit2.evaluation.statistics import TestResult
from sit2.events import Event, Listener, Note, RunBegan, RunEnded, StageBegan, nobody
from sit2.execution.recipe_job import Outcome, RecipeJob
from sit2.experiments.artifacts import write_examples
from sit2.experiments.costs import planned
from sit2.experiments.design import Grid, Source
from sit2.experiments.folds import judged as judged_images
from sit2.experiments.grid import Cell, GridRun, Place
from sit2.experiments.prepare import read_as
from sit2.experiments.recording import record_batches, record_confusion, record_data, record_evaluation
from sit2.experiments.refit import KEPT, kept_place, pooled, refit, refit_jobs
from sit2.experiments.tracking import tracking
from sit2.methods.method import MixesPairs
from sit2.records import ClassPair, Dataset, Predictions
from sit2.report.page import write_report
from sit2.storage.run_folder import RunFolder
from sit2.training.history import ALL, GrowingHistory, Training


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
        Sit2Error: for anything that the caller can fix.
    """
    config = make_config(settings)
    if not isinstance(data, str | Path | Dataset):
        data = read_as(config, data)
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
        Sit2Error: for anything that the caller can fix.
    """
    heard = Notes(listener)
    with (
        heard.logged(config.log),
        open_run(source, out, config, recipes, resume=resume, overwrite=overwrite) as folder,
    ):
        if resume and not folder.resumed:
            heard(Note(f"there is nothing to resume in {out}: the run begins"))
        data = source if isinstance(source, Dataset) else Path(source)
        grid = Grid((Source(data),), tuple(recipes), splits=1, is_run=True)
        networks = networks_folder(config.cache, folder.state)
        return run_grid(GridRun(grid, config, folder.state, networks, heard), folder, config, heard)


class Notes:
    """A listener that passes events on, to trackers too, and keeps the notes for the record."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.trackers: Listener = nobody
        self.notes: list[str] = []

    def __call__(self, event: Event) -> None:
        """Keep a note; pass everything on."""
        if isinstance(event, Note):
            self.notes.append(event.text)
        self.listener(event)
        self.trackers(event)

    @contextlib.contextmanager
    def logged(self, names: Sequence[str]) -> Iterator[None]:
        """Pass events on to some trackers while this lasts. Raises :class:`ConfigError` where one is missing."""
        with tracking(names, self) as self.trackers:
            yield


STAGES = ("images", "confusion", "training", "evaluation", "refit", "report")


def run_grid(work: GridRun, folder: RunFolder, config: Config, heard: Notes) -> Run:
    """Run the stages of a run in order.

    Recipes are evaluated at one place, or in each fold. What is kept are these, or models of all images.
    """
    stages = [name for name in STAGES if config.refits or name != "refit"]
    recipes = work.grid.recipes

    def models(recipe: Recipe) -> Path:
        return model_folder(folder.path, recipe, config.recipe)

    def stage(name: str) -> contextlib.AbstractContextManager[None]:
        heard(StageBegan(name, stages.index(name) + 1, len(stages)))
        return folder.stage(name)

    with stage("images"):
        places = next(work.rounds())
        judged = replace(places[0], prepared=judged_images([place.prepared for place in places]), fold=0)
        kept = kept_place(places) if config.refits else None
        folder.begin()
        heard(RunBegan(str(folder.path)))
        record_data(folder, judged.prepared)
        for warning in class_warnings(judged.prepared.findings):
            heard(Note(warning))
        heard(planned(places, kept, recipes))
    with folder.running():
        with stage("confusion"):
            # Where there are folds, the pairs that are shown and kept are those of all images.
            *places, main = work.measure([*places, kept] if kept is not None and config.cv else places)
            places = places or [main]
            judged = replace(judged, measured=main.measured)
            if kept is not None:
                kept = replace(kept, features=main.features, measured=main.measured)
            if main.measured is not None:
                record_confusion(folder, main.measured)
                mixing = [r for r in recipes if isinstance(config.make_method(r.method), MixesPairs)]
                if any(recipe.pairs != "random" for recipe in mixing):
                    training_set = main.prepared.training_set(config)
                    write_examples(folder.path / "synthesis", training_set, main.measured.chosen, config)
        with stage("training"):
            record_batches(folder, main, recipes)
            history = _history(work, folder, places, kept)
            work = replace(work, listener=_both(history, heard))
            cells = work.answer(
                places,
                grown=lambda cells: _finish(history, cells),
                models=models if kept is None else lambda _recipe: None,
            )
        with stage("evaluation"):
            answers = pooled(cells, places, judged)
            folds = len(places) if config.cv else 0
            metrics, comparison = record_evaluation(folder, judged, answers, folds=folds)
        if kept is not None:
            with stage("refit"):
                jobs = refit_jobs(work, places, kept, cells, models)
                refit(work, jobs, done=lambda n, outcome: _finish_kept(history, jobs[n].recipe, outcome))
        with stage("report"):
            folder.save_info(notes=heard.notes)
            write_report(folder.path, last=True)
    folder.finish()
    heard(RunEnded(str(folder.path)))
    predictions = {cell.method: cell.predictions for cell in answers}
    classes = judged.prepared.dataset.classes
    return Run(folder.path, classes, judged.pairs, predictions, metrics, comparison)


def _history(work: GridRun, folder: RunFolder, places: Sequence[Place], kept: Place | None) -> GrowingHistory:
    """Return what lets history.csv grow."""
    jobs: dict[Training, RecipeJob] = {}
    for place in places:
        for recipe in work.grid.recipes:
            jobs[_training(recipe, place.fold)] = place.job(recipe, name=work.name_of(place))
    if kept is not None:
        jobs |= {(recipe.training, ALL): kept.job(recipe, name=KEPT) for recipe in work.grid.recipes}
    return GrowingHistory(
        lambda table: folder.write_table("history.csv", table),
        {training: [one.name for one in job.trainings] for training, job in jobs.items()},
    )


def _training(recipe: Recipe, fold: int) -> Training:
    return (recipe.training, str(fold)) if fold else recipe.training


def _finish(history: GrowingHistory, cells: Sequence[Cell]) -> None:
    for cell in cells:
        history.finish(_training(cell.recipe, cell.fold), cell.outcome.histories)


def _finish_kept(history: GrowingHistory, recipe: Recipe, outcome: Outcome) -> None:
    history.finish((recipe.training, ALL), outcome.histories)


def _both(history: GrowingHistory, listener: Listener) -> Listener:
    def heard(event: Event) -> None:
        history(event)
        listener(event)

    return heard
