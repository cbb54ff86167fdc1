"""Figures of classes, subgroups and thresholds: against counting, scikit-learn's references and invariants."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, mannwhitneyu

from sit2.evaluation.class_figures import (
    balanced_accuracy,
    class_figures,
    macro_ranking,
    never_predicted,
    ranking,
    weakest,
)
from sit2.evaluation.metrics import accuracy_interval, compute_metrics
from sit2.evaluation.proportions import Share, mean_share, share_interval
from sit2.evaluation.subgroups import subgroups
from sit2.evaluation.threshold import AtThreshold, Operating, threshold_for
from sit2.records import Predictions

NAMES = ("ant", "bee", "cat", "dog")


def drawn(
    seed: int, n: int = 60, k: int = 4, present: int | None = None, grid: int | None = None
) -> Predictions:
    """Return random predictions of k classes, of which the first ``present`` have images."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(present or k, size=n)
    chances = draw.dirichlet(np.full(k, 0.5), n) + 0.3 * np.eye(k)[labels]
    chances = chances / chances.sum(axis=1, keepdims=True)
    if grid:  # many even scores
        chances = np.round(chances * grid) / grid
    return Predictions(tuple(f"{i}.png" for i in range(n)), labels, chances)


def wilson(hits: int, n: int) -> tuple[float, float]:
    found = binomtest(hits, n).proportion_ci(method="wilson")
    return found.low, found.high


class TestClasses:
    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 10_000), present=st.integers(2, 4), grid=st.sampled_from([None, 8]))
    def test_every_figure_by_counting(self, seed, present, grid):
        one = drawn(seed, present=present, grid=grid)
        for k, found in enumerate(class_figures(one, NAMES)):
            own, said = one.labels == k, one.predicted == k
            assert (found.name, found.images) == (NAMES[k], own.sum())
            if not own.any():
                assert math.isnan(found.recall.value)
                assert math.isnan(found.auroc)
                assert math.isnan(found.average_precision)
                continue
            for share, hits, n in (
                (found.recall, (own & said).sum(), own.sum()),
                (found.specificity, (~own & ~said).sum(), (~own).sum()),
            ):
                assert (share.hits, share.n) == (hits, n)
                assert (share.lower, share.upper) == pytest.approx(wilson(int(hits), int(n)), abs=1e-9)
                assert share.lower <= share.value <= share.upper
            scores = one.probabilities[:, k]
            pairs = np.array(list(product(scores[own], scores[~own])))
            better = (pairs[:, 0] > pairs[:, 1]).mean() + (pairs[:, 0] == pairs[:, 1]).mean() / 2
            assert found.auroc == pytest.approx(better)
            u = mannwhitneyu(scores[own], scores[~own]).statistic
            assert found.auroc == pytest.approx(u / (own.sum() * (~own).sum()))
            assert found.average_precision == pytest.approx(average_precision(own, scores))

    def test_the_mean_recall_is_the_balanced_accuracy_of_the_metrics(self):
        for seed, present in ((0, 4), (1, 3)):
            one = drawn(seed, present=present)
            value, low, high = balanced_accuracy(class_figures(one, NAMES))
            assert value == pytest.approx(compute_metrics(one, [])["balanced_accuracy"])
            assert 0 <= low < value < high <= 1

    def test_macro_means_leave_out_what_is_absent(self):
        one = drawn(2, present=3)
        figures = class_figures(one, NAMES)[:3]
        metrics = compute_metrics(one, [])
        assert metrics["auroc"] == pytest.approx(np.mean([f.auroc for f in figures]))
        assert metrics["average_precision"] == pytest.approx(np.mean([f.average_precision for f in figures]))
        assert macro_ranking(drawn(2, present=1)) == (None, None)

    def test_two_classes_have_one_auroc(self):
        first, second = class_figures(drawn(3, k=2), NAMES[:2])
        assert first.auroc == pytest.approx(second.auroc)

    def test_perfect_and_useless(self):
        own = np.array([True, True, False, False])
        assert ranking(own, np.array([0.9, 0.8, 0.2, 0.1])) == (1, 1)
        assert ranking(own, np.full(4, 0.5)) == (0.5, 0.5)

    def test_images_of_a_group_are_not_independent(self):
        one = drawn(4)
        groups = tuple(f"patient {n // 10}" for n in range(60))
        grouped = Predictions(one.ids, one.labels, one.probabilities, groups)
        for alone, together in zip(class_figures(one, NAMES), class_figures(grouped, NAMES), strict=True):
            assert together.recall.value == alone.recall.value
            assert (
                together.recall.upper - together.recall.lower
                >= alone.recall.upper - alone.recall.lower - 1e-9
            )
        own = grouped.take(grouped.labels == 1)
        recall = class_figures(grouped, NAMES)[1].recall
        assert (recall.lower, recall.upper) == accuracy_interval(own)

    def test_the_weakest_come_first_and_of_equal_ones_the_larger(self):
        labels = np.repeat([0, 1, 2], [4, 8, 2])
        answers = np.where(np.isin(np.arange(14), [0, 1, 4, 5, 6, 7]), 2, labels)
        one = Predictions(tuple(map(str, range(14))), labels, np.eye(4)[answers])
        assert [f.name for f in weakest(class_figures(one, NAMES))] == ["bee", "ant", "cat"]

    def test_a_class_that_is_never_predicted(self):
        labels = np.repeat([0, 1, 2, 3], [9, 5, 4, 5])
        one = Predictions(tuple(map(str, range(23))), labels, np.eye(4)[np.where(labels == 3, 3, 0)])
        assert never_predicted(one) == [1]
        assert never_predicted(one, least=4) == [1, 2]


def average_precision(own, scores) -> float:
    """Return the sum over thresholds of precision × growth of recall."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        found = scores >= threshold
        recall = (own & found).sum() / own.sum()
        total += (recall - before) * (own & found).sum() / found.sum()
        before = recall
    return total


class TestMeanOfShares:
    def test_one_share_is_itself(self):
        one = Share.of(np.arange(20) < 15)
        assert mean_share([one]) == pytest.approx((one.value, one.lower, one.upper))

    def test_nothing(self):
        assert all(map(math.isnan, mean_share([])))
        assert all(map(math.isnan, share_interval(np.zeros(0, bool))))

    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), min_size=1, max_size=6))
    def test_it_holds_the_mean_and_stays_a_share(self, counts):
        shares = [Share.of(np.arange(n) < min(hits, n)) for hits, n in counts]
        value, low, high = mean_share(shares)
        assert 0 <= low <= value + 1e-12
        assert value - 1e-12 <= high <= 1
        assert low < high
        assert high - low <= max(s.upper - s.lower for s in shares) + 1e-12

    def test_it_holds_the_truth_about_19_times_in_20(self):
        draw, sizes, truth = np.random.default_rng(0), (12, 30, 60), (0.95, 0.8, 0.6)
        hits = 0
        for _ in range(600):
            shares = [Share.of(draw.random(n) < p) for n, p in zip(sizes, truth, strict=True)]
            _, low, high = mean_share(shares)
            hits += low <= np.mean(truth) <= high
        assert 0.92 <= hits / 600 <= 0.985


class TestSubgroups:
    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 10_000))
    def test_each_is_what_its_images_alone_say(self, seed):
        one = drawn(seed)
        values = [("b", "a", "c c")[n] for n in np.random.default_rng(seed).integers(3, size=60)]
        found = subgroups(one, values)
        assert [group.value for group in found] == sorted(set(values))
        assert sum(group.images for group in found) == 60
        assert sum(group.accuracy.hits for group in found) == one.correct.sum()
        for group in found:
            own = one.take(np.array(values) == group.value)
            metrics = compute_metrics(own, [])
            assert group.accuracy.value == pytest.approx(metrics["accuracy"])
            assert (group.accuracy.lower, group.accuracy.upper) == pytest.approx(accuracy_interval(own))
            assert group.balanced_accuracy[0] == pytest.approx(metrics["balanced_accuracy"])
            assert group.classes == len(set(own.labels))
            json.dumps(group.to_json(), allow_nan=False)


class TestThreshold:
    @settings(max_examples=60, deadline=None)
    @given(
        scores=st.lists(st.integers(0, 20), min_size=1, max_size=40),
        sensitivity=st.floats(0.01, 1),
    )
    def test_it_is_the_highest_that_finds_enough(self, scores, sensitivity):
        array = np.array(scores) / 20
        threshold = threshold_for(array, sensitivity)
        assert (array >= threshold).mean() >= sensitivity - 1e-9
        higher = array[array > threshold]
        assert higher.size / array.size < sensitivity or not higher.size

    def test_rounding_loses_no_image(self):
        assert threshold_for(np.ones(10), 0.95, 5e-7) <= 0.9999998
        assert threshold_for(np.zeros(3), 1.0, 5e-7) == 0

    def test_the_four_shares_by_counting(self):
        one = drawn(5, n=200, k=2)
        found = AtThreshold.of(one, 1, 0.4)
        own, said = one.labels == 1, one.probabilities[:, 1] >= 0.4
        for share, rows, holds in (
            (found.sensitivity, own, said),
            (found.specificity, ~own, ~said),
            (found.ppv, said, own),
            (found.npv, ~said, ~own),
        ):
            hits, n = int((rows & holds).sum()), int(rows.sum())
            assert (share.hits, share.n) == (hits, n)
            assert (share.lower, share.upper) == pytest.approx(wilson(hits, n), abs=1e-9)

    @given(seed=st.integers(0, 1000), low=st.floats(0, 1), high=st.floats(0, 1))
    @settings(max_examples=20, deadline=None)
    def test_a_lower_threshold_finds_no_fewer(self, seed, low, high):
        one = drawn(seed, k=2)
        lower, higher = (AtThreshold.of(one, 0, t) for t in sorted((low, high)))
        assert lower.sensitivity.hits >= higher.sensitivity.hits
        assert lower.specificity.hits <= higher.specificity.hits

    def test_what_there_is_no_image_for_is_null_in_json(self):
        one = drawn(6, k=2)
        at = AtThreshold.of(one, 0, 0.0)  # everything is positive
        content = Operating("ant", 0.95, 0.0, at, at).to_json()
        json.dumps(content, allow_nan=False)
        assert content["test"]["npv"] == {"value": None, "hits": 0, "n": 0, "interval": None}
