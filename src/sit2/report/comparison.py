"""The folder of `sit2 compare` → dataclasses → what its page shows. Absent files leave parts out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sit2.errors import RunFolderError
from sit2.evaluation.metrics import METRICS
from sit2.report.data import Gap, gap_of, read_info
from sit2.report.files import read_json, read_table, read_yaml, reading


@dataclass(frozen=True)
class Summary:
    """One method on one data set at one number of labels, over its cells."""

    dataset: str
    labels: str  # training images a class, "" where all were used
    method: str
    n: int  # cells
    values: Mapping[str, tuple[float, float]]  # metric → mean, standard deviation


@dataclass(frozen=True)
class Verdict:
    """A method against its control on one data set: an entry of comparison.json."""

    dataset: str
    labels: str
    method: str
    control: str
    metric: str
    n: int
    gap: Gap
    p_adjusted: float | None
    verdict: str
    sentence: str


@dataclass(frozen=True)
class Ranks:
    """Mean ranks over data sets: ranks.json."""

    metric: str
    datasets: int
    mean: Mapping[str, float]  # by method; 1 is the best
    p: float | None  # Friedman
    critical: float | None  # Nemenyi's critical difference


@dataclass(frozen=True)
class ComparisonData:
    """Everything that the folder of a comparison holds and the page shows."""

    folder: Path
    info: dict[str, Any]
    settings: Mapping[str, Any]
    cells: pd.DataFrame  # results.csv, metrics as numbers
    summary: tuple[Summary, ...]
    tests: tuple[Verdict, ...]
    ranks: Ranks | None

    @property
    def datasets(self) -> tuple[str, ...]:
        """In the order of results.csv."""
        return tuple(dict.fromkeys(self.cells["dataset"]))

    @property
    def methods(self) -> tuple[str, ...]:
        """In the order of results.csv."""
        return tuple(dict.fromkeys(self.cells["method"]))


def is_comparison(folder: Path) -> bool:
    """Say whether `sit2 compare` wrote a folder."""
    return (folder / "results.csv").exists()


def load_comparison(folder: Path) -> ComparisonData:
    """Read the folder of a comparison.

    Raises:
        RunFolderError: when a file in it is damaged.
    """
    with reading(folder):
        return _load_comparison(folder)


def _load_comparison(folder: Path) -> ComparisonData:
    cells = read_table(folder / "results.csv", "dataset", "method")
    assert cells is not None
    for name in {*METRICS, "seconds"} & set(cells.columns):
        cells[name] = pd.to_numeric(cells[name], errors="coerce")
    table = read_table(folder / "summary.csv", "dataset", "method")
    tests = read_json(folder / "comparison.json", [])
    return ComparisonData(
        folder,
        read_info(folder),
        read_yaml(folder / "config.yaml"),
        cells,
        _from_cells(cells) if table is None else _summary(table, folder / "summary.csv"),
        tuple(_verdict(entry) for entry in tests),
        _ranks(read_json(folder / "ranks.json", {})),
    )


def _summary(table: pd.DataFrame, path: Path) -> tuple[Summary, ...]:
    try:
        return tuple(
            Summary(
                row["dataset"],
                _label(row.get("labels_per_class", "")),
                row["method"],
                int(float(row.get("n", 0))),
                {
                    m: (float(row[f"{m}_mean"]), float(row.get(f"{m}_sd") or "nan"))
                    for m in METRICS
                    if row.get(f"{m}_mean")
                },
            )
            for row in table.to_dict("records")
        )
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged: {error}\nrun the comparison again") from None


def _from_cells(cells: pd.DataFrame) -> tuple[Summary, ...]:
    """Summarise results.csv, where summary.csv is not there."""
    known = [m for m in METRICS if m in cells]
    rows = []
    for (dataset, method), part in cells.groupby(["dataset", "method"], sort=False):
        values = {
            m: (float(part[m].mean()), float(part[m].std(ddof=1)) if len(part) > 1 else float(np.nan))
            for m in known
        }
        rows.append(
            Summary(
                str(dataset),
                "",
                str(method),
                len(part),
                {m: v for m, v in values.items() if not math.isnan(v[0])},
            )
        )
    return tuple(rows)


def _verdict(entry: Mapping[str, Any]) -> Verdict:
    p = entry.get("p_adjusted")
    return Verdict(
        str(entry.get("dataset", "")),
        _label(entry.get("labels_per_class")),
        str(entry.get("method", "")),
        str(entry.get("control", "")),
        str(entry.get("metric", "accuracy")),
        int(entry.get("n", 0)),
        gap_of(entry),
        None if p is None else float(p),
        str(entry.get("verdict", "")),
        str(entry.get("sentence", "")),
    )


def _label(value: Any) -> str:
    """Return a number of labels as text, "" where there is no limit."""
    if value in (None, "", "nan"):
        return ""
    return f"{float(value):g}"


def _ranks(content: Mapping[str, Any]) -> Ranks | None:
    mean = content.get("mean_ranks")
    if not mean:
        return None
    datasets = content.get("datasets", 0)
    return Ranks(
        str(content.get("metric", "")),
        len(datasets) if isinstance(datasets, list) else int(datasets),
        {str(m): float(rank) for m, rank in mean.items()},
        content.get("friedman_p"),
        content.get("critical_difference"),
    )
