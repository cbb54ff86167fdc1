"""Confusion -> ranked pairs of classes: which two classes does a classifier take for each other?

N samples, K classes, P = K (K - 1) / 2 pairs. This module never imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sit2.data.readers.missing import none_missing
from sit2.errors import ConfigError, DataError, did_you_mean
from sit2.records import BoolArray, ClassPair, Confusion, FloatArray, IntArray

SUM_TOLERANCE = 1e-3  # how far a row of probabilities may sum from 1: room for numbers rounded in a file


def select_pairs(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    classes: Sequence[Any] | None = None,
    coverage: float = 0.5,
    min_confused: float = 1.0,
    max_pairs: int | None = None,
) -> list[ClassPair]:
    """Return the pairs of classes that a classifier confuses most, best first; none where none qualifies.

    Args:
        probabilities: (N, K) numbers in [0, 1], rows summing to 1. Take them from samples that the classifier
            was not trained on (``cross_val_predict(..., method="predict_proba")``): on its own training
            samples a classifier looks right nearly everywhere.
        labels: (N,) class indices, or class names where ``classes`` holds them.
        classes: K names in the order of the columns; default "0", "1", ….
        coverage, min_confused, max_pairs: see :func:`choose_pairs`.

    Raises:
        DataError: shapes that do not fit, rows that are no probabilities, unknown or missing labels.
        ConfigError: see :func:`choose_pairs`.
    """
    try:
        values = np.asarray(probabilities, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("probabilities are not all numbers\nexpected an array (samples, classes)") from None
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise DataError(
            f"probabilities has shape {values.shape}\nexpected (samples, classes) with at least one sample "
            "and two classes, as predict_proba returns it"
        )
    num_classes = values.shape[1]
    names = [str(c) for c in (range(num_classes) if classes is None else classes)]
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise DataError(
            f"classes has {len(set(names))} different names, probabilities has {num_classes} columns\n"
            "expected one name for each column, in the order of the columns"
        )
    by_name = classes is not None and not all(isinstance(c, str) for c in classes)
    none_missing(labels, "label", "labels")
    index = _label_indices(np.asarray(labels), names, len(values), by_name=by_name, named=classes is not None)
    ranked = rank_pairs(measure(values, index, names))
    chosen = choose_pairs(
        ranked, num_classes=num_classes, coverage=coverage, min_confused=min_confused, max_pairs=max_pairs
    )
    return [pair for pair in chosen if pair.chosen]


def measure(probabilities: FloatArray, labels: IntArray, classes: Sequence[str]) -> Confusion:
    """Sum the probabilities (N, K) over the samples of each class: soft counts.

    A soft count ranks pairs far more stably than the hard count of wrong answers, because every sample tells
    how near it came to each other class. ``labels`` (N,) index the K ``classes``.

    Raises:
        DataError: a row of ``probabilities`` is not finite, negative or does not sum to 1.
        ValueError: shapes or label indices that do not fit.
    """
    num_classes = len(classes)
    if probabilities.shape != (len(labels), num_classes):
        raise ValueError(
            f"probabilities {probabilities.shape} do not fit {len(labels)} labels of {num_classes} classes"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, classes from 0 to {num_classes - 1}"
        )
    if bad := bad_row(probabilities):
        raise DataError(f"row {bad[0]} of probabilities {bad[1]}")
    mass = np.zeros((num_classes, num_classes))
    np.add.at(mass, labels, probabilities)
    return Confusion(tuple(classes), mass, np.bincount(labels, minlength=num_classes).astype(np.int64))


def rank_pairs(confusion: Confusion) -> list[ClassPair]:
    """Return every pair whose two classes both have samples, most confused first; equals by name.

    The score is P(b given a) + P(a given b), each a share of its own row, so that a common class weighs no
    more than a rare one. A pair with a class that has no samples is left out: unmeasured is not unconfused.

    The 95 % interval joins the Wilson intervals (l, u) of the two shares p by MOVER (Newcombe 1998; Zou &
    Donner 2008, Statist. Med. 27:1693, eq. 3): lower = s - sqrt((p1 - l1)² + (p2 - l2)²), and upper likewise.
    It is conservative for soft counts, because Wilson takes each sample for all or nothing, the most that a
    probability with this mean can vary; for samples that are all or nothing it holds the true sum in 94 % of
    cases with 5 a class, 95 % with 50, on average. It covers chance in the samples, not in the training.
    """
    a, b = np.triu_indices(len(confusion.classes), k=1)  # (P,) each
    measured = (confusion.samples[a] > 0) & (confusion.samples[b] > 0)
    a, b = a[measured], b[measured]
    to_b, below_b, above_b = _share(confusion.mass[a, b], confusion.samples[a])
    to_a, below_a, above_a = _share(confusion.mass[b, a], confusion.samples[b])
    score = to_b + to_a
    lower = np.maximum(score - np.hypot(below_b, below_a), 0.0)
    upper = np.minimum(score + np.hypot(above_b, above_a), 2.0)
    confused = confusion.mass[a, b] + confusion.mass[b, a]
    samples = confusion.samples[a] + confusion.samples[b]
    names = confusion.classes
    columns = (x.tolist() for x in (a, b, score, lower, upper, confused, samples))
    pairs = [ClassPair(i, j, names[i], names[j], *rest) for i, j, *rest in zip(*columns, strict=True)]
    return sorted(pairs, key=lambda pair: (-pair.score, sorted((pair.class_a, pair.class_b))))


def choose_pairs(
    ranked: Sequence[ClassPair],
    *,
    num_classes: int,
    coverage: float = 0.5,
    min_confused: float = 1.0,
    max_pairs: int | None = None,
) -> list[ClassPair]:
    """Return ``ranked`` in its order, with ``chosen`` set on the pairs to make not-sure images from.

    Chosen are the fewest top pairs that hold ``coverage`` of all confusion (the sum of the scores); of these
    the ones with a soft count of at least ``min_confused``; of these the first ``max_pairs`` (default
    2 ``num_classes``). None may qualify. A pair without a score (NaN) is never chosen and adds nothing.

    Raises:
        ConfigError: coverage outside [0, 1], min_confused below 0, max_pairs below 1.
    """
    if not 0 <= coverage <= 1:
        raise ConfigError(f"coverage is {coverage}\nexpected a share of all confusion, from 0 to 1")
    if not min_confused >= 0:
        raise ConfigError(f"min_confused is {min_confused}\nexpected a count of samples, at least 0")
    if max_pairs is not None and max_pairs < 1:
        raise ConfigError(f"max_pairs is {max_pairs}\nexpected at least 1, or None for twice the classes")
    cap = 2 * num_classes if max_pairs is None else max_pairs
    top = _top(ranked, coverage)
    qualified = [n for n in np.flatnonzero(top).tolist() if ranked[n].confused >= min_confused]
    chosen = set(qualified[:cap])
    return [replace(pair, chosen=n in chosen) for n, pair in enumerate(ranked)]


def why_not_chosen(
    pair: ClassPair, ranked: Sequence[ClassPair], *, coverage: float = 0.5, min_confused: float = 1.0
) -> str:
    """Say why :func:`choose_pairs` left out a pair of ``ranked``, by the same numbers."""
    number = next((n for n, one in enumerate(ranked) if (one.a, one.b) == (pair.a, pair.b)), None)
    if number is None or np.isnan(ranked[number].score):
        return "its confusion was not measured"
    own = ranked[number]
    if own.score <= 0:
        return "not confused at all before training"
    if not _top(ranked, coverage)[number]:
        return f"rank {number + 1} by score; the first pairs that hold {coverage:.0%} of all confusion are chosen"
    if own.confused < min_confused:
        return f"only {own.confused:.1f} images confused before training, and {min_confused:g} are asked for"
    return "as many pairs as may be chosen were ranked before it"


def _top(ranked: Sequence[ClassPair], coverage: float) -> BoolArray:
    """(P,) bool: the fewest top pairs that hold so much of all confusion."""
    scores = np.nan_to_num([pair.score for pair in ranked])
    wanted = coverage * scores.sum() * (1 - 1e-12)  # a hair less, so that rounding adds no pair
    held_before = np.cumsum(scores) - scores
    top: BoolArray = (held_before < wanted) & (scores > 0)
    return top


def all_pairs(classes: Sequence[str]) -> list[ClassPair]:
    """Return every pair of classes, chosen and unmeasured (NaN): the control that ignores confusion."""
    nan = float("nan")
    return [
        ClassPair(a, b, classes[a], classes[b], nan, nan, nan, confused=nan, samples=0, chosen=True)
        for a, b in combinations(range(len(classes)), 2)
    ]


def random_pairs(
    classes: Sequence[str],
    count: int,
    generator: np.random.Generator,
    *,
    avoid: Sequence[ClassPair] = (),
) -> list[ClassPair]:
    """Return ``count`` different pairs drawn evenly, chosen and unmeasured: the control of choosing by confusion.

    Pairs in ``avoid`` are drawn only where there are too few others; then all others come first.

    Raises:
        ValueError: more pairs wanted than there are.
    """
    every = all_pairs(classes)
    if not 0 <= count <= len(every):
        raise ValueError(f"{count} pairs wanted, {len(classes)} classes have {len(every)}")
    avoided = {(pair.a, pair.b) for pair in avoid}
    others = [pair for pair in every if (pair.a, pair.b) not in avoided]
    rest = [pair for pair in every if (pair.a, pair.b) in avoided]
    drawn = [others[n] for n in generator.permutation(len(others))[:count]]
    return drawn + [rest[n] for n in generator.permutation(len(rest))[: count - len(drawn)]]


def bad_row(probabilities: FloatArray) -> tuple[int, str] | None:
    """Find the first row of (N, K) that holds no probabilities: its number from 0, what it does, the hint."""
    sums = probabilities.sum(axis=1)
    fine = np.isfinite(sums) & (probabilities >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE)
    if fine.all():
        return None
    row = int(np.argmin(fine))
    if not np.isfinite(sums[row]):
        return row, "holds a number that is not finite\nexpected probabilities from 0 to 1"
    hint = "expected probabilities that sum to 1; apply softmax to scores or logits first"
    if (probabilities[row] < 0).any():
        return row, f"holds the negative number {probabilities[row].min():.6g}\n{hint}"
    return row, f"sums to {sums[row]:.6g}\n{hint}"


def _share(count: FloatArray, samples: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(P,) each: the share count / samples, and how far its 95 % Wilson interval reaches down and up."""
    from statsmodels.stats.proportion import proportion_confint

    count = np.minimum(count, samples)  # a row may sum to a little more than 1
    share = count / samples
    low, high = proportion_confint(count, samples, method="wilson")
    return share, share - low, high - share


_NAME_THEM = (
    "labels that are names need classes=[…]: the names in the order of the columns (classes_ of a classifier)"
)


def _label_indices(
    labels: np.ndarray, names: list[str], rows: int, *, by_name: bool, named: bool
) -> IntArray:
    """(N,) int64 class indices from indices, or from names (``by_name`` forces that for whole numbers)."""
    if labels.shape != (rows,):
        raise DataError(f"labels has shape {labels.shape}\nexpected ({rows},): one label for each row")
    if labels.dtype.kind in "iub" and not by_name:
        index = labels.astype(np.int64)
        outside = np.flatnonzero((index < 0) | (index >= len(names)))
        if outside.size:
            raise DataError(
                f"label {labels[outside[0]]} of row {outside[0]} is no class\n"
                f"expected whole numbers from 0 to {len(names) - 1}, or names and classes=[…]"
            )
        return index
    if labels.dtype.kind == "f":
        raise DataError(f"labels are {labels.dtype} numbers\nexpected whole numbers or class names")
    position = {name: k for k, name in enumerate(names)}
    for row, label in enumerate(labels):
        if str(label) not in position:
            hint = did_you_mean(str(label), names) if named else _NAME_THEM
            raise DataError(f"label {str(label)!r} of row {row} is no class\n{hint}")
    return np.array([position[str(label)] for label in labels], dtype=np.int64)
