"""What repeated random splits of one pool of images have in common, and what that comes to.

T tests, U units (images, or whole groups). This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sit2.evaluation.bootstrap import Sums, common_units, split_sums, unit_sums
from sit2.records import FloatArray, IntArray, Predictions


@dataclass(frozen=True)
class Overlap:
    """What makes the differences of two repeats alike; by default nothing."""

    train: float = 0.0  # the fraction of all images that a training takes
    test: float = 0.0  # the fraction that a test takes
    images: float | None = None  # variance of a difference that its test images cause; None: not known
    shared: float = 0.0  # covariance of two differences that the images in both tests cause


INDEPENDENT = Overlap()


def overlap_of(
    tests: Sequence[Sequence[tuple[Predictions, Predictions]]],
    metric: Callable[[Sums], FloatArray],
    *,
    train: float,
    test: float,
) -> Overlap:
    """Return what tests of two models have in common, as far as their predictions tell.

    How far one unit moves the difference of a test is seen by leaving it out: the jackknife (Efron & Stein
    1981). The squares of that, over the units of one test, add up to the variance that they cause; the
    products, over the units that two tests share, to the covariance.

    Args:
        tests: T of them, each the (method's, control's) predictions of one training or of several.
        metric: a function of :class:`~sit2.evaluation.bootstrap.Sums`.
        train: the fraction of all images that a training takes.
        test: the fraction that a test takes.
    """
    pairs = [pair for trainings in tests for pair in trainings]
    units = common_units(pairs)
    count = 1 + max(int(unit.max()) for unit in units)
    if len(tests) < 2 or min(len(np.unique(unit)) for unit in units) < 2:
        return Overlap(train, test)
    each = iter([_moves(a, b, unit, count, metric) for (a, b), unit in zip(pairs, units, strict=True)])
    moves = np.array([np.mean([next(each) for _ in trainings], axis=0) for trainings in tests])
    products = moves @ moves.T
    own = float(np.trace(products))
    shared = (float(products.sum()) - own) / (len(tests) * (len(tests) - 1))
    return Overlap(train, test, own / len(tests), max(shared, 0.0))


def _moves(
    a: Predictions, b: Predictions, unit: IntArray, count: int, metric: Callable[[Sums], FloatArray]
) -> FloatArray:
    """(U,) how far each unit moves the difference of a and b; 0 for those that are not tested."""
    there = np.unique(unit)
    of_a, of_b = (unit_sums(one, unit, count) for one in (a, b))
    without = metric(split_sums(of_a.sum(axis=0) - of_a[there])) - metric(
        split_sums(of_b.sum(axis=0) - of_b[there])
    )
    moves = np.zeros(count)
    moves[there] = (without.mean() - without) * np.sqrt((len(there) - 1) / len(there))
    return moves
