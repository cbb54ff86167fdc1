"""Two classes, one of which must not be missed: from which probability on an image counts as positive.

The threshold is chosen on validation images and tested on others. This module never imports torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sit2.evaluation.proportions import Share
from sit2.records import BoolArray, FloatArray, Predictions

SHARES = ("sensitivity", "specificity", "ppv", "npv")


@dataclass(frozen=True)
class AtThreshold:
    """What images are, and what a threshold makes of them."""

    sensitivity: Share  # positive images that are found
    specificity: Share  # negative images that are left alone
    ppv: Share  # of what is called positive, what is
    npv: Share  # of what is called negative, what is

    @classmethod
    def of(cls, predictions: Predictions, positive: int, threshold: float) -> AtThreshold:
        """Count the images whose probability of class ``positive`` is at least the threshold."""
        own, found = predictions.labels == positive, predictions.probabilities[:, positive] >= threshold

        def share(holds: BoolArray, rows: BoolArray) -> Share:
            groups = tuple(predictions.groups[n] for n in np.flatnonzero(rows)) if predictions.groups else ()
            return Share.of(holds[rows], groups)

        return cls(share(found, own), share(~found, ~own), share(own, found), share(~own, ~found))

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers; what there is no image for is None."""
        return {name: _plain(getattr(self, name)) for name in SHARES}


@dataclass(frozen=True)
class Operating:
    """A threshold: what it was chosen for, what it does to the images it was chosen on, and to others."""

    positive: str
    asked: float  # the sensitivity that it should have
    threshold: float
    validation: AtThreshold
    test: AtThreshold

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and words."""
        return {
            "positive": self.positive,
            "sensitivity_wanted": self.asked,
            "threshold": self.threshold,
            "validation": self.validation.to_json(),
            "test": self.test.to_json(),
        }


def threshold_for(scores: FloatArray, sensitivity: float, rounded: float = 0.0) -> float:
    """Return the highest threshold that at least this share of (P,) positive images reach.

    ``rounded``: how much a score may be higher than what was computed; the threshold is lower by that, so that
    an image with the same probability as the last one that counts is still found.
    """
    needed = max(1, math.ceil(sensitivity * len(scores) - 1e-9))
    return max(0.0, float(np.sort(scores)[::-1][needed - 1]) - rounded)


def _plain(share: Share) -> dict[str, Any]:
    if not share.n:
        return {"value": None, "hits": 0, "n": 0, "interval": None}
    return {"value": share.value, "hits": share.hits, "n": share.n, "interval": [share.lower, share.upper]}
