"""README.md beside this file, generated from the committed results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.method.suite import SUITES
from sit2.evaluation.overlap import Overlap
from sit2.evaluation.ranks import Ranks, rank_methods
from sit2.evaluation.repeated import TTest, corrected_t_test
from sit2.evaluation.statistics import ALPHA, bonferroni, holm
from sit2.evaluation.words import p_value, points
from sit2.report.ranks import draw_ranks
from sit2.storage.files import atomic

HERE = Path(__file__).parent
FRONT = HERE.parent.parent / "docs" / "benchmark.md"
BEGIN, END = "<!-- ten -->", "<!-- /ten -->"  # around the table that `summary` writes
CONTROLS = ("plain", "plain-restart", "mixup")
METRIC = "balanced_accuracy"  # declared before the first result was seen: several sets are imbalanced
# "second-look" is what results before 2026-11-27 call plain training with the predictors tta, ensemble, pairwise.
SIT2 = ("not-sure", "sure-or-not", "multi-label", "soft-label", "confusion-smoothing", "second-look")
PAIRWISE = "pairwise"  # the predictor that uses confused pairs


@dataclass(frozen=True)
class Judged:
    """A method against a control, on one data set at one number of labels or over all data sets."""

    place: str  # "" for all
    method: str
    control: str
    test: TTest
    p_adjusted: float

    @property
    def verdict(self) -> str:
        if not self.p_adjusted < ALPHA:
            return ""
        return "better" if self.test.difference > 0 else "worse"

    @property
    def words(self) -> str:
        mark = {"better": " ▲", "worse": " ▼", "": ""}[self.verdict]
        return points(self.test.difference) + mark


@dataclass(frozen=True)
class Suite:
    """One results file, complete repeats only."""

    name: str
    table: pd.DataFrame

    @property
    def about(self) -> str:
        """The comment that the suite's file begins with."""
        lines = (SUITES / f"{self.name}.yaml").read_text(encoding="utf-8").splitlines()
        return "\n".join(
            line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("#"), lines)
        )

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(self.table["method"]))

    @property
    def controls(self) -> list[str]:
        """What the others are tested against: plain training first, else a suite's first method."""
        known = [name for name in CONTROLS if name in self.methods]
        return known if "plain" in known else [self.methods[0], *known]

    @property
    def places(self) -> list[str]:
        return list(dict.fromkeys(self.table["place"]))

    def wide(self, metric: str = METRIC) -> pd.DataFrame:
        """Return a row for each place and repeat, a column for each method; complete rows only."""
        rows = self.table.pivot_table(
            index=["place", "split", "seed"], columns="method", values=metric, sort=False
        )
        return rows[self.methods].dropna()

    def means(self, metric: str = METRIC) -> pd.DataFrame:
        return self.wide(metric).groupby(level="place", sort=False).mean()

    def spread(self, metric: str = METRIC) -> pd.DataFrame:
        return self.wide(metric).groupby(level="place", sort=False).std()

    def repeats(self) -> pd.Series[int]:
        return self.wide().groupby(level="place", sort=False).size()

    def of_sets(self) -> pd.DataFrame:
        """Return a row for each data set, its numbers of labels averaged."""
        means = self.means()
        of = dict(zip(self.table["place"], self.table["dataset"], strict=True))
        return means.groupby(means.index.map(of), sort=False).mean()

    def ranks(self) -> Ranks | None:
        """Rank the methods on each data set."""
        means = self.of_sets()
        if len(means) < 2 or means.shape[1] < 3:
            return None
        return rank_methods(means.to_numpy(np.float64), self.methods)

    def judge(self, control: str, methods: Sequence[str] | None = None) -> list[Judged]:
        """Test methods against a control on every place, corrected by Holm over all of these tests.

        Seeds of one split test the same images, and are averaged. The results hold no predictions, so what
        repeats share is not estimated, but taken to be what their tests may share at most.
        """
        wide = self.wide().groupby(level=["place", "split"], sort=False).mean()
        step = 1 / self.table.groupby("place")["test_images"].mean()
        tested = (self.table["test_images"] / self.table["images"]).groupby(self.table["place"]).mean()
        tests = []
        for name, rows in wide.groupby(level="place", sort=False):
            place = str(name)
            for method in methods or self.methods:
                if method != control and {method, control} <= set(self.methods):
                    gap = (rows[method] - rows[control]).to_numpy(np.float64)
                    test = corrected_t_test(gap, Overlap(test=tested[place]), step=step[place])
                    tests.append((place, method, test))
        adjusted = holm([test.p for _, _, test in tests])
        return [
            Judged(place, method, control, test, p)
            for (place, method, test), p in zip(tests, adjusted, strict=True)
        ]

    def test_over_sets(self, method: str, control: str, comparisons: int = 1) -> TTest:
        """Test a method against a control, each data set as one repeat that shares nothing with another."""
        means = self.of_sets()
        gap = (means[method] - means[control]).to_numpy(np.float64)
        return corrected_t_test(gap, comparisons=comparisons)

    def judge_over_sets(self, control: str) -> list[Judged]:
        """Test methods against a control over the data sets, intervals and p for all of them; best first."""
        methods = [method for method in self.methods if method != control]
        tests = [self.test_over_sets(method, control, len(methods)) for method in methods]
        judged = [
            Judged("", method, control, test, bonferroni(test.p, len(methods)))
            for method, test in zip(methods, tests, strict=True)
        ]
        return sorted(judged, key=lambda one: -one.test.difference)


def load(file: Path) -> Suite:
    table = pd.read_csv(file)
    few = table["labels_per_class"]
    several = few.nunique(dropna=False) > 1
    table["place"] = table["dataset"] + (few.map(lambda n: f" / {n:.0f}") if several else "")
    return Suite(file.stem, table)


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


def change(relative: float) -> str:
    """Return a relative change as "+5 %", "−3 %" or "0 %"."""
    whole = round(100 * relative)
    return f"{whole:+d} %".replace("-", "−") if whole else "0 %"


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


def with_random_pairs(method: str, methods: Sequence[str]) -> str | None:
    """Return a method's own control with random pairs: a variant's name ends with it, a recipe's method does."""
    base, plus, predictors = method.partition("+")
    names = (f"{method}@random", f"{base}@random{plus}{predictors}")
    return next((name for name in names if name in methods), None)
