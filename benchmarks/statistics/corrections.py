"""The tests that are compared: what each takes the variance of the mean of repeated differences to be.

P pools, R splits of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.statistics.simulation import Outcome, Setting
from sit2.records import FloatArray


@dataclass(frozen=True)
class Seen:
    """What a test is told of P pools."""

    splits: int  # R
    mean: FloatArray  # (P,) of the differences
    variance: FloatArray  # (P,) of the differences, S²
    images: FloatArray  # (P,) variance of a difference that its test images cause
    shared: FloatArray  # (P,) covariance of two differences that the images in both tests cause
    setting: Setting

    @classmethod
    def of(cls, outcome: Outcome, splits: int, setting: Setting) -> Seen:
        """Look at the first splits alone. No difference is finer than one test image."""
        differences = outcome.differences[:, :splits]
        products = outcome.products[:, :splits, :splits]
        own = np.trace(products, axis1=1, axis2=2)
        shared = (products.sum(axis=(1, 2)) - own) / (splits * (splits - 1))
        return cls(
            splits,
            differences.mean(axis=1),
            np.maximum(differences.var(axis=1, ddof=1), 1 / setting.test**2),
            own / splits,
            np.maximum(shared, 0.0),
            setting,
        )


Parts = tuple[FloatArray, FloatArray]  # of the variance: told by R differences, known from images


def _ratio(fraction: float) -> float:
    return fraction / (1 - fraction)


def _constant(correction: Callable[[Setting], float]) -> Callable[[Seen], Parts]:
    """Return a test that takes S² (1/R + a constant)."""
    return lambda seen: (
        seen.variance * (1 / seen.splits + correction(seen.setting)),
        np.zeros_like(seen.mean),
    )


def _estimated(correction: Callable[[float], float]) -> Callable[[Seen], Parts]:
    """Return a test that estimates what shared test images do.

    Of what training adds, it takes what trainings share to be the correction for n/N.
    """

    def parts(seen: Seen) -> Parts:
        trained = np.maximum(seen.variance - seen.images + seen.shared, 0.0)
        shared = correction(seen.setting.train / seen.setting.images)
        return seen.variance / seen.splits + shared * trained, seen.shared

    return parts


CORRECTIONS: dict[str, Callable[[Seen], Parts]] = {
    "plain": _constant(lambda _: 0.0),
    "ρ/(1 − ρ)": _constant(lambda s: _ratio(s.test / s.images)),
    "n_test/n_train": _constant(lambda s: s.test / s.train),
    "largest overlap": _constant(lambda s: _ratio(max(s.test, s.train) / s.images)),
    "test overlap": _estimated(lambda _: 0.0),
    "both overlaps": _estimated(lambda fraction: fraction),
    "both at most": _estimated(_ratio),
}


def half_widths(parts: Parts, splits: int, alpha: float = 0.05) -> FloatArray:
    """(P,) half of the interval at 1 - ``alpha`` around the mean."""
    student, normal = stats.t.isf(alpha / 2, splits - 1), stats.norm.isf(alpha / 2)
    return np.sqrt(student**2 * parts[0] + normal**2 * parts[1])


def found(name: str, seen: Seen, difference: float = 0.0) -> float:
    """Return how often a test finds a difference, were the learners that far apart."""
    half = half_widths(CORRECTIONS[name](seen), seen.splits)
    return float(np.mean([np.abs(seen.mean + shift) > half for shift in (difference, -difference)]))
