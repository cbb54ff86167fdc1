"""Many runs and what they say: does a method help, by how much, and how sure is that?

run.json  config.yaml  results.csv  cells/  pairs/  summary.csv  comparison.json  ranks.json  figures/
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sit2.config.recipe import Recipe
from sit2.config.schema import Config, make_config
from sit2.confusion.pairs_file import pairs_table
from sit2.data.cache import networks_folder
from sit2.data.readers.python_objects import is_one_source
from sit2.data.words import counted
from sit2.errors import RunFolderError
from sit2.evaluation.power import design_sentence
from sit2.evaluation.ranks import Ranks, rank_methods
from sit2.evaluation.results import Summary, results_table, summarise, summary_table
from sit2.evaluation.verdicts import PairedComparison, RepeatedResult, judge
from sit2.events import Cost, Listener, Note, Planned, RunBegan, RunEnded, StageBegan, nobody
from sit2.experiments.costs import planned
from sit2.experiments.design import DEFAULT_METHODS, Grid, Source, check_metric, check_repeats, make_grid
from sit2.experiments.grid import Cell, GridRun, Place
from sit2.experiments.keep_best import keep_best as keep_best_of
from sit2.experiments.prepare import read_as
from sit2.experiments.run import Notes
from sit2.report.page import write_report
from sit2.report.ranks import draw_ranks
from sit2.seeds import Seeds
from sit2.storage.output_folder import holds_comparison
from sit2.storage.run_folder import RunFolder
from sit2.storage.run_info import read_info

STATISTICS = 5.0  # seconds that a comparison's end takes, page and all
MOST_DESIGNS = 4  # data sets of which is said, before it starts, what can be shown on them


@dataclass(frozen=True)
class Comparison:
    """A finished comparison; its folder holds the same."""

    folder: Path
    cells: list[Cell] = field(repr=False)
    metric: str
    results: list[RepeatedResult] = field(repr=False)  # each recipe against its control, on each data set
    ranks: Ranks | None  # of the recipes over data sets; None where there are too few of either
    best: Mapping[str, Path] = field(
        default_factory=dict
    )  # "recipe on data set" → a run of it, where one is kept


def compare(
    data: Any,
    *,
    out: str | Path,
    methods: Sequence[str] = DEFAULT_METHODS,
    splits: int = 5,
    seeds: int = 1,
    labels: Sequence[int] = (),
    trials: int = 1,
    metric: str = "accuracy",
    overwrite: bool = False,
    keep_best: bool = False,
    listener: Listener = nobody,
    **settings: Any,
) -> Comparison:
    """Compare recipes on one or more data sets over repeated splits and seeds.

    Args:
        data: what :func:`~sit2.experiments.run.train` takes, or a list of such; ``name=path`` names a path.
        out: the folder to write; where it holds an earlier comparison, finished cells are taken up.
        methods: recipes as in ``sit2 train --method``; the control of each is added where it is missing.
        splits: how many splits of each data set.
        seeds: how many trainings on each split.
        labels: numbers of training images a class, in place of ``labels_per_class``.
        trials: trainings of each cell to choose among by its validation images; 1: no tuning.
        metric: what the tests and ranks are of: accuracy, macro_f1 or balanced_accuracy.
        overwrite: forget an earlier comparison in ``out``.
        keep_best: also write a run of the recipe that is best by validation, with its model, into ``out/best``.
        listener: hears of everything on the way, see :mod:`sit2.events`.
        settings: as in :class:`~sit2.config.schema.Config`.

    Raises:
        Sit2Error: for anything that the caller can fix.
    """
    config = make_config(settings)
    sources = [data] if is_one_source(data) else list(data)
    grid = make_grid(
        [one if isinstance(one, str | Path) else read_as(config, one) for one in sources],
        methods,
        splits=splits,
        seeds=seeds,
        labels=tuple(labels),
        trials=trials,
        control=config.control,
    )
    return compare_grid(
        grid, Path(out), config, metric=metric, listener=listener, overwrite=overwrite, keep_best=keep_best
    )


def compare_grid(
    grid: Grid,
    out: Path,
    config: Config,
    *,
    metric: str,
    listener: Listener = nobody,
    overwrite: bool = False,
    keep_best: bool = False,
) -> Comparison:
    """Run a grid in ``out`` and judge it.

    Raises:
        Sit2Error: for anything that the caller can fix.
    """
    check_metric(metric)
    check_repeats(config)
    heard = Notes(listener)
    if config.refit and not keep_best:
        heard(Note("a comparison keeps no models: refit does nothing here"))
    with heard.logged(config.log), open_comparison(grid, out, config, overwrite=overwrite) as folder:
        networks = networks_folder(config.cache, folder.state)
        work = GridRun(grid, config, folder.path / "cells", networks, heard)
        return _run(work, folder, metric, heard, overwrite=overwrite, keep=keep_best)


def _run(
    work: GridRun, folder: RunFolder, metric: str, heard: Notes, *, overwrite: bool, keep: bool
) -> Comparison:
    """Run the grid, where results.csv and summary.csv grow with every cell; then judge it."""
    with folder.running(), folder.stage("cells"):
        cells = _cells(work, folder, overwrite=overwrite)
    heard(StageBegan("statistics", 0, 0))
    with folder.running(), folder.stage("statistics"):
        seeds = Seeds(work.config.seed).child("statistics")
        results = judge(paired_comparisons(cells, work.config.control, metric), seeds=seeds)
        ranks = rank_cells(cells, metric)
        folder.write_json("comparison.json", [result.to_json() for result in results])
        if ranks is not None:
            folder.write_json("ranks.json", ranks.to_json())
            draw_ranks(ranks, folder.path / "figures" / "critical-difference")
    best = {}
    if keep:
        with folder.running(), folder.stage("best"):
            best = keep_best_of(work, folder, cells)
    hours = sum(cell.outcome.seconds for cell in cells) / 3600
    with folder.running(), folder.stage("report"):
        folder.save_info(metric=metric, cells=len(cells), hours=round(hours, 3), notes=heard.notes)
        write_report(folder.path, last=True)
    folder.finish()
    heard(RunEnded(str(folder.path)))
    return Comparison(folder.path, cells, metric, results, ranks, best)


def _cells(work: GridRun, folder: RunFolder, *, overwrite: bool) -> list[Cell]:
    cells: list[Cell] = []
    count = len(work.grid.repeats(work.config))

    def grown(more: list[Cell]) -> None:
        done = (*cells, *more)
        folder.write_table("results.csv", results_table([cell.row() for cell in done]))
        folder.write_table("summary.csv", summary_table(summaries(done)))

    for number, places in enumerate(work.rounds(), 1):
        if number == 1:
            if overwrite:
                shutil.rmtree(folder.path / "cells", ignore_errors=True)
            folder.begin()
            work.listener(RunBegan(str(folder.path)))
            for sentence in detectable_differences(places, work.grid, work.config):
                work.listener(Note(sentence))
            work.listener(Planned(tuple(_costs(places, work.grid, count))))
        confusion, training = _titles(number, count, len(places) * len(work.grid.recipes))
        work.listener(StageBegan(confusion, 0, 0))
        measured = work.measure(places, confusion)
        for place in measured:
            _write_pairs(folder, place)
        work.listener(StageBegan(training, 0, 0))
        cells += work.answer(measured, training, grown=grown, before=len(cells))
    return cells


def _titles(number: int, count: int, cells: int) -> tuple[str, str]:
    """Return what the two stages of a round are called."""
    title = f"Round {number} of {count}"
    return f"{title}: measuring confusion", f"{title}: {counted(cells, 'cell')}"


def _costs(places: Sequence[Place], grid: Grid, rounds: int) -> Iterator[Cost]:
    """Yield what the stages of all rounds are expected to cost, each like the first."""
    each = [{cost.stage: cost for cost in planned([place], None, grid.recipes).costs} for place in places]
    folds, trained = (sum(costs[stage].samples for costs in each) for stage in ("confusion", "training"))
    for number in range(1, rounds + 1):
        confusion, training = _titles(number, rounds, len(places) * len(grid.recipes))
        yield Cost(confusion, folds)
        yield Cost(training, trained * grid.trials)
    yield Cost("statistics", seconds=STATISTICS)


def detectable_differences(places: Sequence[Place], grid: Grid, config: Config) -> list[str]:
    """Say, for the places of one round, how large a difference the whole grid can show on each; see
    :func:`~sit2.evaluation.power.design_sentence`."""
    compared = sum(recipe.control(config.control) in grid.recipes for recipe in grid.recipes)
    told: dict[str, str] = {}
    for place in places:
        prepared, count = place.prepared, len(place.prepared.dataset)
        test = len(prepared.rows("test"))
        if not (compared and test):
            continue
        if "test" in prepared.dataset.splits:  # which are the same in every split
            told[place.name] = (
                f"{place.name}: all repeats test the same images, so they cannot show whether a difference would "
                "come again on others; --resplit draws new splits"
            )
            continue
        told.setdefault(
            place.name,
            design_sentence(
                place.name,
                test,
                grid.splits,
                train=len(prepared.rows("train")) / count,
                test=test / count,
                comparisons=compared * len(places),
            ),
        )
    sentences = list(told.values())
    rest = len(sentences) - MOST_DESIGNS
    return sentences if rest <= 0 else [*sentences[:MOST_DESIGNS], f"and likewise on {rest} more data sets"]


def _write_pairs(folder: RunFolder, place: Place) -> None:
    if place.measured is None:
        return
    labels = "" if place.labels is None else f"-{place.labels}"
    name = f"pairs/{place.name}{labels}-split{place.split}-seed{place.config.seed}.csv"
    folder.write_table(name, pairs_table(place.pairs))


def summaries(cells: Sequence[Cell]) -> list[Summary]:
    """Return every metric's mean and standard deviation over repeats."""
    return summarise([cell.row() for cell in cells])


def paired_comparisons(cells: Sequence[Cell], asked: str, metric: str) -> list[PairedComparison]:
    """Pair every recipe's cells with its control's of the same data set, labels, split and seed.

    ``asked`` is the setting ``control``. Repeats that lack either are left out; so are
    recipes that share none with their control.
    """
    by_place: dict[tuple[str, int | None], dict[Recipe, dict[tuple[int, int], Cell]]] = {}
    for cell in cells:
        place = by_place.setdefault((cell.dataset, cell.labels), {})
        place.setdefault(cell.recipe, {})[cell.repeat] = cell
    found = []
    for (dataset, labels), recipes in by_place.items():
        for recipe, own in recipes.items():
            control = recipe.control(asked)
            controls = recipes.get(control, {}) if control is not None else {}
            pairs = [(own[r], controls[r]) for r in own if r in controls]
            if not pairs:
                continue
            found.append(
                PairedComparison(
                    dataset,
                    labels,
                    str(recipe),
                    str(control),
                    metric,
                    tuple(score_of(a, metric) for a, _ in pairs),
                    tuple(score_of(b, metric) for _, b in pairs),
                    tuple((a.predictions, b.predictions) for a, b in pairs),
                    train_fraction=float(np.mean([a.train_images / a.images for a, _ in pairs])),
                    test_fraction=float(np.mean([len(a.predictions.ids) / a.images for a, _ in pairs])),
                )
            )
    return found


def rank_cells(cells: Sequence[Cell], metric: str) -> Ranks | None:
    """Rank the methods by their means over the repeats that all of them have, on each data set.

    Numbers of labels are averaged over: the same images with more labels are no other data set. None where
    fewer than two data sets or three methods are left.
    """
    table = pd.DataFrame(
        [(c.dataset, c.labels or 0, *c.repeat, c.method, score_of(c, metric)) for c in cells],
        columns=["dataset", "labels", "split", "seed", "method", "score"],
    )
    wide = table.pivot_table(
        index=["dataset", "labels", "split", "seed"], columns="method", values="score", sort=False
    )
    places = wide.dropna().groupby(level=["dataset", "labels"], sort=False).mean()
    means = places.groupby(level="dataset", sort=False).mean()
    if len(means) < 2 or means.shape[1] < 3:
        return None
    return rank_methods(means.to_numpy(np.float64), [str(name) for name in means.columns], metric=metric)


def score_of(cell: Cell, metric: str) -> float:
    """Return a metric of a cell's test predictions."""
    value = cell.metrics[metric]
    assert value is not None
    return value


def open_comparison(grid: Grid, out: Path, config: Config, *, overwrite: bool) -> RunFolder:
    """Open a folder for a comparison: a new one, or one that a comparison was made in before.

    Raises:
        RunFolderError: when it holds anything else, or the comparison in it was of other data.
    """
    places = [_place_of(source) for source in grid.sources]
    taken_up = not overwrite and holds_comparison(out)
    if taken_up and set(before := read_info(out).data) != set(places):
        raise RunFolderError(
            f"the comparison in {out} is of other data: {', '.join(before)}\n"
            "use --overwrite to replace it, or another -o"
        )
    return RunFolder.open(
        out,
        settings=config.as_dict(),
        identity={
            "data": places,
            "methods": [str(recipe) for recipe in grid.recipes],
        },
        command=shlex.join(["sit2", *sys.argv[1:]]),
        overwrite=overwrite or taken_up,
    )


def _place_of(source: Source) -> str:
    return str(source.data.expanduser().resolve()) if isinstance(source.data, Path) else source.name
