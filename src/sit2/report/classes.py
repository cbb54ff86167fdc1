"""Class by class: how well the method does, what changed from its control, and where that is more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sit2.evaluation.paired_test import sign_flip_exact
from sit2.evaluation.statistics import holm
from sit2.records import BoolArray, IntArray, Predictions
from sit2.report.data import RunData
from sit2.report.matrix import matrix_of


@dataclass(frozen=True)
class Score:
    """One recipe on one class. A value without images or predictions to measure it by is None."""

    correct: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Change:
    """Images of a class that only one of two recipes classifies correctly."""

    gained: int  # by the method alone
    lost: int  # by the control alone
    p: float  # exact sign-flip test on groups; exact McNemar where every image is its own group

    @classmethod
    def of(cls, control: Predictions, method: Predictions, of_class: BoolArray, groups: IntArray) -> Change:
        """Compare two recipes on the images ``of_class`` (N,) bool; ``groups`` is (N,) int64."""
        change = np.where(of_class, method.correct.astype(np.int64) - control.correct, 0)
        by_group = np.zeros(int(groups.max(initial=0)) + 1, dtype=np.int64)
        np.add.at(by_group, groups, change)
        return cls(int((change > 0).sum()), int((change < 0).sum()), sign_flip_exact(by_group))

    @property
    def net(self) -> int:
        """How many more images of the class are correct."""
        return self.gained - self.lost


@dataclass(frozen=True)
class ClassRow:
    """One class of the test images."""

    name: str
    images: int
    scores: tuple[Score, ...]  # of each recipe that is shown: the control, where there is one, and the method
    change: Change | None = None  # from control to method
    p_adjusted: float | None = None  # by Holm over the classes


def class_scores(matrix: IntArray) -> list[Score]:
    """Return precision, recall and F1 of every class of (K, K) counts."""
    correct, labelled, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return [
        Score(int(c), _ratio(c, p), _ratio(c, n), _ratio(2 * c, n + p))
        for c, n, p in zip(correct, labelled, predicted, strict=True)
    ]


def class_rows(run: RunData) -> tuple[ClassRow, ...]:
    """Return every class, compared with the control where there is one; none where nothing was predicted."""
    if not run.shown:
        return ()
    shown = [run.predictions[recipe] for recipe in run.shown]
    labels = shown[0].labels
    images = np.bincount(labels, minlength=len(run.classes))
    scores = zip(*(class_scores(matrix_of(one)) for one in shown), strict=True)
    rows = [ClassRow(name, int(n), both) for name, n, both in zip(run.classes, images, scores, strict=True)]
    if len(shown) == 1:
        return tuple(rows)
    control, method = shown
    groups = np.unique(control.groups or control.ids, return_inverse=True)[1]
    changes = [Change.of(control, method, labels == k, groups) for k in range(len(run.classes))]
    adjusted = holm([change.p for change in changes])
    return tuple(
        ClassRow(row.name, row.images, row.scores, change, p)
        for row, change, p in zip(rows, changes, adjusted, strict=True)
    )


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
