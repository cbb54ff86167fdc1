"""The sign-flip test of paired differences: its exact p, and the interval that agrees with it.

G groups of images; a group may be a single image. This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sit2.records import FloatArray, IntArray

FEW = 14  # groups, of which every part is looked at
CELLS = 300_000  # of the distribution that an interval is read from; with more it is approximated


def sign_flip_exact(differences: IntArray) -> float:
    """Return the two-sided p of the sign-flip permutation test (Fisher 1935); differences (G,) int64.

    If two models were equal, the difference of each group could as well have had the other sign. p is the
    share of all 2^G sign choices whose sum is at least as far from 0 as the observed one. The differences are
    whole, so the sums are few and their distribution is built exactly: nothing is drawn. Groups of one image
    each give McNemar's exact p.
    """
    from scipy import stats

    sizes = np.abs(differences[differences != 0])
    chance = np.ones(1)  # chance[k]: that k of the total points up
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        up = np.zeros(size * count + 1)
        up[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chance = np.convolve(chance, up)
    sums = 2 * np.arange(len(chance)) - int(sizes.sum())
    return min(1.0, float(chance[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def sign_flip_interval(differences: IntArray, sizes: IntArray, alpha: float) -> tuple[float, float]:
    """Return the interval of the difference per image that goes with the sign-flip test, within -1 to 1.

    It leaves out 0 exactly where p of :func:`sign_flip_exact` is below ``alpha``, and holds the truth with a
    chance of 1 - ``alpha``.

    That the truth is δ is tested by flipping the signs of ``differences`` - δ ``sizes``, both (G,) int64, of the
    groups and their images. Half of its p is the chance that a random part of the groups, each of them in by a
    fair coin, has a difference per image of δ or less (or more). So the δ that are not rejected lie between two
    quantiles of the difference in a random part: subsample values are typical values (Hartigan 1969). For δ = 0
    this is exact if the models are equal; for another δ it is so if groups scatter evenly around it, and where
    errors are rare they do not. Therefore each end is that of a set with one image more, which only the one model
    gets right or only the other: in the manner of Clopper & Pearson (1934), and never across a 0 that is rejected.
    """
    low, high = _ends(differences, sizes, alpha)
    wide_low, _ = _ends(np.append(differences, -1), np.append(sizes, 1), alpha)
    _, wide_high = _ends(np.append(differences, 1), np.append(sizes, 1), alpha)
    return (
        low if low > 0 >= wide_low else min(low, wide_low),
        high if high < 0 <= wide_high else max(high, wide_high),
    )


def _ends(differences: IntArray, sizes: IntArray, alpha: float) -> tuple[float, float]:
    """Return the least and the greatest difference per image that flipping signs does not reject."""
    empty = 0.5 ** len(sizes)  # the chance of a part without any group, which speaks against no difference
    if empty >= alpha / 2:
        return -1.0, 1.0
    if len(sizes) <= FEW:
        ratio, chance = _every_part(differences, sizes)
    elif (np.abs(differences).sum() + 1) * (sizes.sum() + 1) <= CELLS:
        ratio, chance = _parts(differences, sizes)
    else:
        return _approximate_ends(differences, sizes, alpha)
    below = (empty + np.cumsum(chance) >= alpha / 2).argmax()
    above = (empty + np.cumsum(chance[::-1]) >= alpha / 2).argmax()
    return float(ratio[below]), float(ratio[::-1][above])


def _every_part(differences: IntArray, sizes: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the differences per image of all 2^G - 1 parts of few groups, ascending, and the chance of each."""
    groups = len(sizes)
    part = (np.arange(1, 2**groups)[:, None] >> np.arange(groups)) & 1
    return np.sort((part @ differences) / (part @ sizes)), np.full(2**groups - 1, 0.5**groups)


def _parts(differences: IntArray, sizes: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the possible differences per image of a part, ascending, and the chance of each.

    Two sums are random, of differences and of sizes; their joint distribution is the inverse Fourier transform of
    a product over the groups.
    """
    width, length = int(np.abs(differences).sum()) + 1, int(sizes.sum()) + 1
    angle_d = np.exp(-2j * np.pi * np.arange(width) / width)[:, None]
    angle_n = np.exp(-2j * np.pi * np.arange(length) / length)
    product = np.ones((width, length), dtype=np.complex128)
    kinds, counts = np.unique(np.column_stack([differences, sizes]), axis=0, return_counts=True)
    for (difference, size), count in zip(kinds, counts, strict=True):
        product *= ((1 + angle_d**difference * angle_n**size) / 2) ** count
    chance = np.maximum(np.fft.ifft2(product).real, 0.0)
    least = int(differences[differences < 0].sum())
    sums = (np.arange(width) - least) % width + least
    ratio = sums[:, None] / np.arange(1, length)
    possible = np.abs(ratio) <= 1
    ratio, chance = ratio[possible], chance[:, 1:][possible]
    order = np.argsort(ratio, kind="stable")
    values, first = np.unique(ratio[order], return_index=True)
    return values, np.add.reduceat(chance[order], first)


def _approximate_ends(differences: IntArray, sizes: IntArray, alpha: float) -> tuple[float, float]:
    """Return the ends for many groups: flipped sums are taken for normal, but at 0 for what they are."""
    from scipy import stats

    near = differences if differences.sum() >= 0 else -differences
    gap, p = float(near.sum() / sizes.sum()), sign_flip_exact(near)
    reach = float(stats.norm.isf(alpha / 2))
    error = _score(near, sizes, 0.0) - float(stats.norm.isf(p / 2)) if p > 1e-300 else 0.0

    def beyond(
        truth: float,
    ) -> float:  # the error at 0 is made good there, and ever less towards the observed gap
        return _score(near, sizes, truth) - error * (1 - truth / gap if truth > 0 else 1.0) - reach

    low = _zero(beyond, 0.0, gap) if p < alpha else _zero(beyond, -1.0, 0.0)
    high = -_zero(lambda truth: _score(-near, sizes, truth) - reach, -1.0, -gap)
    return (low, high) if near is differences else (-high, -low)


def _score(differences: IntArray, sizes: IntArray, truth: float) -> float:
    """Return the sum of differences - truth · sizes, in standard deviations of it with its signs flipped."""
    rest = differences - truth * sizes
    return float(rest.sum() / max(np.sqrt((rest**2).sum()), 1e-300))


def _zero(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function is 0; the low end where it is below 0 from there on."""
    from scipy import optimize

    return low if function(low) <= 0 else float(optimize.brentq(function, low, high))
