"""Many runs and what they say: does a method help, by how much, and how sure is that?

run.json  config.yaml  results.csv  cells/  pairs/  summary.csv  comparison.json  ranks.json  figures/
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sit2.cli.screen import Screen
from sit2.config.schema import Config, make_config
from sit2.errors import ConfigError, RunFolderError, did_you_mean
from sit2.evaluation.metrics import METRICS
from sit2.evaluation.ranks import Ranks, rank_methods
from sit2.evaluation.verdicts import Contest, RepeatedResult, judge
from sit2.experiments.grid import Cell, Grid, GridRun, Source
from sit2.report.page import write_report
from sit2.report.ranks import draw_ranks
from sit2.seeds import Seeds
from sit2.storage.run_folder import RunFolder, read_json

DEFAULT_METHODS = (
    "plain",
    "label-smoothing",
    "not-sure",
    "sure-or-not",
    "multi-label",
    "confusion-smoothing",
    "second-look",
    "second-look@all",
)
RANKED_METRICS = ("accuracy", "macro_f1", "balanced_accuracy")
COLUMNS = ("dataset", "method", "split", "seed", "budget", *METRICS, "seconds")  # of results.csv


@dataclass(frozen=True)
class Comparison:
    """A finished comparison; its folder holds the same."""

    folder: Path
    cells: list[Cell] = field(repr=False)
    metric: str
    control: str
    results: list[RepeatedResult] = field(repr=False)  # each method against the control, on each data set
    ranks: Ranks | None  # of the methods over data sets; None where there are too few of either


def compare(
    data: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    methods: Sequence[str] = DEFAULT_METHODS,
    splits: int = 5,
    seeds: int = 1,
    labels: Sequence[int] = (),
    trials: int = 1,
    metric: str = "accuracy",
    overwrite: bool = False,
    quiet: bool = True,
    **settings: Any,
) -> Comparison:
    """Compare methods on one or more data sets over repeated splits and seeds.

    Args:
        data: folders, manifests or ``.npz`` files.
        out: the folder to write; where it holds an earlier comparison, finished cells are taken up.
        methods: names as in ``sit2 train --method``; the control is added where it is missing.
        splits: how many splits of each data set.
        seeds: how many trainings on each split.
        labels: numbers of training images a class, in place of ``labels_per_class``.
        trials: trainings of each cell to choose among by its validation images; 1: no tuning.
        metric: what the tests and ranks are of: accuracy, macro_f1 or balanced_accuracy.
        overwrite: forget an earlier comparison in ``out``.
        quiet: print nothing.
        settings: as in :class:`~sit2.config.schema.Config`.

    Raises:
        Sit2Error: for anything that the caller can mend.
    """
    config = make_config(settings)
    paths = [data] if isinstance(data, str | Path) else list(data)
    grid = Grid(
        tuple(Source(Path(path)) for path in paths),
        tuple(dict.fromkeys([config.control, *methods])),
        splits=splits,
        seeds=seeds,
        labels=tuple(labels),
        trials=trials,
    )
    screen = Screen(quiet=quiet)
    return compare_grid(grid, Path(out), config, metric=metric, screen=screen, overwrite=overwrite)


def compare_grid(
    grid: Grid, out: Path, config: Config, *, metric: str, screen: Screen, overwrite: bool = False
) -> Comparison:
    """Run a grid in ``out`` and judge it.

    Raises:
        Sit2Error: for anything that the caller can mend.
    """
    if metric not in RANKED_METRICS:
        raise ConfigError(f"unknown metric {metric!r}\n{did_you_mean(metric, RANKED_METRICS)}")
    with _open(grid, out, config, overwrite=overwrite) as folder:
        return _run(grid, folder, config, metric, screen, overwrite=overwrite)


def _run(
    grid: Grid, folder: RunFolder, config: Config, metric: str, screen: Screen, *, overwrite: bool
) -> Comparison:
    """Run the grid, where results.csv grows with every cell; then judge it."""

    def begin() -> None:
        if overwrite:
            shutil.rmtree(folder.path / "cells", ignore_errors=True)
        folder.begin()

    def grown(cells: list[Cell]) -> None:
        folder.write_table("results.csv", pd.DataFrame([c.row() for c in cells], columns=list(COLUMNS)))

    with folder.running(), folder.stage("cells"):
        cells = GridRun(grid, config, folder.path, screen, grown, begin).run()
    with folder.running(), folder.stage("statistics"):
        results = judge(contests(cells, config.control, metric), seeds=Seeds(config.seed).child("statistics"))
        ranks = rank_cells(cells, metric)
        folder.write_table("summary.csv", summary_table(cells))
        folder.write_json("comparison.json", [result.to_json() for result in results])
        if ranks is not None:
            folder.write_json("ranks.json", {"metric": metric, **ranks.to_json()})
            draw_ranks(ranks, folder.path / "figures" / "critical-difference")
    hours = sum(cell.outcome.seconds for cell in cells) / 3600
    with folder.running(), folder.stage("report"):
        folder.save_info(
            metric=metric,
            control=config.control,
            cells=len(cells),
            hours=round(hours, 3),
            notes=screen.notes,
        )
        write_report(folder.path, last=True)
    folder.finish()
    return Comparison(folder.path, cells, metric, config.control, results, ranks)


def summary_table(cells: Sequence[Cell]) -> pd.DataFrame:
    """Return the mean and standard deviation of every metric over repeats, and how many (n) there are."""
    rows = pd.DataFrame([cell.row() for cell in cells])
    rows["labels_per_class"] = [cell.labels for cell in cells]
    groups = rows.groupby(["dataset", "labels_per_class", "method"], sort=False, dropna=False)
    columns = [*METRICS, "seconds"]
    parts: list[pd.Series[Any]] = [groups.size().rename("n")]
    for name in columns:
        parts += [groups[name].mean().rename(f"{name}_mean"), groups[name].std().rename(f"{name}_sd")]
    return pd.concat(parts, axis=1).reset_index()


def contests(cells: Sequence[Cell], control: str, metric: str) -> list[Contest]:
    """Pair every method's cells with the control's of the same data set, labels, split and seed.

    Repeats that lack either are left out; so are methods that share none with the control.
    """
    by_place: dict[tuple[str, int | None], dict[str, dict[tuple[int, int], Cell]]] = {}
    for cell in cells:
        place = by_place.setdefault((cell.dataset, cell.labels), {})
        place.setdefault(cell.method, {})[cell.repeat] = cell
    found = []
    for (dataset, labels), methods in by_place.items():
        controls = methods.get(control, {})
        for method, own in methods.items():
            pairs = [(own[r], controls[r]) for r in own if r in controls]
            if method == control or not pairs:
                continue
            found.append(
                Contest(
                    dataset,
                    labels,
                    method,
                    control,
                    metric,
                    tuple(score_of(a, metric) for a, _ in pairs),
                    tuple(score_of(b, metric) for _, b in pairs),
                    tuple((a.predictions, b.predictions) for a, b in pairs),
                    test_share=float(np.mean([len(a.predictions.ids) / a.images for a, _ in pairs])),
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
    return rank_methods(means.to_numpy(np.float64), [str(name) for name in means.columns])


def score_of(cell: Cell, metric: str) -> float:
    """Return a metric of a cell's test predictions."""
    value = cell.metrics[metric]
    assert value is not None
    return value


def _open(grid: Grid, out: Path, config: Config, *, overwrite: bool) -> RunFolder:
    """Open a folder for a comparison: a new one, or one that a comparison was made in before."""
    return RunFolder.open(
        out,
        settings=config.as_dict(),
        identity={
            "data": [str(source.path.expanduser().resolve()) for source in grid.sources],
            "methods": list(grid.methods),
        },
        command=shlex.join(["sit2", *sys.argv[1:]]),
        overwrite=overwrite or _is_comparison(out),
    )


def _is_comparison(out: Path) -> bool:
    try:
        return isinstance(read_json(out / "run.json").get("data"), list)  # a run has one data set
    except RunFolderError:
        return (out / "cells").is_dir()
