"""Tests over repeats, against scikit-learn's worked example, SciPy, statsmodels, and simulated truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import effect_size as reference_effects
from statsmodels.stats.weightstats import DescrStatsW

from sit2.evaluation.bootstrap import METRICS
from sit2.evaluation.overlap import Overlap, overlap_of
from sit2.evaluation.repeated import MARGIN, corrected_t_test, effect_size, repeated_bootstrap
from sit2.records import Predictions

PARTS = st.floats(1e-6, 0.1)  # standard deviations
DIFFERENCES = st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=12).filter(lambda v: np.std(v) > 1e-4)


def by_the_book(differences, n_train, n_test):
    """Nadeau & Bengio's test as scikit-learn's "Statistical comparison of models" writes it down."""
    kr = len(differences)
    corrected_std = np.sqrt(np.var(differences, ddof=1) * (1 / kr + n_test / n_train))
    t = np.mean(differences) / corrected_std
    return t, stats.t.sf(np.abs(t), kr - 1)


class TestCorrectedTTest:
    @settings(deadline=None)
    @given(DIFFERENCES, st.integers(20, 900), st.integers(1, 500))
    def test_is_the_books_where_every_image_trains_or_tests(self, differences, n_train, n_test):
        _, one_sided = by_the_book(differences, n_train, n_test)
        ours = corrected_t_test(differences, Overlap(test=n_test / (n_train + n_test)))
        assert ours.p == pytest.approx(2 * one_sided, rel=1e-9)

    @settings(deadline=None)
    @given(DIFFERENCES)
    def test_is_scipys_where_repeats_share_nothing(self, differences):
        ours = corrected_t_test(differences)
        reference = stats.ttest_1samp(differences, 0.0)
        interval = reference.confidence_interval()
        assert ours.p == pytest.approx(reference.pvalue, rel=1e-9)
        assert (ours.lower, ours.upper) == pytest.approx((interval.low, interval.high), abs=1e-12)
        assert ours.sd == pytest.approx(np.std(differences, ddof=1))

    @settings(deadline=None)
    @given(DIFFERENCES)
    def test_not_worse_is_statsmodels_one_sided_test(self, differences):
        _, p, _ = DescrStatsW(differences).ttest_mean(-MARGIN, alternative="larger")
        assert corrected_t_test(differences).p_not_worse == pytest.approx(p, rel=1e-7)

    @settings(deadline=None)
    @given(DIFFERENCES, st.floats(0.05, 0.8))
    def test_fractiond_images_make_it_more_careful(self, differences, share):
        careful, careless = (corrected_t_test(differences, Overlap(test=s)) for s in (share, 0.0))
        assert careful.p >= careless.p
        assert careful.upper - careful.lower > careless.upper - careless.lower
        assert careful.difference == careless.difference

    @settings(deadline=None)
    @given(DIFFERENCES)
    def test_the_sign_turns_the_interval(self, differences):
        there = corrected_t_test(differences, Overlap(test=0.3))
        back = corrected_t_test([-d for d in differences], Overlap(test=0.3))
        assert (back.lower, back.upper) == pytest.approx((-there.upper, -there.lower))
        assert back.p == pytest.approx(there.p)

    @settings(deadline=None)
    @given(DIFFERENCES, st.floats(0, 0.7), PARTS, PARTS)
    def test_what_is_known_of_the_images_by_hand(self, differences, train, images, shared):
        overlap = Overlap(train, 0.3, images**2, shared**2)
        test = corrected_t_test(differences, overlap, comparisons=3)
        n, variance = len(differences), np.var(differences, ddof=1)
        trained = max(variance - images**2 + shared**2, 0)
        told = variance / n + train * trained
        student, normal = stats.t.ppf(1 - 0.025 / 3, n - 1), stats.norm.ppf(1 - 0.025 / 3)
        half = np.sqrt(student**2 * told + normal**2 * shared**2)
        assert (test.lower, test.upper) == pytest.approx((test.difference - half, test.difference + half))

    @settings(deadline=None)
    @given(DIFFERENCES, st.floats(0, 0.7), PARTS, PARTS, st.integers(1, 30))
    def test_the_interval_leaves_out_zero_exactly_where_p_says_so(
        self, differences, train, images, shared, comparisons
    ):
        for overlap in (Overlap(train, 0.2), Overlap(train, 0.2, images**2, shared**2)):
            test = corrected_t_test(differences, overlap, comparisons=comparisons)
            assert (test.lower > 0 or test.upper < 0) == (test.p < 0.05 / comparisons)
            at_its_level = corrected_t_test(differences, overlap, comparisons=0.05 / test.p)
            end = at_its_level.lower if test.difference > 0 else at_its_level.upper
            assert end == pytest.approx(0, abs=1e-6 * max(1e-3, abs(test.difference)))

    @settings(deadline=None)
    @given(DIFFERENCES, PARTS, PARTS)
    def test_not_worse_is_the_interval_too(self, differences, images, shared):
        test = corrected_t_test(differences, Overlap(0.1, 0.2, images**2, shared**2))
        moved = corrected_t_test([d + MARGIN for d in differences], Overlap(0.1, 0.2, images**2, shared**2))
        one_sided = moved.p / 2 if moved.difference > 0 else 1 - moved.p / 2
        assert test.p_not_worse == pytest.approx(one_sided, rel=1e-6, abs=1e-12)
        assert test.not_worse == (test.lower > -MARGIN)

    def test_a_difference_beyond_all_doubt(self):
        test = corrected_t_test([0.3, 0.3001, 0.2999] * 20, Overlap(0.1, 0.2, 1e-9, 1e-9))
        assert 0 < test.p <= 1e-99

    def test_keeps_its_promise_where_the_plain_test_does_not(self):
        """Repeated splits of one small pool, two equal models: the plain t-test errs too often."""
        draw = np.random.default_rng(0)
        pool, test, repeats, runs = 120, 36, 10, 200
        wrong = {"most": 0, "estimated": 0, "plain": 0}
        for _ in range(runs):
            gain = draw.choice([-1, 0, 0, 0, 1], pool)  # of model a over model b on each image
            pairs = []
            for _ in range(repeats):
                rows = draw.permutation(pool)[:test]
                pairs.append(
                    tuple(predictions(sign * gain[rows] >= 0, ids=map(str, rows)) for sign in (1, -1))
                )
            differences = [a.correct.mean() - b.correct.mean() for a, b in pairs]
            known = overlap_of([[pair] for pair in pairs], METRICS["accuracy"], train=0, test=test / pool)
            wrong["most"] += corrected_t_test(differences, Overlap(test=test / pool)).p < 0.05
            wrong["estimated"] += corrected_t_test(differences, known).p < 0.05
            wrong["plain"] += corrected_t_test(differences).p < 0.05
        assert wrong["plain"] / runs > 0.15
        assert wrong["most"] / runs < 0.07
        assert wrong["estimated"] / runs < 0.07

    def test_finds_more_where_training_makes_the_difference(self):
        """Trainings on other images differ by chance that no two repeats share: that is no reason for doubt."""
        draw = np.random.default_rng(0)
        pool, test, repeats, runs = 1000, 300, 5, 100
        found = {"most": 0, "estimated": 0}
        for _ in range(runs):
            pairs = []
            for level in draw.normal([0.82, 0.78], 0.015, (repeats, 2)):
                ids = tuple(map(str, draw.permutation(pool)[:test]))
                pairs.append(tuple(predictions(draw.random(test) < p, ids=ids) for p in level))
            differences = [a.correct.mean() - b.correct.mean() for a, b in pairs]
            known = overlap_of([[pair] for pair in pairs], METRICS["accuracy"], train=0.05, test=test / pool)
            found["most"] += corrected_t_test(differences, Overlap(0.05, test / pool)).p < 0.05
            found["estimated"] += corrected_t_test(differences, known).p < 0.05
        assert found["estimated"] > 1.5 * found["most"]

    def test_one_repeat_shows_nothing(self):
        one = corrected_t_test([0.3], Overlap(test=0.2))
        assert (one.n, one.p, one.p_not_worse) == (1, 1.0, 1.0)
        assert (one.lower, one.upper) == (-np.inf, np.inf)

    def test_repeats_that_are_all_equal(self):
        for equal in ([0.0, 0.0, 0.0], [0.1, 0.1], [-0.1, -0.1]):
            test = corrected_t_test(equal, Overlap(test=0.2))
            assert (test.p, test.p_not_worse, test.lower, test.upper) == (1.0, 1.0, -np.inf, np.inf)

    def test_equal_on_a_coarse_scale_is_not_certain(self):
        """28 of 30 images right against 27, twice: the spread is no less than what 30 images can show."""
        equal = corrected_t_test([1 / 30, 1 / 30], Overlap(test=0.2), step=1 / 30)
        error = 1 / 30 * np.sqrt(1 / 2 + 0.2 / 0.8)
        assert equal.p == pytest.approx(2 * stats.t.sf(1 / 30 / error, 1))
        assert equal.lower < 0 < equal.upper
        rough = corrected_t_test([0.1, 0.3], Overlap(test=0.2), step=0.01)
        assert rough == corrected_t_test([0.1, 0.3], Overlap(test=0.2))

    @pytest.mark.parametrize(("images", "repeats"), [(30, 2), (30, 3), (100, 2)])
    def test_equal_methods_on_few_images_are_seldom_told_apart(self, images, repeats):
        draw = np.random.default_rng(0)
        right = draw.binomial(images, 0.9, (2000, repeats, 2)) / images
        gaps = right[..., 0] - right[..., 1]
        wrong = [corrected_t_test(gap, Overlap(test=0.3), step=1 / images).p < 0.05 for gap in gaps]
        assert np.mean(wrong) < 0.05

    @pytest.mark.parametrize(
        ("values", "overlap"),
        [
            ([], Overlap(test=0.2)),
            ([0.1, 0.2], Overlap(test=1.0)),
            ([0.1, 0.2], Overlap(test=-0.1)),
            ([0.1, 0.2], Overlap(train=1.0)),
        ],
    )
    def test_refuses_what_means_nothing(self, values, overlap):
        with pytest.raises(ValueError, match="expected differences and fractions"):
            corrected_t_test(values, overlap)


class TestEffectSize:
    @settings(deadline=None)
    @given(DIFFERENCES.filter(lambda v: abs(np.mean(v)) < 3 * np.std(v)))
    def test_interval_is_statsmodels(self, differences):
        n = len(differences)
        t = np.mean(differences) / np.std(differences, ddof=1) * np.sqrt(n)
        reference = reference_effects._noncentrality_t(t, n - 1)
        unbiased = math.gamma((n - 1) / 2) / math.gamma((n - 2) / 2) / np.sqrt((n - 1) / 2) if n > 2 else 1.0
        g, low, high = effect_size(corrected_t_test(differences))
        assert g == pytest.approx(unbiased * t / np.sqrt(n))
        near = pytest.approx(
            [unbiased * bound / np.sqrt(n) for bound in reference.confint], rel=1e-3, abs=1e-3
        )
        assert (low, high) == near  # statsmodels inverts roughly where t is near 0
        for bound, level in ((low, 0.975), (high, 0.025)):
            assert stats.nct.cdf(t, n - 1, bound / unbiased * np.sqrt(n)) == pytest.approx(level, abs=1e-6)

    def test_its_interval_allows_for_the_comparisons(self):
        """Fourteen of them: also where t is near 0, where SciPy's inverse is off by a third of the tail."""
        test = corrected_t_test([-0.02, 0.01, 0.008], comparisons=14)
        _, low, high = effect_size(test, comparisons=14)
        unbiased, tail = 1 / math.gamma(0.5), 0.025 / 14
        t = test.difference / test.sd * np.sqrt(3)
        assert abs(t) < 0.1
        for bound, level in ((low, 1 - tail), (high, tail)):
            chance = stats.nct.cdf(t, 2, bound / unbiased * np.sqrt(3))
            assert chance == pytest.approx(level, abs=1e-6)

    def test_the_correction_is_hedges(self):
        """For n = 5 pairs the exact factor is Γ(2) / (Γ(1.5) √2) = 0.79788."""
        values = [0.01, 0.03, 0.02, 0.05, 0.04]
        g, _, _ = effect_size(corrected_t_test(values))
        assert g == pytest.approx(0.797885 * np.mean(values) / np.std(values, ddof=1), rel=1e-5)

    def test_no_spread(self):
        assert effect_size(corrected_t_test([0.0, 0.0])) == (0.0, -np.inf, np.inf)
        assert effect_size(corrected_t_test([0.1, 0.1])) == (np.inf, -np.inf, np.inf)
        assert effect_size(corrected_t_test([-0.1])) == (-np.inf, -np.inf, np.inf)

    @settings(deadline=None)
    @given(DIFFERENCES, st.floats(0, 0.7), PARTS, st.integers(1, 30))
    def test_leaves_out_zero_where_the_test_does(self, differences, train, shared, comparisons):
        overlap = Overlap(train, 0.2, shared**2, shared**2)
        test = corrected_t_test(differences, overlap, comparisons=comparisons)
        _, low, high = effect_size(test, comparisons=comparisons)
        assert (low > 0) == (test.lower > 0)
        assert (high < 0) == (test.upper < 0)


def predictions(right, *, ids=None, groups=(), classes=2):
    """Predictions of class 0 for images of class 0 that are right, else of class 1; certain."""
    right = np.asarray(right, bool)
    labels = np.zeros(len(right), np.int64)
    probabilities = np.eye(classes)[np.where(right, 0, 1)]
    names = tuple(ids) if ids is not None else tuple(f"i{n}" for n in range(len(right)))
    return Predictions(names, labels, probabilities, tuple(groups))


class TestRepeatedBootstrap:
    def test_the_middle_is_the_mean_over_repeats(self):
        repeats = [
            (predictions([1, 1, 1, 0]), predictions([1, 0, 0, 0])),
            (predictions([1, 0], ids=["x", "y"]), predictions([1, 1], ids=["x", "y"])),
        ]
        found = repeated_bootstrap(repeats, generator=np.random.default_rng(0), resamples=200)
        assert found["accuracy"].difference == pytest.approx((0.5 - 0.5) / 2)
        assert found["accuracy"].lower <= found["accuracy"].difference <= found["accuracy"].upper

    def test_one_repeat_is_the_paired_bootstrap(self):
        from sit2.evaluation.bootstrap import paired_bootstrap

        draw = np.random.default_rng(1)
        a, b = predictions(draw.random(300) < 0.8), predictions(draw.random(300) < 0.7)
        repeated = repeated_bootstrap([(a, b)], generator=np.random.default_rng(2), resamples=4000)
        single = paired_bootstrap(a, b, generator=np.random.default_rng(3), resamples=4000)
        for name in ("accuracy", "macro_f1", "log_loss"):
            ours, theirs = repeated[name], single[name]
            assert ours.difference == pytest.approx(theirs.difference)
            width = theirs.upper - theirs.lower
            assert (ours.lower, ours.upper) == pytest.approx((theirs.lower, theirs.upper), abs=0.06 * width)

    def test_the_same_images_again_are_no_new_evidence(self):
        """Ten repeats with one and the same outcome are as sure as one; with other images they are surer."""
        draw = np.random.default_rng(4)
        right_a, right_b = draw.random(100) < 0.8, draw.random(100) < 0.7
        same = [(predictions(right_a), predictions(right_b))] * 10
        others = [
            tuple(predictions(r, ids=[f"{n}-{k}" for k in range(100)]) for r in (right_a, right_b))
            for n in range(10)
        ]

        def width(repeats):
            found = repeated_bootstrap(repeats, generator=np.random.default_rng(5), resamples=600)["accuracy"]
            return found.upper - found.lower

        once = width(same[:1])
        assert width(same) == pytest.approx(once, rel=0.15)
        assert width(others) < 0.5 * once

    def test_groups_are_drawn_whole(self):
        """Twenty copies of each of ten patients are no more than ten patients."""
        right_a, right_b = np.array([1, 1, 1, 1, 1, 1, 0, 1, 0, 1]), np.array([1, 0, 1, 0, 1, 1, 0, 1, 1, 0])
        groups = [f"p{n // 20}" for n in range(200)]
        many = tuple(predictions(np.repeat(r, 20), groups=groups) for r in (right_a, right_b))
        few = tuple(predictions(r) for r in (right_a, right_b))
        wide, narrow = (
            repeated_bootstrap([pair], generator=np.random.default_rng(6), resamples=2000)["accuracy"]
            for pair in (many, few)
        )
        assert (wide.lower, wide.upper) == pytest.approx((narrow.lower, narrow.upper), abs=0.051)

    def test_refuses_what_cannot_be_paired(self):
        a, b = predictions([1, 0]), predictions([1, 0], ids=["other", "ids"])
        with pytest.raises(ValueError, match="cannot be paired"):
            repeated_bootstrap([(a, b)], generator=np.random.default_rng(0))
        with pytest.raises(ValueError, match="at least one repeat"):
            repeated_bootstrap([], generator=np.random.default_rng(0))
