"""Out-of-fold probabilities: what a classifier says about samples that it was not trained on.

N samples, K classes. How a fold is trained and where it runs are injected, so nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sit2.records import FloatArray, IntArray

Fold = tuple[IntArray, IntArray]  # train rows, M held-out rows
PredictFolds = Callable[[Sequence[Fold]], Sequence[FloatArray]]  # each fold's (M, K), in order


def out_of_fold_probabilities(
    num_samples: int, num_classes: int, folds: Sequence[Fold], predict_folds: PredictFolds
) -> FloatArray:
    """Train once for each fold and collect (N, K) float64 probabilities, each row from a model that never
    saw its sample.

    Args:
        num_samples: N.
        num_classes: K.
        folds: (train rows, held-out rows) of each fold, int64 in [0, N); every row is held out once.
        predict_folds: for every fold, trains on the train rows and returns (M, K) for the M held-out rows, in
            their order. It gets all folds at once, to train them in parallel if it likes.

    Raises:
        ValueError: folds that leak or leave a sample out, or a result of another shape. Ours to fix.
    """
    check_folds(num_samples, folds)
    results = predict_folds(folds)
    if len(results) != len(folds):
        raise ValueError(f"{len(folds)} folds were to run, {len(results)} came back")
    probabilities = np.full((num_samples, num_classes), np.nan)
    for fold, ((_, held_out), result) in enumerate(zip(folds, results, strict=True)):
        expected = (len(held_out), num_classes)
        if np.shape(result) != expected:
            raise ValueError(f"fold {fold} returned shape {np.shape(result)}, expected {expected}")
        probabilities[held_out] = result
    return probabilities


def check_folds(num_samples: int, folds: Sequence[Fold]) -> None:
    """Raise :class:`ValueError` unless every sample is held out once and no fold trains on its own."""
    times = np.zeros(num_samples, dtype=np.int64)
    for fold, (train, held_out) in enumerate(folds):
        for rows in (train, held_out):
            if len(rows) == 0 or rows.min() < 0 or rows.max() >= num_samples:
                raise ValueError(f"fold {fold} has no rows, or rows outside 0 to {num_samples - 1}")
        if shared := np.intersect1d(train, held_out).tolist():
            raise ValueError(f"fold {fold} trains on {len(shared)} held-out samples, such as row {shared[0]}")
        np.add.at(times, held_out, 1)
    if (times != 1).any():
        row = int(np.argmax(times != 1))
        raise ValueError(f"row {row} is held out {times[row]} times, expected once")
