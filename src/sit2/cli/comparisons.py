"""A finished comparison in words and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from sit2.cli.progress import Screen
from sit2.cli.results import number, percentage
from sit2.data.words import counted
from sit2.evaluation.results import Summary
from sit2.evaluation.verdicts import RepeatedResult
from sit2.experiments.comparison import Comparison, summaries


def print_comparison(comparison: Comparison, screen: Screen) -> None:
    """Print each data set's table, the verdicts, the ranks, and what was written."""
    columns = ("method", "accuracy", "macro-F1", "balanced", "log-loss", "ECE", "pairs", "other", "seconds")
    for (dataset, labels), group in groupby(
        summaries(comparison.cells), key=lambda one: (one.dataset, one.labels)
    ):
        rows = list(group)
        few = "" if labels is None else f", {labels} labels a class"
        repeats = counted(min(row.repeats for row in rows), "repeat")
        screen.say("")
        title = f"{dataset}{few}: mean ± standard deviation of {repeats}, in percent"
        screen.table(title, columns, [_mean_row(row) for row in rows])
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
    for what, run in comparison.best.items():
        screen.say("")
        screen.say(f"Kept: {what}, which has the lowest log-loss on the validation images")
        screen.paths({"Its run, with the model": run})
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


def _mean_row(row: Summary) -> tuple[str, ...]:
    """Return a method's cells of the table: mean ± sd of accuracy, means of the rest."""
    means = {name: spread.mean for name, spread in row.scores.items()}
    accuracy, spread = percentage(means.get("accuracy")), row.scores["accuracy"].sd
    if not math.isnan(spread):
        accuracy += f" ± {100 * spread:.1f}"
    fractions = [percentage(means.get(name)) for name in ("macro_f1", "balanced_accuracy")]
    rest = [percentage(means.get(name)) for name in ("ece", "pair_error", "other_error")]
    log_loss, seconds = number(means.get("log_loss")), f"{means['seconds']:.0f}"
    return (row.method, accuracy, *fractions, log_loss, *rest, seconds)
