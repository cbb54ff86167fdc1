"""README.md beside this file, generated from the committed results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.method.contrast import change, contrast_of
from benchmarks.method.tables import METRIC, Suite, load, with_random_pairs
from sit2.evaluation.repeated import TTest
from sit2.evaluation.words import p_value, points
from sit2.report.ranks import draw_ranks
from sit2.storage.files import atomic

HERE = Path(__file__).parent
FRONT = HERE.parent.parent / "docs" / "benchmark.md"
BEGIN, END = "<!-- ten -->", "<!-- /ten -->"  # around the table that `summary` writes
# "second-look" is what results before 2026-11-27 call plain training with the predictors tta, ensemble, pairwise.
SIT2 = ("not-sure", "sure-or-not", "multi-label", "soft-label", "confusion-smoothing", "second-look")
PAIRWISE = "pairwise"  # the predictor that uses confused pairs


def write(results: Path) -> None:
    """Write README.md, a diagram for each suite that has ranks, and the table in the documentation."""
    suites = [load(file) for file in sorted(results.glob("*.csv"))]
    for suite in suites:
        if (ranks := suite.ranks()) is not None:
            draw_ranks(ranks, HERE / "figures" / f"{suite.name}-ranks", kinds=("svg",))
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=False,  # Markdown, of our own names
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["points"] = points
    environment.filters["change"] = change
    environment.filters["p_value"] = p_value
    text = environment.get_template("page.md.jinja").render(
        suites={suite.name: suite for suite in suites},
        metric=METRIC,
        goal=goal,
        contrast=contrast_of,
        percent=mean_and_deviation,
    )
    with atomic(HERE / "README.md") as path:
        path.write_text(text, encoding="utf-8")
    front = FRONT.read_text(encoding="utf-8")
    before, rest = front.split(BEGIN)
    table = summary(next(suite for suite in suites if suite.name == "ten"))
    with atomic(FRONT) as path:
        path.write_text(before + BEGIN + table + END + rest.split(END)[1], encoding="utf-8")


def summary(suite: Suite) -> str:
    """Return the methods with their mean over all places and their mean rank, best rank first."""
    ranks = suite.ranks()
    assert ranks is not None, f"{suite.name} has too few results for ranks"
    means = suite.means().mean()
    order = np.argsort(ranks.mean_ranks, kind="stable")
    lines = [f"| method | mean | mean rank of {len(order)} |", "|---|---|---|"]
    for n in order:
        name = suite.methods[n]
        shown = f"`{name}`" if name.split("@")[0] in SIT2 else name
        lines.append(f"| {shown} | {100 * means[name]:.1f} | {ranks.mean_ranks[n]:.1f} |")
    return "\n".join(["", *lines, ""])


def mean_and_deviation(mean: float, sd: float | None = None) -> str:
    text = f"{100 * mean:.1f}"
    return text if sd is None or np.isnan(sd) else f"{text} ± {100 * sd:.1f}"


@dataclass(frozen=True)
class Goal:
    """How far a method gets on the five parts of the goal."""

    method: str
    rank: float
    best_rank: bool
    better_on: int
    worse_on: int
    pair_error_change: float  # relative to plain, mean over places; −0.15 is a cut by 15 %
    other_error_change: float
    over_random: TTest | None  # against the method's own random pairs, over data sets


def goal(suite: Suite) -> list[Goal]:
    """Return how far each SIT² method gets; nothing where plain training is not in the suite."""
    if "plain" not in suite.methods:
        return []
    ranks, judged = suite.ranks(), suite.judge("plain")
    pair, other = suite.means("pair_error"), suite.means("other_error")
    rows = []
    for method in suite.methods:
        base, *more = method.split("+")
        if (base not in SIT2 and PAIRWISE not in more) or "@" in method or ranks is None:
            continue
        own = [one for one in judged if one.method == method]
        rank = float(ranks.mean_ranks[ranks.methods.index(method)])
        random = with_random_pairs(method, suite.methods)
        rows.append(
            Goal(
                method,
                rank,
                rank == ranks.mean_ranks.min(),
                sum(one.verdict == "better" for one in own),
                sum(one.verdict == "worse" for one in own),
                float((pair[method] / pair["plain"] - 1).mean()),
                float((other[method] / other["plain"] - 1).mean()),
                None if random is None else suite.test_over_sets(method, random),
            )
        )
    return rows
