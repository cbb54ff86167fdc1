"""Is one method better than another over repeated splits and seeds? Tests of paired repeats.

T repeats, each one split on which both methods were trained and tested. Repeats share images, so they are not
independent: the plain t-test over them finds differences that are not there.
This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sit2.evaluation.bootstrap import (
    METRICS,
    Difference,
    Sums,
    common_units,
    draw_units,
    split_sums,
    unit_sums,
)
from sit2.evaluation.overlap import INDEPENDENT, Overlap
from sit2.evaluation.statistics import ALPHA, check_paired
from sit2.records import FloatArray, Predictions

MARGIN = 0.005  # "not worse" means: by no more than half a point
LEAST_P = 1e-100  # smaller ones are not told apart


@dataclass(frozen=True)
class TTest:
    """The corrected resampled t-test of T paired differences."""

    n: int  # T
    difference: float  # their mean
    sd: float  # their standard deviation; 0 where they are all equal
    lower: float  # 95 % interval of the mean, of all comparisons together; infinite where nothing tells it
    upper: float
    p: float  # two-sided, of no difference
    p_not_worse: float  # one-sided, of "worse by MARGIN or more": small means not worse

    @property
    def not_worse(self) -> bool:
        """Whether the interval leaves out that the first method is worse by :data:`MARGIN` or more."""
        return self.lower > -MARGIN


def corrected_t_test(
    differences: Sequence[float] | FloatArray,
    overlap: Overlap = INDEPENDENT,
    *,
    step: float = 0.0,
    comparisons: int = 1,
) -> TTest:
    """Test T paired differences of repeated random splits of one pool, which are not independent.

    A difference varies with the images that train and with those that test, and repeats share some of both:

    - Two trainings on n of N images have n/N of theirs in common on average. Whatever a training makes of its
      images, what it makes is correlated by n/N at most (Hoeffding 1948, theorem 5.1: ζ_c / c never falls),
      and by less, the more of it is chance in training.
    - Two tests on m of N images have m/N of theirs in common. What these contribute is estimated from the
      predictions: c = ``overlap.shared``; and v = ``overlap.images`` is what all images of one test do.

    With S² the variance of the differences, S² - v + c estimates what training adds to one of them, and the
    variance of the mean is taken to be

        S²/T + (n/N) max(0, S² - v + c) + c.

    (S² - v + c lacks what trainings share, so this is enough where 1/(1 + n/N) of what training adds, or less,
    is a sum over its images: that is nearly all where few images train, and half at worst.) S² rests on T
    differences, c on many images. So the interval is the mean ± the root of t² (S²/T + (n/N) …) + z² c,
    with the quantiles of Student's t for T - 1 and of the normal distribution, and p is the level at which it
    reaches 0.

    Without v and c two differences are taken to be correlated by ρ = m/N, as if all came from the test images,
    and the variance of the mean to be S² (1/T + ρ/(1 - ρ)). Nadeau & Bengio (2003) have m/n in place of
    ρ/(1 - ρ): the same for trainings on all that is not tested, and far too much where few images train.
    docs/statistics.md compares these by simulation: all three hold their level, and the first finds most.

    Args:
        differences: (T,) of a metric, method minus control, where more is better.
        overlap: what repeats share; by default nothing, which gives the ordinary one-sample t-test.
        step: the smallest difference that a test can show, such as 1/n of n test images. The standard
            deviation is taken to be no less: repeats that are equal on so coarse a scale are not certain.
        comparisons: how many are made together. The interval is at 1 - 0.05 / ``comparisons`` (Bonferroni),
            so that all of them hold 19 times in 20; p is of this one alone.

    Raises:
        ValueError: no differences, or a fraction outside [0, 1).
    """
    values = np.asarray(differences, np.float64)
    n = len(values)
    if n == 0 or not (0 <= overlap.train < 1 and 0 <= overlap.test < 1):
        raise ValueError(f"expected differences and fractions in [0, 1), got {n} and {overlap}")
    mean = float(values.mean())
    sd = float(values.std(ddof=1)) if n > 1 else 0.0
    spread = max(sd, step)
    if n == 1 or spread <= 1e-12:  # no chance that could be measured
        return TTest(n, mean, 0.0, -np.inf, np.inf, 1.0, 1.0)
    told, known = _variance_of_mean(spread**2, n, overlap)
    half = _half_width(ALPHA / comparisons, told, known, n - 1)
    tail = _p_value(mean + MARGIN, told, known, n - 1) / 2
    return TTest(
        n,
        mean,
        sd,
        mean - half,
        mean + half,
        p=_p_value(mean, told, known, n - 1),
        p_not_worse=tail if mean > -MARGIN else 1 - tail,
    )


def _variance_of_mean(variance: float, n: int, overlap: Overlap) -> tuple[float, float]:
    """Return the part that n differences tell by their variance, and the part that is known from images."""
    if overlap.images is None:
        return variance * (1 / n + overlap.test / (1 - overlap.test)), 0.0
    trained = max(variance - overlap.images + overlap.shared, 0.0)
    return variance / n + overlap.train * trained, overlap.shared


def _half_width(alpha: float, told: float, known: float, df: int) -> float:
    """Return half of the interval at 1 - ``alpha`` of a mean with these two parts of its variance."""
    from scipy import stats

    student, normal = stats.t.isf(alpha / 2, df), stats.norm.isf(alpha / 2)
    return float(np.hypot(student * np.sqrt(told), normal * np.sqrt(known)))


def _p_value(mean: float, told: float, known: float, df: int) -> float:
    """Return the ``alpha`` at which :func:`_half_width` is as long as the mean is far from 0."""
    from scipy import optimize, stats

    if known == 0:
        return float(2 * stats.t.sf(abs(mean) / np.sqrt(told), df))
    if _half_width(LEAST_P, told, known, df) <= abs(mean):
        return LEAST_P

    def beyond(log_alpha: float) -> float:
        return _half_width(np.exp(log_alpha), told, known, df) - abs(mean)

    return float(np.exp(optimize.brentq(beyond, np.log(LEAST_P), 0.0, xtol=1e-13)))


def effect_size(test: TTest, *, comparisons: int = 1) -> tuple[float, float, float]:
    """Return Hedges' g of T paired differences with its 95 % interval: their mean in standard deviations.

    The interval inverts the noncentral t distribution (Hedges & Olkin 1985) with the standard error that the
    corrected test found, so it leaves out 0 where that test's interval does. Infinite where there is no
    spread.
    """
    from scipy import special, stats

    mean, sd, df = test.difference, test.sd, test.n - 1
    if sd <= 1e-12 or not np.isfinite(test.upper):
        return (0.0 if abs(mean) <= 1e-12 else float(np.copysign(np.inf, mean))), -np.inf, np.inf
    tail = ALPHA / comparisons / 2
    error = (test.upper - mean) / float(stats.t.isf(tail, df))
    unbiased = (
        float(np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2))
        if df > 1
        else 1.0
    )
    low, high = (_noncentrality(level, df, mean / error) for level in (1 - tail, tail))
    return unbiased * mean / sd, unbiased * low * error / sd, unbiased * high * error / sd


def _noncentrality(level: float, df: int, t: float) -> float:
    """Return where Student's t is below ``t`` with a chance of ``level``; SciPy's own inverse is rough near 0."""
    from scipy import optimize, special

    def above(centre: float) -> float:
        chance = float(special.nctdtr(df, centre, t))
        return (float(centre < t) if np.isnan(chance) else chance) - level  # NaN: as good as 0 or 1

    reach = 1.0
    while above(t - reach) < 0 or above(t + reach) > 0:
        reach *= 2
    return float(optimize.brentq(above, t - reach, t + reach))


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
    units = common_units(repeats)
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
