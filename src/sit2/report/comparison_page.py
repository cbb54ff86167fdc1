"""What the page of a comparison shows: the answer, charts, and the words beside them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sit2.data.words import counted, listed
from sit2.evaluation.bootstrap import Difference
from sit2.evaluation.metrics import METRICS
from sit2.evaluation.power import ENOUGH
from sit2.evaluation.ranks import Ranks
from sit2.evaluation.results import Summary
from sit2.evaluation.verdicts import RepeatedResult
from sit2.evaluation.words import p_value
from sit2.report.about import about
from sit2.report.charts import POINTS, Line, Plot, Span, Spans, difference_text, spans, ticks
from sit2.report.data import ComparisonData
from sit2.report.tables import METRIC_TITLES

SMALLER_IS_BETTER = ("log_loss", "ece", "pair_error", "other_error")


def comparison_context(data: ComparisonData) -> dict[str, Any]:
    """Return everything that ``compare.html`` shows."""
    forests, curves = differences(data), budgets(data)
    diagram = critical_difference(data.ranks) if data.ranks else None
    metrics = [m for m in METRICS if any(m in row.scores for row in data.summaries)]
    return {
        "data": data,
        "title": title(data),
        "status": status(data),
        "answer": answer(data),
        "forests": forests,
        "sentences": sentences(data),
        "curves": curves,
        "diagram": diagram,
        "ranks_sentence": ranks_sentence(data.ranks) if data.ranks else "",
        "metrics": [METRIC_TITLES[metric] for metric in metrics],
        "rows": score_rows(data.summaries, metrics),
        "trust": trust(data),
        "next": what_next(data),
        "charts": [*forests, *([diagram] if diagram else []), *curves],
        "about": about(data.info, data.settings, data.folder),
    }


def title(data: ComparisonData) -> str:
    """Return the page's title."""
    sets = ", ".join(data.datasets[:3]) + (" …" if len(data.datasets) > 3 else "")
    methods = counted(len(data.methods), "method")
    return f"{sets or data.folder.name}: {methods} compared"


def status(data: ComparisonData) -> str:
    """Say how far an unfinished comparison is; "" for a finished one."""
    if data.info.complete:
        return ""
    done = f"{counted(len(data.cells), 'result')} so far."
    if data.info.status == "failed":
        reason = data.info.error.partition("\n")[0]
        return f"This comparison failed: {reason or 'no reason was saved.'} {done}"
    return f"This comparison is not finished: {done}"


def answer(data: ComparisonData) -> str:
    """Answer "did it help?" in one sentence."""
    results = data.results
    if not results:
        if data.info.complete:
            return "No method was compared with a control, so there is no test. The table shows what was measured."
        return "Tests follow when the comparison is finished. The table shows what was measured so far."
    counts = {word: sum(r.verdict == word for r in results) for word in ("better", "worse")}
    neither = len(results) - sum(counts.values())
    metric = results[0].metric.replace("_", " ")
    opening = "No method was shown to be better" if not counts["better"] else "Sometimes"
    if counts["better"] == len(results):
        opening = "Yes"
    return (
        f"{opening}: of {counted(len(results), 'comparison')} with a control in {metric}, {counts['better']} "
        f"showed that the method is better and {counts['worse']} that it is worse; {neither} gave no evidence of a "
        "difference."
    )


def sentences(data: ComparisonData) -> list[tuple[str, str]]:
    """Return (data set, verdict in words) of every comparison with a control."""
    return [(r.dataset + _at(r.labels), r.sentence) for r in data.results]


def _at(labels: int | None) -> str:
    return "" if labels is None else f", {labels} labels a class"


def trust(data: ComparisonData) -> list[str]:
    """Answer "can I trust it?"."""
    repeats = [row.repeats for row in data.summaries]
    if not repeats:
        return []
    results, methods = counted(len(data.cells), "result"), counted(len(data.methods), "method")
    sets = counted(len(data.datasets), "data set")
    low, high = min(repeats), max(repeats)
    each = counted(low, "repeat") if low == high else f"{low} to {high} repeats"
    found = [f"{results} of {methods} on {sets}; each mean is over {each} (splits and seeds)."]
    if low < 3:
        found.append("With fewer than three repeats, chance in training and splitting is hardly known.")
    return found


def what_next(data: ComparisonData) -> list[tuple[str, str]]:
    """Answer "what should I do next?": (what, command or "")."""
    command = data.info.command
    if not data.info.complete:
        what = "Finish the comparison with the same command: finished trainings are not repeated."
        return [(what, command)] if command else []
    better = [r for r in data.results if r.verdict == "better"]
    steps = [(f"Train {r.method} on all of {r.dataset} and use it.", "") for r in better[:3]]
    if len(better) < len(data.results):
        what = (
            "Where there is no evidence of a gain, use the control, or add repeats. Finished trainings are not "
            "repeated."
        )
        steps.append((what, with_more_splits(command, data)))
    return steps


def with_more_splits(command: str, data: ComparisonData) -> str:
    """Return the command of a comparison with twice its splits, and at least five; "" where it is none.

    It goes on in the same folder, so it must not overwrite; and where all repeats tested the same images, more
    of them would too.
    """
    words = shlex.split(command)
    if words[:2] != ["sit2", "compare"]:
        return ""
    kept, splits = [], 0
    each = iter(words)
    for word in each:
        if word == "--splits":
            splits = _whole(next(each, ""))
        elif word.startswith("--splits="):
            splits = _whole(word.partition("=")[2])
        elif word not in ("--overwrite", "--resume"):
            kept.append(word)
    splits = splits or len({cell.split for cell in data.cells})
    if any(r.test.n == 1 < r.repeats for r in data.results) and "--resplit" not in kept:
        kept.append("--resplit")
    return shlex.join([*kept, "--splits", str(max(ENOUGH, 2 * splits))])


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def differences(data: ComparisonData) -> list[Spans]:
    """Return each data set's methods against their control, one chart a set: the same axis in all."""
    charts = []
    for number, dataset in enumerate(dict.fromkeys(r.dataset for r in data.results)):
        rows = [_row(r) for r in data.results if r.dataset == dataset]
        charts.append(spans(f"difference-{number}", dataset, POINTS, rows))
    ends = [end for chart in charts for end in (chart.ticks[0], chart.ticks[-1])]
    shared = ticks(min(ends, default=0), max(ends, default=1))
    return [replace(chart, ticks=shared) for chart in charts if chart.rows]


def _row(result: RepeatedResult) -> Span:
    gap = Difference(result.test.difference, result.test.lower, result.test.upper)
    name = f"{result.method} − {result.control}{_at(result.labels)}"
    return Span.of(name, gap, f"{difference_text(gap)}, {p_value(result.p_adjusted)}", result.verdict)


def critical_difference(ranks: Ranks) -> Spans:
    """Return mean ranks, each with half the critical difference to both sides.

    Two methods whose intervals do not overlap differ by Nemenyi's test: Demšar's diagram (2006), in rows.
    """
    half = ranks.critical_difference / 2
    order = sorted(zip(ranks.mean_ranks.tolist(), ranks.methods, strict=True))
    rows = [Span(method, rank, rank - half, rank + half, f"{rank:.2f}") for rank, method in order]
    name = f"Mean rank by {ranks.metric.replace('_', ' ')} over the data sets (1 is best)"
    return spans("ranks", name, "mean rank", rows, zero=None)


def ranks_sentence(ranks: Ranks) -> str:
    """Say which methods differ in rank."""
    apart = [
        f"{a} from {b}"
        for rank_a, a in sorted(zip(ranks.mean_ranks.tolist(), ranks.methods, strict=True))
        for rank_b, b in sorted(zip(ranks.mean_ranks.tolist(), ranks.methods, strict=True))
        if rank_b - rank_a > ranks.critical_difference
    ]
    differ = f"These differ: {listed(apart, 8)}." if apart else "No two methods differ significantly."
    return (
        f"Friedman's test of no difference over {counted(ranks.datasets, 'data set')}: "
        f"{p_value(ranks.friedman_p)}. Two methods differ significantly where their bars do not overlap "
        f"({ranks.critical_difference:.2f} ranks apart or more). {differ}"
    )


def budgets(data: ComparisonData) -> list[Plot]:
    """Return accuracy by the number of labels a class, one plot for each set that has several."""
    plots = []
    for number, dataset in enumerate(dict.fromkeys(row.dataset for row in data.summaries)):
        rows = [
            (row.labels, row)
            for row in data.summaries
            if row.dataset == dataset and row.labels is not None and "accuracy" in row.scores
        ]
        if len({labels for labels, _ in rows}) < 2:
            continue
        lines = [
            _budget_line(method, [(labels, row) for labels, row in rows if row.method == method])
            for method in dict.fromkeys(row.method for _, row in rows)
        ]
        plots.append(
            Plot(
                f"labels-{number}",
                f"{dataset}: accuracy by number of labels (mean ± standard deviation)",
                "labelled training images a class",
                "accuracy (%)",
                tuple(lines),
                ticks(min(min(line.x) for line in lines), max(max(line.x) for line in lines)),
                ticks(min(min(line.lower) for line in lines), max(max(line.upper) for line in lines)),
                dots=True,
            )
        )
    return plots


def _budget_line(method: str, rows: Sequence[tuple[int, Summary]]) -> Line:
    ordered = sorted(rows, key=lambda item: item[0])
    means = [100 * row.scores["accuracy"].mean for _, row in ordered]
    spreads = [0.0 if math.isnan(sd := row.scores["accuracy"].sd) else 100 * sd for _, row in ordered]
    return Line(
        method,
        tuple(float(labels) for labels, _ in ordered),
        tuple(means),
        tuple(mean - sd for mean, sd in zip(means, spreads, strict=True)),
        tuple(mean + sd for mean, sd in zip(means, spreads, strict=True)),
    )


@dataclass(frozen=True)
class ScoreCell:
    """A mean with its standard deviation, and whether it is the best of its data set."""

    text: str
    best: bool


@dataclass(frozen=True)
class ScoreRow:
    """A recipe on a data set."""

    dataset: str
    labels: str
    method: str
    repeats: int
    cells: tuple[ScoreCell, ...]


def score_rows(summaries: Sequence[Summary], metrics: Sequence[str]) -> list[ScoreRow]:
    """Return the table of means."""
    return [
        ScoreRow(
            row.dataset,
            "all" if row.labels is None else str(row.labels),
            row.method,
            row.repeats,
            tuple(ScoreCell(_score(row, metric), _is_best(row, metric, summaries)) for metric in metrics),
        )
        for row in summaries
    ]


def _score(row: Summary, metric: str) -> str:
    if metric not in row.scores:
        return "–"
    scale, digits = (1, 3) if metric == "log_loss" else (100, 1)
    mean, sd = row.scores[metric]
    return f"{scale * mean:.{digits}f}" + ("" if math.isnan(sd) else f" ± {scale * sd:.{digits}f}")


def _is_best(row: Summary, metric: str, summaries: Sequence[Summary]) -> bool:
    """Say whether a mean is the best of its data set and number of labels; no one is where there is but one."""
    rivals = [
        other.scores[metric].mean
        for other in summaries
        if (other.dataset, other.labels) == (row.dataset, row.labels) and metric in other.scores
    ]
    if metric not in row.scores or len(rivals) < 2:
        return False
    best = min(rivals) if metric in SMALLER_IS_BETTER else max(rivals)
    return row.scores[metric].mean == best
