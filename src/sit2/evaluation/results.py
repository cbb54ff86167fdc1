"""``results.csv`` and ``summary.csv``: what each cell of a comparison measured, and the means over its repeats.

This module never imports torch.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sit2.evaluation.metrics import MEASURED, Metrics
from sit2.storage.reading import number, read_table, reading

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("dataset", "method", "split", "seed", "budget", *MEASURED, "seconds")  # of results.csv
SUMMARISED = (*MEASURED, "seconds")


@dataclass(frozen=True)
class CellResult:
    """One row of results.csv: one recipe on one data set, split and seed."""

    dataset: str
    method: str
    split: int
    seed: int
    budget: int  # samples seen
    metrics: Metrics
    seconds: float


def results_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the table results.csv of finished cells' rows."""
    import pandas as pd

    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def read_results(path: Path) -> tuple[CellResult, ...]:
    """Read results.csv; nothing where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    table = read_table(path, *COLUMNS)
    if table is None:
        return ()
    with reading(path):
        return tuple(
            CellResult(
                row["dataset"],
                row["method"],
                int(row["split"]),
                int(row["seed"]),
                int(row["budget"]),
                {name: float(row[name]) if row[name] else None for name in MEASURED},
                float(row["seconds"]),
            )
            for row in table.to_dict("records")
        )


class Spread(NamedTuple):
    """A mean over repeats and their standard deviation, which one repeat does not have (NaN)."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Summary:
    """One row of summary.csv: a recipe on a data set at one number of labels, over its repeats."""

    dataset: str
    labels: int | None  # training images a class; None: all
    method: str
    repeats: int
    scores: Mapping[str, Spread]  # of what SUMMARISED names, as far as it was measured


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """Return means over repeats of finished cells' rows, which have ``labels_per_class`` too."""
    places: dict[tuple[str, int | None, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        places.setdefault((row["dataset"], row["labels_per_class"], row["method"]), []).append(row)
    return [Summary(*place, len(own), _scores(own)) for place, own in places.items()]


def _scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    known = {name: [row[name] for row in rows if row[name] is not None] for name in SUMMARISED}
    return {name: _spread(values) for name, values in known.items() if values}


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan)


def summary_table(summaries: Sequence[Summary]) -> pd.DataFrame:
    """Return the table summary.csv: names, the number of repeats (n), and <metric>_mean and <metric>_sd."""
    import pandas as pd

    nothing = Spread(math.nan, math.nan)
    records = []
    for one in summaries:
        record: dict[str, Any] = {"dataset": one.dataset, "labels_per_class": one.labels}
        record |= {"method": one.method, "n": one.repeats}
        for name in SUMMARISED:
            record[f"{name}_mean"], record[f"{name}_sd"] = one.scores.get(name, nothing)
        records.append(record)
    pairs = [f"{name}_{what}" for name in SUMMARISED for what in ("mean", "sd")]
    return pd.DataFrame(records, columns=pd.Index(["dataset", "labels_per_class", "method", "n", *pairs]))


def read_summary(path: Path) -> tuple[Summary, ...]:
    """Read summary.csv; nothing where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    table = read_table(path, "dataset", "labels_per_class", "method", "n")
    if table is None:
        return ()
    with reading(path):
        return tuple(
            Summary(
                row["dataset"],
                int(float(labels)) if (labels := row["labels_per_class"]) else None,
                row["method"],
                int(row["n"]),
                {
                    name: Spread(float(mean), number(row[f"{name}_sd"]))
                    for name in SUMMARISED
                    if (mean := row[f"{name}_mean"])
                },
            )
            for row in table.to_dict("records")
        )
