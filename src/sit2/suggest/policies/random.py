"""Any images: what every other policy has to beat."""

from __future__ import annotations

import numpy as np

from sit2.records import IntArray
from sit2.suggest.policies.policy import Candidates


def at_random(candidates: Candidates, count: int, luck: np.random.Generator) -> IntArray:
    """Choose by chance."""
    chosen: IntArray = luck.permutation(len(candidates.probabilities))[:count].astype(np.int64)
    return chosen
