"""The one contrast that a suite declares beforehand, and what is told beside it: the five parts of the goal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from benchmarks.method.tables import METRIC, Suite, with_random_pairs
from sit2.config.recipe import Recipe
from sit2.errors import ConfigError
from sit2.evaluation.overlap import Overlap
from sit2.evaluation.repeated import TTest, corrected_t_test
from sit2.evaluation.words import p_value, points
from sit2.records import FloatArray

GOAL = 0.015  # points that the contrast over the sets is to reach
MARGIN = 0.01  # "not worse" on a set: its interval's lower end is above minus this
FEWER_PAIR_ERRORS = -0.15  # relative change that is asked for


@dataclass(frozen=True)
class OfSet:
    """A contrast on one data set at one number of labels."""

    place: str
    dataset: str
    test: TTest
    pair_error: float  # relative change, NaN where the control makes no such errors
    other_error: float
    without_pairs: int  # repeats in which no pair was chosen
    no_others: bool  # every pair was chosen, so none is left to draw at random

    @property
    def not_worse(self) -> bool:
        return self.test.lower > -MARGIN


@dataclass(frozen=True)
class Contrast:
    """A method against a control, on the repeats that both have; the sets are the repeats of the whole."""

    table: pd.DataFrame
    method: str
    control: str
    unseen: tuple[str, ...] = ()  # sets that no search has touched
    metric: str = METRIC

    @cached_property
    def sets(self) -> list[OfSet]:
        """Return every set, at every number of labels."""
        return [self._of(str(place), rows) for place, rows in self.table.groupby("place", sort=False)]

    @cached_property
    def _wide(self) -> dict[str, pd.DataFrame]:
        return {metric: self._pivoted(metric) for metric in (self.metric, "pair_error", "other_error")}

    def _pivoted(self, metric: str) -> pd.DataFrame:
        """Return a row for each place and split, seeds averaged; columns method and control."""
        both = self.table[self.table["method"].isin((self.method, self.control))]
        rows = both.pivot_table(
            index=["place", "split", "seed"], columns="method", values=metric, sort=False, dropna=False
        )
        rows = rows.reindex(columns=[self.method, self.control]).dropna()
        return rows.groupby(level=["place", "split"], sort=False).mean()

    def gaps(self, place: str) -> FloatArray:
        """Return (splits,) differences on one place."""
        wide = self._wide[self.metric]
        here = wide[wide.index.get_level_values("place") == place]
        gaps: FloatArray = (here[self.method] - here[self.control]).to_numpy(np.float64)
        return gaps

    def _of(self, place: str, rows: pd.DataFrame) -> OfSet:
        gaps = self.gaps(place)
        overlap = Overlap(test=float((rows["test_images"] / rows["images"]).mean()))
        nothing = TTest(0, float("nan"), 0.0, -np.inf, np.inf, 1.0, 1.0)
        step = 1 / float(rows["test_images"].mean())
        own = rows[rows["method"] == self.method]
        classes = own.get("classes", pd.Series(np.nan, own.index)).astype(float)
        return OfSet(
            place,
            str(rows["dataset"].iloc[0]),
            corrected_t_test(gaps, overlap, step=step) if len(gaps) else nothing,
            self._change("pair_error", place),
            self._change("other_error", place),
            int((own["pairs"] == 0).sum()),
            bool(len(own)) and bool((own["pairs"] >= classes * (classes - 1) / 2).all()),
        )

    def _change(self, metric: str, place: str) -> float:
        wide = self._wide[metric]
        means = wide[wide.index.get_level_values("place") == place].mean()
        return (
            float(means[self.method] / means[self.control] - 1) if means[self.control] > 0 else float("nan")
        )

    def over_sets(self, among: tuple[str, ...] = (), *, but: tuple[str, ...] = ()) -> TTest | None:
        """Test over the data sets (``among`` these, ``but`` not those), each a repeat that shares nothing."""
        found: dict[str, list[float]] = {}
        for one in self.sets:
            if one.test.n and (not among or one.dataset in among) and one.dataset not in but:
                found.setdefault(one.dataset, []).append(one.test.difference)
        gaps = [float(np.mean(values)) for values in found.values()]
        return corrected_t_test(gaps) if gaps else None

    def mean_change(self, name: str) -> float:
        """Return the mean over the sets of a relative change, of those where it is known."""
        known = [value for one in self.sets if not np.isnan(value := getattr(one, name))]
        return float(np.mean(known)) if known else float("nan")

    def against(self, control: str) -> Contrast:
        return Contrast(self.table, self.method, control, self.unseen, self.metric)

    def rivals(self) -> Iterator[tuple[str, str]]:
        """Yield (what it is, its name) of each other control that the table has, with the same predictors."""
        there = dict.fromkeys(self.table["method"])
        if (random := with_random_pairs(self.method, list(there))) is not None:
            yield "its own random pairs", random
        plus = self.method.partition("+")[2]
        for base in ("label-smoothing", "mixup", "plain-restart"):
            if (name := f"{base}+{plus}" if plus else base) in there:
                yield base, name
        yield from (("the linear classifier", name) for name in there if name.split("+")[0] == "linear")

    def told(self) -> str:
        """Return all of it as Markdown that reads well on a terminal."""
        return "\n".join(_told(self))


def contrast_of(suite: Suite) -> Contrast | None:
    """Return the contrast that a suite declares; None where it declares none, or its rows are not there yet."""
    names = suite.declaration.get("contrast")
    if not names:
        return None
    variants = suite.declaration.get("variants", {})
    method, control = (name if name in variants else str(Recipe.parse(name)) for name in names)
    if not {method, control} <= set(suite.methods):
        return None
    return Contrast(suite.table, method, control, tuple(suite.declaration.get("unseen", ())))


def declared_contrast(suite: Suite) -> Contrast:
    """Return the contrast that a suite declares. Raises :class:`ConfigError` where there is none."""
    found = contrast_of(suite)
    if found is None:
        raise ConfigError(f"the suite {suite.name} declares no contrast of which there are rows")
    return found


def _told(one: Contrast) -> Iterator[str]:
    metric = one.metric.replace("_", " ")
    yield f"The contrast that decides: `{one.method}` against `{one.control}`, in points of {metric}."
    yield ""
    whole = one.over_sets()
    assert whole is not None
    yield f"* Over {_sets(whole.n)}: {in_words(whole)}."
    if one.unseen and (unseen := one.over_sets(one.unseen)) is not None:
        yield f"* Over the {_sets(unseen.n)} that no search has touched: {in_words(unseen)}."
    reached = whole.difference >= GOAL and whole.lower > 0
    yield f"* At least {points(GOAL)} points with an interval above 0: {_reached(reached)}."
    worse = [row.place for row in one.sets if not row.not_worse]
    told = f" (not shown on {', '.join(worse)})" if worse else ""
    yield f"* Not worse by {points(MARGIN)} point on every set: {_reached(not worse)}{told}."
    pair, other = one.mean_change("pair_error"), one.mean_change("other_error")
    fewer = pair <= FEWER_PAIR_ERRORS and not other > 0
    yield (
        f"* Errors within chosen pairs {change(pair)}, other errors {change(other)} "
        f"({change(FEWER_PAIR_ERRORS)} without more others: {_reached(fewer)})."
    )
    for what, name in one.rivals():
        no_others = tuple(row.dataset for row in one.sets if row.no_others) if "@random" in name else ()
        test = one.against(name).over_sets(but=no_others)
        left = f"; left out, because no pair is left there that was not chosen: {', '.join(no_others)}"
        words = "no set is left to compare on" if test is None else f"{in_words(test)}, over {_sets(test.n)}"
        yield f"* Against {what} (`{name}`): {words}{left if no_others else ''}."
    yield ""
    margin = f"not worse by {points(MARGIN)} point"
    yield f"| data set (splits) | difference | 95 % interval | {margin} | pair error | other error |"
    yield "|---|---|---|---|---|---|"
    for row in one.sets:
        if row.test.n:
            shown = "shown" if row.not_worse else "–"
            name = row.place.replace("|", "\\|")
            yield (
                f"| {name} ({row.test.n}) | {points(row.test.difference)} | {interval(row.test)} | {shown} | "
                f"{change(row.pair_error)} | {change(row.other_error)} |"
            )
    for row in one.sets:
        if row.without_pairs:
            yield ""
            yield (
                f"{row.place}: in {row.without_pairs} of {row.test.n} repeats no pair was confused enough to be "
                "chosen, so a method that uses pairs trained plainly there."
            )


def in_words(test: TTest) -> str:
    """Return "0.8 points (95 % −0.4 to 2.0, p = 0.151)"."""
    if not np.isfinite(test.lower):
        return f"{points(test.difference)} points (one of them tells no interval)"
    return f"{points(test.difference)} points (95 % {interval(test)}, {p_value(test.p)})"


def interval(test: TTest) -> str:
    return f"{points(test.lower)} to {points(test.upper)}" if np.isfinite(test.lower) else "not known"


def change(relative: float) -> str:
    """Return a relative change as "+5 %", "−3 %" or "0 %"; "–" where there is none."""
    if np.isnan(relative):
        return "–"
    whole = round(100 * relative)
    return f"{whole:+d} %".replace("-", "−") if whole else "0 %"


def _sets(count: int) -> str:
    return f"{count} data set" if count == 1 else f"{count} data sets"


def _reached(reached: bool) -> str:
    return "reached" if reached else "not reached"
