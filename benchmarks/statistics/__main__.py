"""``python -m benchmarks.statistics``: simulate tests of repeated splits, and write the tables of the docs."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.statistics.corrections import CORRECTIONS, Seen, found
from benchmarks.statistics.simulation import RIVALS, SETTINGS, Outcome, Rivals, Setting, simulate
from sit2.storage.files import atomic

RESULTS = Path(__file__).parent / "results.csv"
PAGE = Path(__file__).parent.parent.parent / "docs" / "statistics.md"
BEGIN, END = "<!-- simulation -->", "<!-- /simulation -->"
REPEATS = (2, 3, 5, 8, 10)
SHOWN = (2, 3, 5, 10)  # in the table of power
TOO_OFTEN = 0.06


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description=__doc__)
    parser.add_argument("--pools", type=int, default=2000, help="of each setting (default: 2000)")
    parser.add_argument("--page", action="store_true", help="only write the tables anew, from the results")
    options = parser.parse_args()
    if not options.page:
        with threadpool_limits(1):
            table = run(options.pools)
        with atomic(RESULTS) as path:
            table.to_csv(path, index=False, float_format="%.4f", lineterminator="\n")
    write_page(pd.read_csv(RESULTS))


def run(pools: int) -> pd.DataFrame:
    """Simulate every setting with every pair of rivals."""
    rows = []
    for seed, (setting, rivals) in enumerate(itertools.product(SETTINGS, RIVALS)):
        rows += judge(setting, rivals, simulate(setting, rivals, pools, seed))
        print(f"{setting}, {rivals.name}: done", flush=True)
    return pd.DataFrame(rows)


def judge(setting: Setting, rivals: Rivals, outcome: Outcome) -> list[dict[str, object]]:
    """Return a row for each test and number of splits: how often it errs, and how often it finds a difference.

    The difference is one that a test which knew the true variance would find 9 times in 10 with five splits.
    """
    reach = (1.96 + 1.2816) * float(outcome.differences[:, :5].mean(axis=1).std())
    covariance = np.cov(outcome.differences.T)
    variance = float(np.trace(covariance)) / len(covariance)
    correlation = (covariance.sum() / len(covariance) / variance - 1) / (len(covariance) - 1)
    place = {"images": setting.images, "classes": setting.classes, "labels": setting.labels}
    place |= {"train": setting.train, "test": setting.test, "rivals": rivals.name}
    place |= {"sd": variance**0.5, "correlation": correlation}
    told = {splits: Seen.of(outcome, splits, setting) for splits in REPEATS}
    return [
        {
            **place,
            "splits": splits,
            "correction": name,
            "level": found(name, seen),
            "power": found(name, seen, reach),
        }
        for splits, seen in told.items()
        for name in CORRECTIONS
    ]


def write_page(table: pd.DataFrame) -> None:
    """Write the tables between the marks of docs/statistics.md."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    text = "\n".join([BEGIN, *levels(table), "", *powers(table), END])
    with atomic(PAGE) as path:
        path.write_text(before + text + rest.split(END)[1], encoding="utf-8")


def levels(table: pd.DataFrame) -> list[str]:
    """Return how often each test errs at most, over the numbers of splits; in bold where that is too often."""
    lines = _head(
        "correlation", "Errors of the first kind, in percent; the largest over 2, 3, 5, 8 and 10 splits"
    )
    for place, rows in _places(table):
        worst = rows.groupby("correction")["level"].max()
        shown = [_percent(worst[name], bold=worst[name] > TOO_OFTEN) for name in CORRECTIONS]
        lines.append(f"| {place} | {rows['correlation'].iloc[0]:.2f} | {' | '.join(shown)} |")
    return lines


def powers(table: pd.DataFrame) -> list[str]:
    """Return how often each test finds a difference."""
    lines = _head(
        "", f"Differences found, in percent, with {', '.join(map(str, SHOWN[:-1]))} and {SHOWN[-1]} splits"
    )
    for place, rows in _places(table):
        power = rows.set_index(["correction", "splits"])["power"]
        shown = [" / ".join(f"{100 * power[name, splits]:.0f}" for splits in SHOWN) for name in CORRECTIONS]
        lines.append(f"| {place} | {' | '.join(shown)} |")
    return lines


def _head(more: str, title: str) -> list[str]:
    columns = ["images", "labels a class", "rivals differ by", *([more] if more else []), *CORRECTIONS]
    return [f"{title}:", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _places(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield every setting and pair of rivals, as the first cells of a row, with its results."""
    for (images, classes, labels, rivals), rows in table.groupby(
        ["images", "classes", "labels", "rivals"], sort=False
    ):
        yield f"{images:,}, {classes} classes | {labels} | {rivals}", rows


def _percent(fraction: float, *, bold: bool) -> str:
    text = f"{100 * fraction:.1f}"
    return f"**{text}**" if bold else text


if __name__ == "__main__":
    main()
