"""Metrics: against scikit-learn, hand-made cases and invariants."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

from sit2.confusion.pairs import all_pairs, random_pairs
from sit2.errors import DataError
from sit2.evaluation.metrics import (
    METRICS,
    accuracy_interval,
    calibration_by_chance,
    calibration_error,
    compute_metrics,
)
from sit2.records import Predictions

NAMES = ("ant", "bee", "cat", "dog", "eel")


def predictions(labels, probabilities) -> Predictions:
    return Predictions(
        tuple(f"{n}.png" for n in range(len(labels))), np.array(labels), np.array(probabilities)
    )


def random_predictions(seed: int, n: int = 83, k: int = 5) -> Predictions:
    generator = np.random.default_rng(seed)
    return predictions(generator.integers(k, size=n), generator.dirichlet(np.full(k, 0.3), n))


def test_the_keys_are_the_contract():
    assert tuple(compute_metrics(random_predictions(0), [])) == METRICS


def test_agree_with_scikit_learn_where_every_class_is_there():
    p = random_predictions(1)
    m = compute_metrics(p, [])
    assert m["accuracy"] == pytest.approx(accuracy_score(p.labels, p.predicted))
    assert m["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(p.labels, p.predicted))
    assert m["macro_f1"] == pytest.approx(f1_score(p.labels, p.predicted, average="macro"))
    assert m["log_loss"] == pytest.approx(sklearn_log_loss(p.labels, p.probabilities, labels=range(5)))


def test_by_hand_with_a_class_that_has_no_samples():
    p = predictions(
        [0, 0, 1, 1], [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]]
    )  # predicted 0, 1, 1, 2
    a, b, _ = NAMES[:3]
    chosen = [pair for pair in all_pairs(NAMES[:3]) if (pair.class_a, pair.class_b) == (a, b)]
    m = compute_metrics(p, chosen)
    assert m["accuracy"] == 0.5
    assert m["balanced_accuracy"] == 0.5  # recalls 1/2 and 1/2; "cat" is unmeasured
    assert m["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert m["log_loss"] == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.3]).mean())
    assert (m["pair_error"], m["other_error"]) == (0.25, 0.25)
    # each confidence in its own bin: |1 - .7|, |0 - .6|, |1 - .8|, |0 - .5|
    assert m["ece"] == pytest.approx((0.3 + 0.6 + 0.2 + 0.5) / 4)


def test_pair_error_counts_both_directions_of_chosen_pairs_only():
    p = predictions([0, 1, 2, 0], np.eye(3)[[1, 0, 0, 0]])  # ant for bee, bee for ant, cat for ant
    ant_bee, ant_cat, _ = all_pairs(NAMES[:3])
    m = compute_metrics(p, [ant_bee, replace(ant_cat, chosen=False)])
    assert (m["pair_error"], m["other_error"]) == (0.5, 0.25)


def test_without_chosen_pairs_the_pair_error_is_not_measured():
    m = compute_metrics(random_predictions(2), [])
    assert m["pair_error"] is None
    assert m["other_error"] == pytest.approx(1 - m["accuracy"])


def test_a_sure_mistake_has_a_finite_log_loss():
    p = predictions([0, 1], [[0.0, 1.0], [0.0, 1.0]])
    assert compute_metrics(p, [])["log_loss"] == pytest.approx(36.0437 / 2, abs=1e-3)
    assert compute_metrics(p, [])["log_loss"] == pytest.approx(sklearn_log_loss([0, 1], p.probabilities))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 10), order=st.permutations(range(5)))
def test_invariants(seed, count, order):
    p = random_predictions(seed, n=31)
    pairs = random_pairs(NAMES, count, np.random.default_rng(seed))
    m = compute_metrics(p, pairs)
    assert m["accuracy"] + m["pair_error"] + m["other_error"] == pytest.approx(1, abs=1e-12)
    assert all(0 <= m[name] <= 1 for name in METRICS if name != "log_loss")
    relabelled = predictions(np.argsort(order)[p.labels], p.probabilities[:, order])
    again = compute_metrics(relabelled, [])
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "log_loss", "ece"):
        assert again[name] == pytest.approx(m[name])


def test_calibration_error_by_numpy():
    p = random_predictions(3, n=400)
    confidence = p.probabilities.max(axis=1)
    bins = np.digitize(confidence, np.linspace(0, 1, 16))
    by_hand = sum(
        abs(p.correct[bins == b].sum() - confidence[bins == b].sum()) for b in np.unique(bins)
    ) / len(bins)
    assert calibration_error(p) == pytest.approx(by_hand)


def test_calibration_error_of_saturated_probabilities():
    """1.0 shares the last bin, and 1 + rounding is not taken for a logit."""
    sure = [[1.0, 0.0], [1 + 1e-9, 0.0], [0.95, 0.05], [0.95, 0.05]]
    assert calibration_error(predictions([0, 1, 0, 0], sure)) == pytest.approx(abs(0.75 - 3.9 / 4))


@pytest.mark.parametrize("n", [12, 60, 400])
def test_true_probabilities_seldom_look_miscalibrated_and_false_ones_do(n):
    random = np.random.default_rng(n)
    noise = wrong = 0
    for _ in range(50):
        told = random.dirichlet([2.0, 1.0, 1.0], n)
        labels = np.array([random.choice(3, p=row) for row in told])
        p = predictions(labels, told)
        noise += calibration_error(p) > calibration_by_chance(p)
        sure = predictions(labels, told**4 / (told**4).sum(axis=1, keepdims=True))
        wrong += calibration_error(sure) > calibration_by_chance(sure)
    assert noise <= 7  # of 50, where 2.5 are expected
    assert wrong > 4 * noise
    assert n < 400 or wrong == 50


def test_accuracy_interval_is_wilsons():
    p = random_predictions(4)
    expected = binomtest(int(p.correct.sum()), 83).proportion_ci(method="wilson")
    assert accuracy_interval(p) == pytest.approx((expected.low, expected.high))
    low, high = accuracy_interval(predictions([0], [[1.0, 0.0]]))
    assert (low, high) == (pytest.approx(0.2065, abs=1e-4), 1.0)


def grouped(correct):
    """Predictions of two classes for (G, n) images: G groups of n, each right or wrong."""
    labels = np.zeros(correct.size, np.int64)
    chances = np.where(correct.ravel()[:, None], [0.9, 0.1], [0.1, 0.9])
    names = tuple(f"patient {g}" for g in np.repeat(np.arange(len(correct)), correct.shape[1]))
    return replace(predictions(labels, chances), groups=names)


def test_accuracy_interval_of_groups_holds_the_truth():
    """Twenty patients of twenty images, and patients differ: images alone would be right 56 times in 100."""
    draw = np.random.default_rng(0)
    truth, hits = 1.6 / 2.0, 0
    for _ in range(300):
        chance = draw.beta(1.6, 0.4, 20)
        low, high = accuracy_interval(grouped(draw.random((20, 20)) < chance[:, None]))
        hits += low <= truth <= high
    assert 0.9 <= hits / 300 <= 0.99


def test_accuracy_interval_of_groups_that_do_not_matter():
    draw = np.random.default_rng(0)
    alone = grouped(draw.random((400, 1)) < 0.8)
    assert accuracy_interval(alone) == pytest.approx(accuracy_interval(replace(alone, groups=())))
    widths = []
    for shape in ((200, 2), (5, 80)):
        low, high = accuracy_interval(grouped(draw.random(shape) < 0.8))
        widths.append(high - low)
    plain = np.subtract(*accuracy_interval(replace(alone, groups=()))[::-1])
    assert widths[0] == pytest.approx(plain, rel=0.2)
    assert widths[1] > widths[0]  # of so few groups little is known
    low, high = accuracy_interval(grouped(np.ones((6, 10), np.bool_)))
    assert (low, high) == pytest.approx((binomtest(6, 6).proportion_ci(method="wilson").low, 1.0))


def test_nothing_to_evaluate():
    with pytest.raises(DataError) as error:
        compute_metrics(predictions(np.empty(0, int), np.empty((0, 3))), [])
    assert str(error.value) == "there are no predictions to evaluate\nexpected at least one labelled image"
    with pytest.raises(DataError) as error:
        accuracy_interval(predictions([0, -1], [[0.5, 0.5]] * 2))
    assert str(error.value) == "the image 1.png has no label\nevaluate labelled images only"
