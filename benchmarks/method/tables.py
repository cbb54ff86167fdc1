"""The committed results as tables: means, ranks and tests of methods against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.method import suite
from sit2.evaluation.overlap import Overlap
from sit2.evaluation.ranks import Ranks, rank_methods
from sit2.evaluation.repeated import TTest, corrected_t_test
from sit2.evaluation.statistics import ALPHA, bonferroni, holm
from sit2.evaluation.words import points

CONTROLS = ("plain", "plain-restart", "mixup")
RISK = ("aurc", "accuracy_at_80")
PRICE = ("samples_trained", "forward_passes_once", "forward_passes")
METRIC = "balanced_accuracy"  # declared before the first result was seen: several sets are imbalanced


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

    @cached_property
    def declaration(self) -> dict[str, Any]:
        """What the suite's file says."""
        content: dict[str, Any] = yaml.safe_load(suite.file_of(self.name).read_text(encoding="utf-8"))
        return content

    @property
    def about(self) -> str:
        """The comment that the suite's file begins with."""
        lines = suite.file_of(self.name).read_text(encoding="utf-8").splitlines()
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

    def prices(self) -> pd.DataFrame | None:
        """Return each method's mean cost; None where the rows are older than these columns."""
        if not self._has(PRICE):
            return None
        return self.table.groupby("method", sort=False)[list(PRICE)].mean()

    def risks(self) -> list[tuple[str, float, float, TTest | None]] | None:
        """Return how well each method knows which of its answers are right, the best first.

        A method has its mean area under the risk-coverage curve, the mean accuracy of the 80 % of answers it is
        surest of, and a test of its area against the first control's over the data sets (None: it is that control).
        None where the rows are older than these columns.
        """
        if not self._has(RISK):
            return None
        area, sure = (self.of_sets(metric).mean() for metric in RISK)
        control, others = self.controls[0], len(self.methods) - 1
        tests = {
            name: self.test_over_sets(name, control, others, RISK[0])
            for name in self.methods
            if name != control and len(self.of_sets()) > 1
        }
        rows = [(name, area[name], sure[name], tests.get(name)) for name in self.methods]
        return sorted(rows, key=lambda row: row[1])

    def _has(self, columns: Sequence[str]) -> bool:
        return set(columns) <= set(self.table) and not self.table[list(columns)].isna().any(axis=None)

    def of_sets(self, metric: str = METRIC) -> pd.DataFrame:
        """Return a row for each data set, its numbers of labels averaged."""
        means = self.means(metric)
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

    def test_over_sets(self, method: str, control: str, comparisons: int = 1, metric: str = METRIC) -> TTest:
        """Test a method against a control, each data set as one repeat that shares nothing with another."""
        means = self.of_sets(metric)
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
    table = pd.read_csv(file, dtype={"dataset": str})
    few = table["labels_per_class"]
    several = few.nunique(dropna=False) > 1
    table["place"] = table["dataset"] + (few.map(lambda n: f" / {n:.0f}") if several else "")
    return Suite(file.stem, table)


def with_random_pairs(method: str, methods: Sequence[str]) -> str | None:
    """Return a method's own control with random pairs: a variant's name ends with it, a recipe's method does."""
    base, plus, predictors = method.partition("+")
    names = (f"{method}@random", f"{base}@random{plus}{predictors}")
    return next((name for name in names if name in methods), None)
