"""Is one method better than another over repeated splits and seeds? Tests of paired repeats.

R repeats, each one split and one seed on which both methods were trained and tested. Repeats share images, so
they are not independent: the plain t-test over them finds differences that are not there.
This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sit2.evaluation.bootstrap import METRICS, Difference, Sums, draw_units, split_sums, unit_sums
from sit2.evaluation.statistics import check_paired
from sit2.records import FloatArray, IntArray, Predictions

MARGIN = 0.005  # "not worse" means: by no more than half a point


@dataclass(frozen=True)
class TTest:
    """The corrected resampled t-test of R paired differences."""

    n: int  # R
    difference: float  # their mean
    sd: float  # their standard deviation; 0 where they are all equal
    lower: float  # 95 % interval of the mean; infinite where there is no spread to tell it by
    upper: float
    p: float  # two-sided, of no difference
    p_not_worse: float  # one-sided, of "worse by MARGIN or more": small means not worse

    @property
    def not_worse(self) -> bool:
        """Whether the first method is not worse than the second by more than :data:`MARGIN`."""
        return self.p_not_worse < 0.05


def corrected_t_test(
    differences: Sequence[float] | FloatArray, *, test_share: float, step: float = 0.0
) -> TTest:
    """Test R paired differences of repeated random splits (Nadeau & Bengio 2003, eq. 9 and section 4).

    The variance of their mean is taken as (1/R + ρ/(1 − ρ)) S² instead of S²/R: repeats are correlated, and
    ρ, the share of all images that a test holds, is how much two random tests have in common. Where every
    image either trains or tests, ρ/(1 − ρ) is the paper's n_test/n_train; where only few images of the pool
    are labelled, that quotient would take the repeats to share far more than they do.

    Args:
        differences: (R,) of a metric, method minus control, where more is better.
        test_share: ρ in [0, 1); 0 gives the ordinary one-sample t-test.
        step: the smallest difference that a test can show, such as 1/n of n test images. The standard
            deviation is taken to be no less: repeats that are equal on so coarse a scale are not certain.

    Raises:
        ValueError: no differences, or a share outside [0, 1).
    """
    from scipy import stats

    values = np.asarray(differences, np.float64)
    n = len(values)
    if n == 0 or not 0 <= test_share < 1:
        raise ValueError(f"expected differences and a share in [0, 1), got {n} and {test_share}")
    mean = float(values.mean())
    if n == 1:
        return TTest(1, mean, 0.0, -np.inf, np.inf, 1.0, 1.0)
    sd = float(values.std(ddof=1))
    if max(sd, step) <= 1e-12:  # all repeats alike: no chance that could be measured
        return TTest(n, mean, 0.0, -np.inf, np.inf, 1.0, 1.0)
    error = max(sd, step) * np.sqrt(1 / n + test_share / (1 - test_share))
    half = float(stats.t.ppf(0.975, n - 1) * error)
    return TTest(
        n,
        mean,
        sd,
        mean - half,
        mean + half,
        p=float(2 * stats.t.sf(abs(mean) / error, n - 1)),
        p_not_worse=float(stats.t.sf((mean + MARGIN) / error, n - 1)),
    )


def effect_size(differences: Sequence[float] | FloatArray) -> tuple[float, float, float]:
    """Return Hedges' g of R paired differences with its 95 % interval: their mean in standard deviations.

    The interval inverts the noncentral t distribution (Hedges & Olkin 1985) and takes repeats for
    independent, so it is too narrow where they share images. (0, 0, 0) where all are 0; infinite where they
    are equal but not 0, or fewer than two.
    """
    from scipy import special

    values = np.asarray(differences, np.float64)
    n, mean = len(values), float(values.mean())
    sd = float(values.std(ddof=1)) if n > 1 else 0.0
    if sd <= 1e-12:
        return (0.0, 0.0, 0.0) if abs(mean) <= 1e-12 else (float(np.copysign(np.inf, mean)), -np.inf, np.inf)
    df = n - 1
    t = mean / sd * np.sqrt(n)
    unbiased = (
        float(np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2))
        if df > 1
        else 1.0
    )

    low, high = special.nctdtrinc(df, [0.975, 0.025], t) / np.sqrt(n)
    return unbiased * mean / sd, float(unbiased * low), float(unbiased * high)


def repeated_bootstrap(
    repeats: Sequence[tuple[Predictions, Predictions]],
    metrics: Mapping[str, Callable[[Sums], FloatArray]] = METRICS,
    *,
    generator: np.random.Generator,
    resamples: int = 1000,
) -> dict[str, Difference]:
    """Return the mean difference over repeats in every metric, with its 95 % bootstrap interval.

    Repeats and images are drawn at once: an image (a group, where there are groups) that is drawn twice
    counts twice in every repeat that tests on it, so what repeats share is not taken for new evidence.

    Args:
        repeats: (method's, control's) predictions, one pair for each repeat.
        metrics: name -> function of :class:`Sums`.
        generator: the only source of chance.
        resamples: how often repeats and images are drawn anew.

    Raises:
        ValueError: no repeats, or two predictions that are not of the same images.
    """
    if not repeats:
        raise ValueError("expected at least one repeat")
    for a, b in repeats:
        check_paired(a, b)
    units = _common_units(repeats)
    count = 1 + max(int(unit.max()) for unit in units)
    sums = [
        (unit_sums(a, unit, count), unit_sums(b, unit, count))
        for (a, b), unit in zip(repeats, units, strict=True)
    ]
    observed = _mean_differences(sums, np.ones((1, count)), np.ones((1, len(repeats))), metrics)
    drawn: dict[str, list[FloatArray]] = {name: [] for name in metrics}
    for images in draw_units(count, resamples, generator):
        weight = generator.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=len(images))
        for name, means in _mean_differences(sums, images, weight.astype(np.float64), metrics).items():
            drawn[name].append(means)
    result = {}
    for name, values in drawn.items():
        lower, upper = np.nanquantile(np.concatenate(values), [0.025, 0.975])
        result[name] = Difference(float(observed[name][0]), float(lower), float(upper))
    return result


def _mean_differences(
    sums: Sequence[tuple[FloatArray, FloatArray]],
    images: FloatArray,
    weight: FloatArray,
    metrics: Mapping[str, Callable[[Sums], FloatArray]],
) -> dict[str, FloatArray]:
    """Average over repeats, for units drawn ``images`` (B, U) and repeats drawn ``weight`` (B, R) times.

    NaN where no image of any drawn repeat was drawn, which only tiny test sets know.
    """
    total = {name: np.zeros(len(images)) for name in metrics}
    weights = np.zeros(len(images))
    for number, (sums_a, sums_b) in enumerate(sums):
        left, right = split_sums(images @ sums_a), split_sums(images @ sums_b)
        there = left.samples > 0
        times = np.where(there, weight[:, number], 0.0)
        weights += times
        with np.errstate(invalid="ignore", divide="ignore"):
            for name, metric in metrics.items():
                total[name] += times * np.where(there, metric(left) - metric(right), 0.0)
    with np.errstate(invalid="ignore"):
        return {name: values / weights for name, values in total.items()}


def _common_units(repeats: Sequence[tuple[Predictions, Predictions]]) -> list[IntArray]:
    """(N_r,) int64 for each repeat: which unit each sample is drawn with, the same in all repeats."""
    names = [np.array(a.groups or a.ids) for a, _ in repeats]
    known = np.unique(np.concatenate(names))
    return [np.searchsorted(known, own).astype(np.int64) for own in names]
