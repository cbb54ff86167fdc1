"""What a suite's contrast can show, by the spread of the differences that its first splits had.

Over the sets each set is one repeat, a mean over its splits: with n splits the variance of a set's difference is
that between sets, and 1/n of that between the splits of a set. On one set the corrected test decides, whose
variance has a part that no number of splits takes away, because splits of one pool test the same images.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from benchmarks.method.contrast import GOAL, Contrast, contrast_of
from benchmarks.method.tables import Suite
from sit2.evaluation.power import POWER
from sit2.evaluation.statistics import ALPHA
from sit2.evaluation.words import points

SETS = 6  # that the declared contrast is over
SPLITS = (2, 5, 10)
FEW, MANY = (
    (5, 10),
    (2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500),
)  # of single sets; where enough is looked for
ENDLESS = 10**9  # splits


@dataclass(frozen=True)
class Spread:
    """How the differences of a contrast vary, as standard deviations."""

    between: float  # sets, splits without end
    within: float  # splits of one set
    tested: float  # the fraction of a set that a test takes

    def of_set(self, splits: int) -> float:
        """Return the standard deviation of a set's mean over its splits."""
        return float(np.hypot(self.between, self.within / np.sqrt(splits)))


def spread_of(contrast: Contrast) -> Spread | None:
    """Measure the spread; None where there are no two sets, or no set with two splits."""
    gaps = [found for one in contrast.sets if len(found := contrast.gaps(one.place))]
    several = [one for one in gaps if len(one) > 1]
    if len(gaps) < 2 or not several:
        return None
    degrees = sum(len(one) - 1 for one in several)
    within = sum(float(((one - one.mean()) ** 2).sum()) for one in several) / degrees
    means = float(np.var([one.mean() for one in gaps], ddof=1))
    between = max(0.0, means - within * float(np.mean([1 / len(one) for one in gaps])))
    table = contrast.table
    return Spread(between**0.5, within**0.5, float((table["test_images"] / table["images"]).mean()))


@functools.cache
def standard_errors(repeats: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return how many standard errors a mean of ``repeats`` must be for a chance of ``power`` that t shows it.

    Two-sided, by the noncentral t distribution; infinite for one repeat.
    """
    if repeats < 2:
        return float("inf")
    degrees = min(repeats, 1000) - 1  # from there on as good as normal
    limit = float(stats.t.isf(alpha / 2, degrees))

    def lacking(centre: float) -> float:
        return float(stats.nct.sf(limit, degrees, centre)) - power

    return float(optimize.brentq(lacking, 0.0, 2 * limit + 5))


def over_sets(spread: Spread, splits: int, sets: int = SETS) -> float:
    """Return the mean difference over the sets that is shown with a chance of :data:`POWER`."""
    return standard_errors(sets) * spread.of_set(splits) / float(np.sqrt(sets))


def on_a_set(spread: Spread, splits: int, sets: int = SETS) -> float:
    """Return the difference that the corrected test shows on a single set, the first of ``sets`` by Holm."""
    shared = spread.tested / (1 - spread.tested)
    error = spread.within * float(np.sqrt(1 / splits + shared))
    return standard_errors(splits, ALPHA / sets) * error


def sentences(suite: Suite, sets: int = SETS) -> Iterator[str]:
    """Yield what the suite's contrast can show; without one, each method's against the suite's first control."""
    declared = contrast_of(suite)
    control = suite.controls[0]
    every = [Contrast(suite.table, name, control) for name in suite.methods if name != control]
    for contrast in [declared] if declared is not None else every:
        yield f"`{contrast.method}` against `{contrast.control}`: " + _sentence(contrast, sets)


def _sentence(contrast: Contrast, sets: int) -> str:
    spread = spread_of(contrast)
    if spread is None:
        return "there must be two sets, and two splits of one, to tell what can be shown."
    each = ", ".join(f"{points(over_sets(spread, n, sets))} with {n} splits" for n in SPLITS)
    alone = ", ".join(f"{points(on_a_set(spread, n, sets))} with {n} splits" for n in FEW)
    least, least_alone = over_sets(spread, ENDLESS, sets), on_a_set(spread, ENDLESS, sets)
    return (
        f"over {sets} sets a difference is shown, four times in five, of {each}, and of {points(least)} points "
        f"with any number; {_enough(over_sets, spread, sets)}. On a single set, first of {sets} by Holm: {alone}, "
        f"{points(least_alone)} points with any number; {_enough(on_a_set, spread, sets)}. (The differences vary "
        f"by {points(spread.within)} points between the splits of a set, and by {points(spread.between)} between "
        "sets beyond that.)"
    )


def _enough(shown: Callable[[Spread, int, int], float], spread: Spread, sets: int) -> str:
    """Say how many splits show the difference that is the goal."""
    number = next((n for n in MANY if shown(spread, n, sets) <= GOAL), None)
    if number is not None:
        return f"{number} splits suffice for {points(GOAL)}"
    reached = shown(spread, ENDLESS, sets) <= GOAL
    return f"{'more than 500' if reached else 'no number of'} splits would suffice for {points(GOAL)}"
