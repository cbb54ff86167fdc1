"""A finished run in words and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sit2.cli.screen import Screen
from sit2.evaluation.metrics import accuracy_interval
from sit2.evaluation.statistics import LIMIT
from sit2.records import Predictions

if TYPE_CHECKING:
    from sit2.experiments.run import Metrics, Run

_COLUMNS = ("method", "accuracy (95 %)", "macro-F1", "balanced", "log-loss", "ECE", "pairs", "other")


def tell_results(run: Run, screen: Screen) -> None:
    """Print the table of metrics, the verdict, and what was written."""
    metrics = {method: splits["test"] for method, splits in run.metrics.items()}
    tell_metrics(run.predictions, metrics, screen)
    for test in run.comparison.values():
        screen.say("")
        screen.say(test.sentence.removesuffix(" " + LIMIT), style="bold")
    if run.comparison:
        screen.say(LIMIT)
    screen.say("")
    screen.paths({"The model": run.folder / "model", "The report, for a browser": run.folder / "report.html"})


def tell_metrics(
    predictions: Mapping[str, Predictions], metrics: Mapping[str, Metrics], screen: Screen
) -> None:
    """Print one row of metrics for each method; shares in percent."""
    rows = []
    for method, values in metrics.items():
        low, high = accuracy_interval(predictions[method])
        rows.append(
            (
                method,
                f"{share(values['accuracy'])} ({100 * low:.1f}–{100 * high:.1f})",
                share(values["macro_f1"]),
                share(values["balanced_accuracy"]),
                number(values["log_loss"]),
                share(values["ece"]),
                share(values["pair_error"]),
                share(values["other_error"]),
            )
        )
    count = len(next(iter(predictions.values())).ids)
    screen.say("")
    screen.table(f"Test on {count:,} images, in percent except log-loss", _COLUMNS, rows)
    screen.say(
        "ECE: calibration error. Pairs, other: errors inside and outside the chosen pairs.", style="dim"
    )


def share(value: float | None) -> str:
    """Return a share in [0, 1] in percent, with one decimal; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    """Return a number with three decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"
