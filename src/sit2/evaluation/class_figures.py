"""Class by class: how many of its images are recognised, how many others are kept apart, how well it is ranked.

N images, K classes; every class is seen as itself against the rest. This module never imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sit2.evaluation.proportions import Share, mean_share
from sit2.records import BoolArray, FloatArray, Predictions

COLUMNS = ("recall", "recall lower", "recall upper", "specificity", "specificity lower", "specificity upper",
           "AUROC", "average precision")  # fmt: skip


@dataclass(frozen=True)
class ClassFigures:
    """One class of the test images. What there is nothing to measure by is NaN."""

    name: str
    recall: Share  # sensitivity: images of the class that are predicted as it
    specificity: Share  # images of other classes that are not predicted as it
    auroc: float
    average_precision: float

    @property
    def images(self) -> int:
        """Of the class."""
        return self.recall.n

    @property
    def values(self) -> tuple[float, ...]:
        """Return what :data:`COLUMNS` names."""
        shares = [(one.value, one.lower, one.upper) for one in (self.recall, self.specificity)]
        return (*shares[0], *shares[1], self.auroc, self.average_precision)


def class_figures(predictions: Predictions, classes: Sequence[str]) -> tuple[ClassFigures, ...]:
    """Return the figures of every class, in the order of ``classes``."""
    labels, predicted, groups = predictions.labels, predictions.predicted, predictions.groups
    found = []
    for k, name in enumerate(classes):
        own = labels == k
        found.append(
            ClassFigures(
                name,
                _share(predicted == k, own, groups),
                _share(predicted != k, ~own, groups),
                *ranking(own, predictions.probabilities[:, k]),
            )
        )
    return tuple(found)


def balanced_accuracy(figures: Sequence[ClassFigures]) -> tuple[float, float, float]:
    """Return the mean recall over the classes that have images, and its 95 % interval."""
    return mean_share([one.recall for one in figures])


def weakest(figures: Sequence[ClassFigures]) -> list[ClassFigures]:
    """Return the classes that have images, those of the lowest recall first, of equal ones that with more."""
    known = [one for one in figures if one.images]
    return sorted(known, key=lambda one: (one.recall.value, -one.images, one.name))


def macro_ranking(predictions: Predictions) -> tuple[float | None, float | None]:
    """Return AUROC and average precision, each the mean over the classes that have one; None without any."""
    labels, probabilities = predictions.labels, predictions.probabilities
    each = [ranking(labels == k, probabilities[:, k]) for k in range(probabilities.shape[1])]
    known = np.array([one for one in each if not math.isnan(one[0])])
    if not len(known):
        return None, None
    auroc, precision = known.mean(axis=0)
    return float(auroc), float(precision)


def ranking(own: BoolArray, scores: FloatArray) -> tuple[float, float]:
    """Return AUROC and average precision of (N,) bool by (N,) scores; NaN unless both kinds are there.

    AUROC: how often an image of the class has a higher probability of it than an image of another class.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    if own.all() or not own.any():
        return math.nan, math.nan
    return float(roc_auc_score(own, scores)), float(average_precision_score(own, scores))


def never_predicted(predictions: Predictions, least: int = 5) -> list[int]:
    """Return the classes that have at least this many images and are predicted for no image at all."""
    count = predictions.probabilities.shape[1]
    images = np.bincount(predictions.labels, minlength=count)
    times = np.bincount(predictions.predicted, minlength=count)
    return [int(k) for k in np.flatnonzero((images >= least) & (times == 0))]


def _share(holds: BoolArray, rows: BoolArray, groups: Sequence[str]) -> Share:
    kept = tuple(group for group, is_in in zip(groups, rows, strict=True) if is_in) if groups else ()
    return Share.of(holds[rows], kept)
