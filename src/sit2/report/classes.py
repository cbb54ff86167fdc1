"""Class by class: what the control and the method get right, and where the difference is more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sit2.evaluation.statistics import holm, sign_flip_exact
from sit2.records import BoolArray, IntArray
from sit2.report.data import Answers, RunData


@dataclass(frozen=True)
class Score:
    """One method on one class. A value without images or predictions to measure it by is None."""

    right: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class ClassRow:
    """One class in the test, before (control) and after (method)."""

    name: str
    images: int
    before: Score
    after: Score
    gained: int  # images that only the method gets right
    lost: int  # images that only the control gets right
    p_adjusted: float  # of :class:`Flips`, by Holm over the classes

    @property
    def net(self) -> int:
        """Images of the class more that are right."""
        return self.gained - self.lost


def class_scores(matrix: IntArray) -> list[Score]:
    """Return precision, recall and F1 of every class of (K, K) counts."""
    right, labelled, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return [
        Score(int(r), _ratio(r, p), _ratio(r, n), _ratio(2 * r, n + p))
        for r, n, p in zip(right, labelled, predicted, strict=True)
    ]


def class_rows(run: RunData, method: str | None = None) -> tuple[ClassRow, ...]:
    """Compare the control with a method, class by class; empty where nothing was trained."""
    if not run.answers:
        return ()
    before, after = run.answers[run.control], run.answers[method or run.method]
    groups = np.unique(before.groups or before.ids, return_inverse=True)[1]
    flips = [Flips.of(before, after, before.labels == k, groups) for k in range(len(run.classes))]
    images = np.bincount(before.labels, minlength=len(run.classes))
    scores = zip(class_scores(before.matrix), class_scores(after.matrix), strict=True)
    adjusted = holm([flip.p for flip in flips])
    rows = zip(run.classes, images, scores, flips, adjusted, strict=True)
    return tuple(ClassRow(name, int(n), *both, flip.gained, flip.lost, p) for name, n, both, flip, p in rows)


@dataclass(frozen=True)
class Flips:
    """Images of a class that only one of two methods gets right."""

    gained: int
    lost: int
    p: float  # exact sign-flip test on groups; exact McNemar where every image is its own group

    @classmethod
    def of(cls, before: Answers, after: Answers, of_class: BoolArray, groups: IntArray) -> Flips:
        """Compare two methods on the images ``of_class`` (N,) bool; ``groups`` is (N,) int64."""
        change = np.where(of_class, after.correct.astype(np.int64) - before.correct, 0)
        by_group = np.zeros(int(groups.max(initial=0)) + 1, dtype=np.int64)
        np.add.at(by_group, groups, change)
        return cls(int((change > 0).sum()), int((change < 0).sum()), sign_flip_exact(by_group))


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
