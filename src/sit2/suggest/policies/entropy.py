"""The images whose probability is spread over the most classes."""

from __future__ import annotations

import numpy as np

from sit2.records import IntArray
from sit2.suggest.policies.policy import Candidates, highest


def by_entropy(candidates: Candidates, count: int, _luck: np.random.Generator) -> IntArray:
    """Choose the highest entropies."""
    chances = candidates.probabilities
    entropy = -(chances * np.log(np.maximum(chances, 1e-12))).sum(axis=1)
    return highest(entropy, count)
