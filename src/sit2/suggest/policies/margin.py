"""The images whose two most probable classes are nearly equally so."""

from __future__ import annotations

import numpy as np

from sit2.records import IntArray
from sit2.suggest.policies.policy import Candidates, highest


def by_margin(candidates: Candidates, count: int, _luck: np.random.Generator) -> IntArray:
    """Choose the smallest differences between the two most probable classes."""
    return highest(candidates.doubt, count)
