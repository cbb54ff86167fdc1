"""A finished comparison in words and tables."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from sit2.cli.results import number, percentage
from sit2.cli.screen import Screen
from sit2.data.words import counted
from sit2.evaluation.metrics import METRICS
from sit2.evaluation.verdicts import RepeatedResult
from sit2.experiments.comparison import Comparison, summary_table


def print_comparison(comparison: Comparison, screen: Screen) -> None:
    """Print each data set's table, the verdicts, the ranks, and what was written."""
    table = summary_table(comparison.cells)
    columns = ("method", "accuracy", "macro-F1", "balanced", "log-loss", "ECE", "pairs", "other", "seconds")
    for _, rows in table.groupby(["dataset", "labels_per_class"], sort=False, dropna=False):
        first = rows.iloc[0]
        labels = first["labels_per_class"]
        few = "" if pd.isna(labels) else f", {labels:.0f} labels a class"
        repeats = counted(int(rows["n"].min()), "repeat")
        screen.say("")
        title = f"{first['dataset']}{few}: mean ± standard deviation of {repeats}, in percent"
        screen.table(title, columns, [_mean_row(row) for row in rows.to_dict("records")])
    screen.say("")
    _print_verdicts(comparison.results, screen)
    if comparison.ranks is not None:
        ranks = comparison.ranks.to_json()
        words = ", ".join(f"{name} {rank:.1f}" for name, rank in ranks["mean_ranks"].items())
        gap = comparison.ranks.critical_difference
        screen.say("")
        screen.say(
            f"Mean rank by {comparison.metric.replace('_', ' ')} over {comparison.ranks.datasets} data sets "
            f"(1 is best; ranks closer than {gap:.1f} do not differ): {words}"
        )
    screen.say("")
    page = comparison.folder / "report.html"
    screen.paths({"All results": comparison.folder / "results.csv", "The report, for a browser": page})


def _print_verdicts(results: Sequence[RepeatedResult], screen: Screen, *, most: int = 12) -> None:
    """Print every verdict, or of many only those that found something."""
    shown = [r for r in results if len(results) <= most or r.verdict != "no evidence"]
    for result in shown:
        screen.say(result.sentence, style="bold" if result.verdict != "no evidence" else None)
    if rest := len(results) - len(shown):
        screen.say(
            f"No evidence of a difference in {'the other ' if shown else ''}{rest} of {len(results)} "
            "comparisons: see comparison.json"
        )


def _mean_row(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    """Return a method's cells of the table: mean ± sd of accuracy, means of the rest."""
    spread = "" if pd.isna(row["accuracy_sd"]) else f" ± {100 * row['accuracy_sd']:.1f}"
    means = {name: None if pd.isna(row[f"{name}_mean"]) else float(row[f"{name}_mean"]) for name in METRICS}
    fractions = [percentage(means[name]) for name in ("macro_f1", "balanced_accuracy")]
    rest = [percentage(means[name]) for name in ("ece", "pair_error", "other_error")]
    seconds = f"{row['seconds_mean']:.0f}"
    accuracy = percentage(means["accuracy"]) + spread
    return (str(row["method"]), accuracy, *fractions, number(means["log_loss"]), *rest, seconds)
