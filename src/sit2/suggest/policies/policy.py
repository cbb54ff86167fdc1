"""What a policy is given, and what it gives: which of N images to label next. K classes, D features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sit2.records import FloatArray, IntArray


@dataclass(frozen=True)
class Candidates:
    """Images without a label, as a model sees them."""

    probabilities: FloatArray  # (N, K)
    features: Callable[[IntArray], FloatArray]  # (n,) rows → (n, D): what the network's head sees of them

    @property
    def first_two(self) -> IntArray:
        """(N, 2) int64: the two most probable classes, the first first."""
        order: IntArray = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :2]
        return order

    @property
    def doubt(self) -> FloatArray:
        """(N,) in [0, 1]: 1 where the two most probable classes are equally so, 0 where one is certain."""
        best: FloatArray = np.take_along_axis(self.probabilities, self.first_two, axis=1)
        gap: FloatArray = best[:, 0] - best[:, 1]
        return 1 - gap


# Of the images, how many are wanted, and what chance may decide: (n,) different rows, the most wanted first.
Policy = Callable[[Candidates, int, np.random.Generator], IntArray]


def highest(scores: FloatArray, count: int) -> IntArray:
    """Return the rows of the ``count`` highest of (N,) scores, the highest first; of equal ones the first."""
    rows: IntArray = np.argsort(-scores, kind="stable")[:count]
    return rows
