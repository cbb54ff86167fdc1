"""A share of test images, such as an accuracy or a recall, with its 95 % interval.

N images, G groups of them. This module never imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sit2.records import BoolArray

FEW_GROUPS = 10


@dataclass(frozen=True)
class Share:
    """How many of n images something holds for; value and ends are NaN where there is none."""

    hits: int
    n: int
    lower: float  # of the 95 % interval
    upper: float

    @classmethod
    def of(cls, holds: BoolArray, groups: Sequence[str] = ()) -> Share:
        """Count (N,) bool; ``groups`` are N or none."""
        return cls(int(holds.sum()), len(holds), *share_interval(holds, groups))

    @property
    def value(self) -> float:
        """In [0, 1]."""
        return self.hits / self.n if self.n else math.nan


def share_interval(holds: BoolArray, groups: Sequence[str] = ()) -> tuple[float, float]:
    """Return the 95 % Wilson interval of the share of (N,) bool that is true; NaN without images.

    Images of one group (patient, slide, …) are not independent: where there are groups, the interval is that
    of the effective number of images (Korn & Graubard 1998).
    """
    from statsmodels.stats.proportion import proportion_confint

    if not len(holds):
        return math.nan, math.nan
    n = effective_number(holds, groups) if groups else float(len(holds))
    low, high = proportion_confint(n * float(holds.mean()), n, method="wilson")
    # Where all or none hold, that is an end of the interval, which rounding misses.
    return (0.0 if not holds.any() else float(low)), (1.0 if holds.all() else float(high))


def few_groups(groups: Sequence[str]) -> str:
    """Say that intervals are wide because N images come from few groups; "" where there are many, or none."""
    count = len(set(groups))
    if not count or count >= FEW_GROUPS or count == len(groups):
        return ""
    return (
        f"The {len(groups):,} test images come from only {count} {'group' if count == 1 else 'groups'}, and images "
        "of one group are alike: the intervals allow for that, so they are wide. More groups would narrow them."
    )


def mean_share(shares: Sequence[Share]) -> tuple[float, float, float]:
    """Return the mean of shares of different images, and its 95 % interval; those without images are left out.

    The interval is put together from those of the shares (MOVER, Zou & Donner 2008): it never leaves [0, 1],
    and it is not empty where every share is 0 or 1. It takes the shares for independent.
    """
    known = [one for one in shares if one.n]
    if not known:
        return math.nan, math.nan, math.nan
    value = math.fsum(one.value for one in known) / len(known)
    below = math.sqrt(math.fsum((one.value - one.lower) ** 2 for one in known)) / len(known)
    above = math.sqrt(math.fsum((one.upper - one.value) ** 2 for one in known)) / len(known)
    return value, max(0.0, value - below), min(1.0, value + above)


def effective_number(holds: BoolArray, groups: Sequence[str]) -> float:
    """Return how many independent images tell as much of a share as these of G groups do.

    The variance of a share by whole groups (the ratio estimator's) over that of independent images is the
    design effect; with few groups its own uncertainty counts too, as the normal over the t distribution.
    """
    from scipy import stats

    member = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(member)
    n, count, share = len(holds), len(sizes), float(holds.mean())
    if count in (1, n) or share in (0.0, 1.0):
        return float(count)
    rest = np.bincount(member, holds) - share * sizes
    effect = count / (count - 1) * float((rest**2).sum()) / (n * share * (1 - share))
    caution = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, count - 1)) ** 2
    return float(np.clip(n / effect * caution, 1, n)) if effect > 0 else float(n)
