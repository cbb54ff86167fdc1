"""What the page of a comparison shows: the answer, charts, and the words beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sit2.data.words import counted
from sit2.evaluation.metrics import METRICS
from sit2.evaluation.words import p_value
from sit2.report.about import about
from sit2.report.charts import Line, Plot, Span, Spans, gap_text, spans, ticks
from sit2.report.comparison import ComparisonData, Ranks, Summary, Verdict
from sit2.report.data import Gap

SMALLER_IS_BETTER = ("log_loss", "ece", "pair_error", "other_error")


def comparison_context(data: ComparisonData) -> dict[str, Any]:
    """Return everything that ``compare.html`` shows."""
    forests, curves = differences(data), budgets(data)
    diagram = critical_difference(data.ranks) if data.ranks else None
    metrics = [m for m in METRICS if any(m in row.values for row in data.summary)]
    return {
        "data": data,
        "title": ", ".join(data.datasets[:3]) + (" …" if len(data.datasets) > 3 else ""),
        "answer": answer(data),
        "forests": forests,
        "curves": curves,
        "diagram": diagram,
        "ranks_sentence": ranks_sentence(data.ranks) if data.ranks else "",
        "metrics": metrics,
        "best": _best(data.summary, metrics),
        "trust": trust(data),
        "next": what_next(data),
        "charts": [*forests, *([diagram] if diagram else []), *curves],
        "about": about(data.info, data.settings, data.folder),
    }


def main_tests(data: ComparisonData) -> list[Verdict]:
    """Return the tests of the metric that the comparison was about: the first of comparison.json."""
    return [test for test in data.tests if test.metric == data.tests[0].metric]


def answer(data: ComparisonData) -> str:
    """Answer "did it help?" in one sentence."""
    tests = main_tests(data) if data.tests else []
    if not tests:
        return "No tests are in this folder yet: the tables below show what was measured."
    counts = {word: sum(t.verdict == word for t in tests) for word in ("better", "worse")}
    neither = len(tests) - sum(counts.values())
    metric = tests[0].metric.replace("_", " ")
    opening = "No method was shown to be better" if not counts["better"] else "Sometimes"
    if counts["better"] == len(tests):
        opening = "Yes"
    return (
        f"{opening}: of {counted(len(tests), 'comparison')} with a control in {metric}, {counts['better']} "
        f"came out better, {counts['worse']} worse, and {neither} showed no difference beyond chance."
    )


def trust(data: ComparisonData) -> list[str]:
    """Answer "may I trust it?"."""
    trainings, methods = counted(len(data.cells), "training"), counted(len(data.methods), "method")
    sets = counted(len(data.datasets), "data set")
    repeats = [row.n for row in data.summary] or [0]
    each = _range(min(repeats), max(repeats))
    sentences = [f"{trainings} of {methods} on {sets}; each mean is of {each}."]
    if min(repeats) < 3:
        sentences.append("Fewer than three repeats say little about chance in training and splitting.")
    if data.info.get("status") != "complete":
        sentences.append("The comparison is not finished: what stands here may still change.")
    return sentences


def _range(low: int, high: int) -> str:
    return counted(low, "repeat") if low == high else f"{low} to {high} repeats"


def what_next(data: ComparisonData) -> list[tuple[str, str]]:
    """Answer "what should I do next?"."""
    command = str(data.info.get("command", ""))
    tests = main_tests(data) if data.tests else []
    better = [t for t in tests if t.verdict == "better"]
    steps = [(f"Train {test.method} on all of {test.dataset} and use it.", "") for test in better[:3]]
    if tests and len(better) < len(tests):
        what = (
            "Where nothing was shown, use the control, or repeat with more splits: the folder goes on where "
            "it stopped, and nothing is trained twice."
        )
        steps.append((what, command))
    return steps


def differences(data: ComparisonData) -> list[Spans]:
    """Return each data set's methods against their control, one chart a set: the same axis in all."""
    tests = main_tests(data) if data.tests else []
    many = 1 if tests and tests[0].metric == "log_loss" else 100
    unit = "nats" if many == 1 else "percentage points"
    charts = []
    for number, dataset in enumerate(dict.fromkeys(t.dataset for t in tests)):
        rows = [_row(t, many) for t in tests if t.dataset == dataset]
        charts.append(spans(f"difference-{number}", dataset, unit, rows))
    ends = [end for chart in charts for end in (chart.ticks[0], chart.ticks[-1])]
    shared = ticks(min(ends, default=0), max(ends, default=1))
    return [replace(chart, ticks=shared) for chart in charts if chart.rows]


def _row(test: Verdict, scale: int) -> Span:
    name = f"{test.method} − {test.control}" + (f", {test.labels} labels" if test.labels else "")
    text = gap_text(test.gap) if scale == 100 else _plain_gap(test.gap)
    p = "" if test.p_adjusted is None else f", {p_value(test.p_adjusted)}"
    return Span.of(name, test.gap, text + p, test.verdict, scale=scale)


def _plain_gap(gap: Gap) -> str:
    text = f"{gap.difference:.3f} ({gap.lower:.3f} to {gap.upper:.3f})"
    return text.replace("-", "−")


def critical_difference(ranks: Ranks) -> Spans:
    """Return mean ranks, each with half the critical difference to both sides.

    Two methods whose intervals do not overlap differ by Nemenyi's test: Demšar's diagram (2006), in rows.
    """
    half = (ranks.critical or 0.0) / 2
    rows = [
        Span(method, rank, rank - half, rank + half, f"{rank:.2f}")
        for method, rank in sorted(ranks.mean.items(), key=lambda item: item[1])
    ]
    return spans("ranks", "Mean rank over the data sets (1 is best)", "mean rank", rows, zero=None)


def ranks_sentence(ranks: Ranks) -> str:
    """Say which methods differ in rank."""
    sets = counted(ranks.datasets, "data set")
    if ranks.p is None:
        return f"Ranks over {sets}; too few for a test."
    said = f"Friedman's test over {sets}: {p_value(ranks.p)}."
    if ranks.critical is None:
        return said
    names = sorted(ranks.mean, key=lambda m: ranks.mean[m])
    apart = [
        f"{a} from {b}"
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if ranks.mean[b] - ranks.mean[a] > ranks.critical
    ]
    told = f"These differ: {', '.join(apart[:8])}." if apart else "No two methods differ."
    return f"{said} Methods differ where their bars do not overlap ({ranks.critical:.2f} ranks apart). {told}"


def budgets(data: ComparisonData) -> list[Plot]:
    """Return accuracy by the number of labels a class, one plot for each set that has several."""
    plots = []
    for number, dataset in enumerate(data.datasets):
        rows = [r for r in data.summary if r.dataset == dataset and r.labels and "accuracy" in r.values]
        if len({r.labels for r in rows}) < 2:
            continue
        lines = []
        for method in dict.fromkeys(r.method for r in rows):
            own = sorted((r for r in rows if r.method == method), key=lambda r: float(r.labels))
            mean = [100 * r.values["accuracy"][0] for r in own]
            spread = [0.0 if math.isnan(s := r.values["accuracy"][1]) else 100 * s for r in own]
            x = tuple(float(r.labels) for r in own)
            low = tuple(m - s for m, s in zip(mean, spread, strict=True))
            high = tuple(m + s for m, s in zip(mean, spread, strict=True))
            lines.append(Line(method, x, tuple(mean), low, high))
        plots.append(
            Plot(
                f"labels-{number}",
                f"{dataset}: accuracy by labels (mean, band of ± 1 sd)",
                "labelled training images a class",
                "accuracy (%)",
                tuple(lines),
                ticks(min(min(line.x) for line in lines), max(max(line.x) for line in lines)),
                ticks(min(min(line.lower) for line in lines), max(max(line.upper) for line in lines)),
                dots=True,
            )
        )
    return plots


def _best(summary: Sequence[Summary], metrics: Sequence[str]) -> set[tuple[str, str, str, str]]:
    """Return (dataset, labels, method, metric) of the best means."""
    best = set()
    for place in {(row.dataset, row.labels) for row in summary}:
        rows = [row for row in summary if (row.dataset, row.labels) == place]
        for metric in metrics:
            known = [r for r in rows if metric in r.values and not math.isnan(r.values[metric][0])]
            pick = min if metric in SMALLER_IS_BETTER else max
            if len(known) > 1:
                top = pick(row.values[metric][0] for row in known)
                best |= {(*place, row.method, metric) for row in known if row.values[metric][0] == top}
    return best
