"""Two learners that are equally good in expectation, trained and tested on random splits of one pool.

The images are features: normal in every class, with the means and the covariance of scikit-learn's digits (their
first principal components, their noise made larger). So new pools can be drawn without end.

N images in a pool, K classes, R splits, n images to train on, m to test, F features, H hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

from sit2.records import FloatArray, IntArray

SPLITS = 10
FEATURES = 12
NOISE = 1.7  # times the digits' own
HIDDEN = 32
RIDGE = 1.0


@dataclass(frozen=True)
class Setting:
    """How many images there are, and what a split makes of them."""

    images: int  # N
    classes: int  # K
    train: int  # n
    test: int  # m

    @property
    def labels(self) -> str:
        """Return the labelled training images of a class."""
        whole = self.train >= self.images / 2
        return "all" if whole else str(self.train // self.classes)


@dataclass(frozen=True)
class Rivals:
    """What makes two learners differ that are equally good in expectation."""

    name: str
    common: float  # how much of the noise of one's features is the noise of the other's
    hidden: (
        int | None
    )  # units whose weights every training draws anew; None: training has no chance of its own


RIVALS = (
    Rivals("chance in training", 1.0, HIDDEN),
    Rivals("chance, and features in part", 0.8, HIDDEN),
    Rivals("features alone", 0.0, None),
)
SETTINGS = (
    Setting(700, 3, 30, 210),
    Setting(700, 3, 150, 210),
    Setting(2500, 6, 300, 750),
    Setting(7000, 10, 100, 2100),
    Setting(7000, 10, 500, 2100),
    Setting(120, 3, 78, 24),
    Setting(700, 3, 448, 140),
    Setting(2500, 6, 1600, 500),
)


@dataclass(frozen=True)
class Splits:
    """The splits of a pool."""

    labels: IntArray  # (N,)
    train: IntArray  # (R, n) rows
    test: IntArray  # (R, m) rows


@dataclass(frozen=True)
class Outcome:
    """What P pools came to."""

    differences: FloatArray  # (P, R) accuracy of the one learner minus that of the other on each split
    products: FloatArray  # (P, R, R) of what the test images of two splits add to their differences


def simulate(setting: Setting, rivals: Rivals, pools: int, seed: int) -> Outcome:
    """Return the differences of two equally good learners, on random splits of each of many pools."""
    draw = np.random.default_rng(seed)
    means, spread = _digits(setting.classes)
    done = [_pool(setting, rivals, means, spread, draw) for _ in range(pools)]
    return Outcome(np.array([one[0] for one in done]), np.array([one[1] for one in done]))


def _digits(classes: int) -> tuple[FloatArray, FloatArray]:
    """Return the (K, F) means of digits below K and a root (F, F) of their common covariance."""
    images, labels = load_digits(return_X_y=True)
    images, labels = (
        images[labels < classes] - images[labels < classes].mean(axis=0),
        labels[labels < classes],
    )
    features = images @ np.linalg.svd(images, full_matrices=False)[2][:FEATURES].T
    features /= features.std()
    means = np.array([features[labels == k].mean(axis=0) for k in range(classes)])
    rest = features - means[labels]
    return means.astype(np.float32), np.linalg.cholesky(rest.T @ rest / len(rest)).astype(np.float32)


def _pool(
    setting: Setting, rivals: Rivals, means: FloatArray, spread: FloatArray, draw: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return the (R,) differences and their (R, R) products on one pool."""
    labels = np.arange(setting.images) % setting.classes
    splits = _splits(setting, labels, draw)
    noise = draw.standard_normal((3, setting.images, FEATURES), dtype=np.float32)
    right = []
    for own in noise[1:]:
        mixed = np.sqrt(np.float32(rivals.common)) * noise[0] + np.sqrt(np.float32(1 - rivals.common)) * own
        features = means[labels] + np.float32(NOISE) * mixed @ spread.T
        right.append(_right(features, splits, rivals.hidden, draw))
    gain = right[0].astype(np.float32) - right[1]  # (R, m) of each test image
    differences = gain.mean(axis=1)
    moves = np.zeros((SPLITS, setting.images), np.float32)
    images = splits.test.shape[1]
    np.put_along_axis(
        moves, splits.test, (gain - differences[:, None]) / np.sqrt(images * (images - 1)), axis=1
    )
    return differences.astype(np.float64), (moves @ moves.T).astype(np.float64)


def _splits(setting: Setting, labels: IntArray, draw: np.random.Generator) -> Splits:
    """Draw images that train and images that test, as many of every class as of another."""
    train, test = [], []
    for k in range(setting.classes):
        rows = np.flatnonzero(labels == k)
        order = draw.permuted(np.tile(rows, (SPLITS, 1)), axis=1)
        tested = round(setting.test / setting.classes)
        test.append(order[:, :tested])
        train.append(order[:, tested : tested + round(setting.train / setting.classes)])
    return Splits(labels, np.concatenate(train, axis=1), np.concatenate(test, axis=1))


def _right(features: FloatArray, splits: Splits, hidden: int | None, draw: np.random.Generator) -> FloatArray:
    """(R, m) bool: which test images a ridge classifier gets right, on each split."""
    seen, unseen = features[splits.train], features[splits.test]
    if hidden:
        weights = draw.standard_normal((SPLITS, FEATURES, hidden), dtype=np.float32) / np.sqrt(
            np.float32(FEATURES)
        )
        bias = draw.standard_normal((SPLITS, 1, hidden), dtype=np.float32)
        seen, unseen = (np.maximum(part @ weights + bias, 0) for part in (seen, unseen))
    targets = np.eye(int(splits.labels.max()) + 1, dtype=np.float32)[splits.labels[splits.train]]
    centre, mean = seen.mean(axis=1, keepdims=True), targets.mean(axis=1, keepdims=True)
    seen = seen - centre
    across = seen.transpose(0, 2, 1)
    gram = across @ seen + RIDGE * np.eye(seen.shape[2], dtype=np.float32)
    scores = (unseen - centre) @ np.linalg.solve(gram, across @ (targets - mean)) + mean
    return scores.argmax(axis=2) == splits.labels[splits.test]
