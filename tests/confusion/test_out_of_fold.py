"""Out-of-fold probabilities: every sample judged once, by a model that never saw it."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from sit2.confusion.out_of_fold import out_of_fold_probabilities

FOLDS = [(np.array([2, 3, 4]), np.array([1, 0])), (np.array([0, 1]), np.array([4, 2, 3]))]


def fingerprint(folds: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    return [
        np.stack([held, np.full(len(held), fold), np.full(len(held), len(train))], axis=1) / 1.0
        for fold, (train, held) in enumerate(folds)
    ]


def test_rows_stand_where_their_samples_do():
    result = out_of_fold_probabilities(5, 3, FOLDS, fingerprint)
    assert result.tolist() == [[0, 0, 3], [1, 0, 3], [2, 1, 2], [3, 1, 2], [4, 1, 2]]
    assert result.dtype == np.float64


def test_agrees_with_cross_val_predict():
    flowers, labels = load_iris(return_X_y=True)
    splitter = StratifiedKFold(3, shuffle=True, random_state=0)

    def predict_folds(folds: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        return [
            LogisticRegression(max_iter=1000)
            .fit(flowers[train], labels[train])
            .predict_proba(flowers[held_out])
            for train, held_out in folds
        ]

    ours = out_of_fold_probabilities(150, 3, list(splitter.split(flowers, labels)), predict_folds)
    theirs = cross_val_predict(
        LogisticRegression(max_iter=1000), flowers, labels, cv=splitter, method="predict_proba"
    )
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([([2, 3, 4], [0, 1])], "row 2 is held out 0 times, expected once"),
        ([([2], [0, 1]), ([0], [1, 2, 3, 4])], "row 1 is held out 2 times, expected once"),
        ([([2], [0, 0, 1]), ([0], [2, 3, 4])], "row 0 is held out 2 times, expected once"),
        ([([1, 2, 3], [0, 1])], "fold 0 trains on 1 held-out samples, such as row 1"),
        ([([2, 3], [0, 5])], "fold 0 has no rows, or rows outside 0 to 4"),
        ([([2, -1], [0])], "fold 0 has no rows, or rows outside 0 to 4"),
        ([([], [0, 1, 2, 3, 4])], "fold 0 has no rows, or rows outside 0 to 4"),
    ],
)
def test_folds_that_leak_or_miss(folds, message):
    with pytest.raises(ValueError, match=message):
        out_of_fold_probabilities(5, 3, [(np.array(a, int), np.array(b, int)) for a, b in folds], fingerprint)


def test_results_that_do_not_fit():
    with pytest.raises(ValueError, match=r"fold 0 returned shape \(2, 3\), expected \(2, 7\)"):
        out_of_fold_probabilities(5, 7, FOLDS, fingerprint)
    with pytest.raises(ValueError, match="2 folds were to run, 1 came back"):
        out_of_fold_probabilities(5, 3, FOLDS, lambda folds: fingerprint(folds)[:1])
