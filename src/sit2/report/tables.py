"""The page's tables as CSV and LaTeX, for papers."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sit2.evaluation.bootstrap import Difference
from sit2.evaluation.class_figures import COLUMNS as FIGURES
from sit2.evaluation.class_figures import class_figures
from sit2.evaluation.metrics import METRICS
from sit2.evaluation.results import SUMMARISED, Spread
from sit2.evaluation.words import p_value
from sit2.report.classes import class_rows
from sit2.report.data import ComparisonData, RunData
from sit2.report.pairs import pair_rows
from sit2.storage.escaping import neutral, visible
from sit2.storage.files import atomic

METRIC_TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log-loss",
    "ece": "calibration error",
    "pair_error": "errors within confused pairs",
    "other_error": "other errors",
    "auroc": "AUROC",
    "average_precision": "average precision",
}


@dataclass(frozen=True)
class Table:
    """Rows of text under a title."""

    name: str  # of the file
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def run_tables(run: RunData) -> list[Table]:
    """Return metrics, differences, classes and pairs of a run; those that hold something."""
    scores = ("precision", "F1", *FIGURES)
    by_recipe = [f"{recipe} {score}" for recipe in run.shown for score in scores]
    pair = ["class a", "class b", "score", "lower", "upper", "images"]
    pair += [f"{recipe} errors" for recipe in run.shown] + (_CHANGED if len(run.shown) > 1 else [])
    tables = [
        Table("metrics", "Results on the test images", ("method", *METRICS), _metrics(run)),
        Table("differences", "Differences in accuracy", ("method", "control", *_GAP, "p"), _differences(run)),
        Table("classes", "Scores by class", ("class", "images", *by_recipe), _classes(run)),
        Table("pairs", "Pairs of classes", pair, _pairs(run)),
    ]
    return [table for table in tables if table.rows]


_GAP = ("difference", "lower", "upper")
_CHANGED = ["fixed", "introduced"]


def _metrics(run: RunData) -> list[list[str]]:
    return [[m, *(_number(values[name]) for name in METRICS)] for m, values in run.metrics.items()]


def _differences(run: RunData) -> list[list[str]]:
    return [
        [t.method, t.control, *_gap(t.differences["accuracy"]), p_value(t.p_adjusted)]
        for t in run.tests.values()
    ]


def _classes(run: RunData) -> list[list[str]]:
    figures = [class_figures(run.predictions[recipe], run.classes) for recipe in run.shown]
    return [
        [row.name, str(row.images)]
        + [
            _number(value)
            for score, one in zip(row.scores, each, strict=True)
            for value in (score.precision, score.f1, *one.values)
        ]
        for row, each in zip(class_rows(run), zip(*figures, strict=True), strict=True)
    ]


def _pairs(run: RunData) -> list[list[str]]:
    rows = []
    for row in pair_rows(run):
        score = [_number(value) for value in (row.pair.score, row.pair.lower, row.pair.upper)]
        counts = [row.method_errors.images, *(one.errors for one in row.errors)]
        if len(run.shown) > 1:
            counts += [len(row.fixed), len(row.introduced)]
        rows.append([row.pair.class_a, row.pair.class_b, *score, *map(str, counts)])
    return rows


def comparison_tables(data: ComparisonData) -> list[Table]:
    """Return the summary and the tests of a comparison; those that hold something."""
    names = [name for name in SUMMARISED if any(name in row.scores for row in data.summaries)]
    unknown = Spread(math.nan, math.nan)
    summary = [
        [row.dataset, _labels(row.labels), row.method, str(row.repeats)]
        + [" ± ".join(map(_number, row.scores.get(name, unknown))) for name in names]
        for row in data.summaries
    ]
    tests = [
        [r.dataset, _labels(r.labels), r.method, r.control, r.metric, str(r.repeats)]
        + [_number(value) for value in (r.test.difference, r.test.lower, r.test.upper)]
        + [p_value(r.p_adjusted), r.verdict]
        for r in data.results
    ]
    columns = ("dataset", "labels", "method", "control", "metric", "n", *_GAP, "p", "verdict")
    tables = [
        Table("summary", "Mean ± standard deviation", ("dataset", "labels", "method", "n", *names), summary),
        Table("tests", "Differences from the control", columns, tests),
    ]
    return [table for table in tables if table.rows]


def _labels(number: int | None) -> str:
    return "" if number is None else str(number)


def write_tables(folder: Path, tables: Iterable[Table]) -> None:
    """Write every table as <name>.csv and <name>.tex."""
    for table in tables:
        with (
            atomic(folder / f"{table.name}.csv") as path,
            path.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([neutral(cell) for cell in row] for row in (table.columns, *table.rows))
        with atomic(folder / f"{table.name}.tex") as path:
            path.write_text(latex(table), encoding="utf-8")


def latex(table: Table) -> str:
    """Return a table for a document that loads the package booktabs."""
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in table.rows]
    return "\n".join(
        [
            r"\begin{tabular}{" + "l" + "r" * (len(table.columns) - 1) + "}",
            r"\toprule",
            " & ".join(map(escaped, table.columns)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


_LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": "$-$",
    "\n": " ",
}


def escaped(text: str) -> str:
    """Return a text whose every character LaTeX prints; control characters are spelled out."""
    return "".join(_LATEX.get(letter, letter) for letter in visible(text))


def _gap(gap: Difference) -> list[str]:
    return [_number(value) for value in (gap.difference, gap.lower, gap.upper)]


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"
