"""The sign-flip test and its interval: against full enumeration, SciPy, and simulated truth."""

import functools
import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from sit2.evaluation import paired_test
from sit2.evaluation.paired_test import sign_flip_exact, sign_flip_interval

ALPHAS = st.sampled_from([0.05, 0.05 / 3, 0.05 / 14, 0.4])
GROUPS = st.lists(
    st.integers(1, 4).flatmap(lambda size: st.tuples(st.integers(-size, size), st.just(size))),
    min_size=1,
    max_size=9,
)


def images(only_a, only_b, rest):
    differences = np.repeat([1, -1, 0], [only_a, only_b, rest])
    return differences, np.ones_like(differences)


def p_of_every_sign(values):
    """Two-sided p of the sign-flip test of any numbers, by enumeration."""
    signs = np.array(list(itertools.product([-1, 1], repeat=len(values))))
    return np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-9)


class TestExact:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(-9, 9), max_size=9))
    def test_is_the_enumeration_of_all_signs(self, differences):
        d = np.array(differences, dtype=np.int64)
        assert sign_flip_exact(d) == pytest.approx(p_of_every_sign(d))

    def test_agrees_with_scipy(self):
        d = np.array([3, -1, 4, 1, 5, 2, -2])
        scipys = permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
        assert sign_flip_exact(d) == pytest.approx(scipys.pvalue)

    def test_many_groups_are_exact_too(self):
        generator = np.random.default_rng(0)
        d = generator.integers(-3, 5, size=1500)
        drawn = generator.choice([-1, 1], size=(4000, 1500)) @ d
        near = d - np.round(d.mean()).astype(int)  # centred, so that p is not tiny
        expected = np.mean(np.abs(generator.choice([-1, 1], size=(4000, 1500)) @ near) >= abs(near.sum()))
        assert sign_flip_exact(near) == pytest.approx(expected, abs=0.03)
        assert sign_flip_exact(d) <= np.mean(np.abs(drawn) >= abs(d.sum())) + 0.001


def least(differences, sizes, alpha):
    """The least difference per image that enumerating all signs does not reject."""

    def rejected(gap):
        return p_of_every_sign(differences - gap * sizes) < alpha

    high = float(differences.sum() / sizes.sum())
    low = -1.0
    if not rejected(low):
        return low
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return high


def by_enumeration(differences, sizes, alpha):
    low, wide_low = least(differences, sizes, alpha), least(*one_more(differences, sizes, -1), alpha)
    high, wide_high = -least(-differences, sizes, alpha), -least(*one_more(-differences, sizes, -1), alpha)
    p = p_of_every_sign(differences)
    return (
        low if p < alpha and low > 0 and wide_low <= 0 else min(low, wide_low),
        high if p < alpha and high < 0 and wide_high >= 0 else max(high, wide_high),
    )


def one_more(differences, sizes, difference):
    return np.append(differences, difference), np.append(sizes, 1)


class TestInterval:
    @settings(max_examples=40, deadline=None)
    @given(GROUPS, ALPHAS)
    def test_holds_what_enumerating_all_signs_does_not_reject(self, groups, alpha):
        differences, sizes = np.array(groups).T
        expected = by_enumeration(differences, sizes, alpha)
        assert sign_flip_interval(differences, sizes, alpha) == pytest.approx(expected, abs=1e-6)

    @settings(max_examples=200, deadline=None)
    @given(GROUPS | st.lists(st.tuples(st.integers(-1, 1), st.just(1)), min_size=1, max_size=60), ALPHAS)
    def test_leaves_out_zero_exactly_where_the_test_rejects_it(self, groups, alpha):
        differences, sizes = np.array(groups).T
        low, high = sign_flip_interval(differences, sizes, alpha)
        assert (not low <= 0 <= high) == (sign_flip_exact(differences) < alpha)
        assert -1 <= low <= differences.sum() / sizes.sum() <= high <= 1

    @settings(max_examples=50, deadline=None)
    @given(GROUPS, ALPHAS)
    def test_swapping_the_models_mirrors_it(self, groups, alpha):
        differences, sizes = np.array(groups).T
        low, high = sign_flip_interval(differences, sizes, alpha)
        assert sign_flip_interval(-differences, sizes, alpha) == pytest.approx((-high, -low))

    def test_is_wider_for_more_comparisons(self):
        widths = [np.ptp(sign_flip_interval(*images(40, 12, 448), 0.05 / count)) for count in (1, 3, 10, 100)]
        assert widths == sorted(widths)
        assert widths[-1] > 1.5 * widths[0]

    def test_few_groups_leave_everything_open(self):
        """Five patients cannot show anything at 0.05, whatever they are."""
        assert sign_flip_interval(np.array([30, 20, 40, 10, 25]), np.full(5, 50), 0.05) == (-1.0, 1.0)

    def test_equal_answers_are_not_certainly_equal_models(self):
        low, high = sign_flip_interval(*images(0, 0, 100), 0.05)
        assert -0.04 < low < -0.02
        assert high == -low

    def test_is_near_the_normal_approximation(self):
        differences, sizes = images(150, 100, 1250)
        half = 1.96 * differences.std() / np.sqrt(1500)
        expected = differences.mean() - half, differences.mean() + half
        assert sign_flip_interval(differences, sizes, 0.05) == pytest.approx(expected, abs=0.1 * half)

    def test_copies_in_one_group_are_no_more_evidence(self):
        differences, sizes = images(14, 4, 42)
        single = sign_flip_interval(differences, sizes, 0.05)
        tenfold = sign_flip_interval(10 * differences, 10 * sizes, 0.05)
        naive = sign_flip_interval(np.repeat(differences, 10), np.repeat(sizes, 10), 0.05)
        assert np.ptp(tenfold) == pytest.approx(np.ptp(single), rel=0.1)
        assert np.ptp(naive) < 0.5 * np.ptp(tenfold)

    @pytest.mark.parametrize(
        ("count", "only_a", "only_b"),
        [
            (100, 0.1, 0.05),
            (100, 0.03, 0.0),
            (300, 0.01, 0.0),
            (30, 0.3, 0.1),
            (300, 0.02, 0.02),
            (20, 0.9, 0),
        ],
    )
    def test_holds_the_truth_19_times_in_20(self, count, only_a, only_b):
        interval = functools.cache(lambda *counts: sign_flip_interval(*images(*counts), 0.05))
        drawn = np.random.default_rng(0).multinomial(count, [only_a, only_b, 1 - only_a - only_b], 1500)
        ends = np.array([interval(*map(int, counts)) for counts in drawn])
        truth = only_a - only_b
        assert np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) > 0.94

    def test_holds_the_truth_of_groups_19_times_in_20(self):
        draw, held = np.random.default_rng(0), 0
        for _ in range(300):
            sizes = draw.integers(1, 6, 30)
            only_a = draw.binomial(sizes, draw.beta(0.6, 4, 30))  # some patients are hard for b
            only_b = draw.binomial(sizes - only_a, 0.06)
            low, high = sign_flip_interval(only_a - only_b, sizes, 0.05)
            held += low <= 0.6 / 4.6 - 0.06 * 4 / 4.6 <= high
        assert held / 300 > 0.93

    @pytest.mark.parametrize("counts", [(60, 35, 405), (80, 20, 300), (50, 50, 200)])
    def test_the_approximation_for_many_images_is_near(self, counts, monkeypatch):
        exact = sign_flip_interval(*images(*counts), 0.05)
        monkeypatch.setattr(paired_test, "CELLS", 0)
        assert sign_flip_interval(*images(*counts), 0.05) == pytest.approx(exact, abs=0.05 * np.ptp(exact))

    @settings(max_examples=200, deadline=None)
    @given(
        st.integers(15, 60), st.integers(1, 5), st.floats(0, 1), st.floats(0, 1), ALPHAS, st.integers(0, 99)
    )
    def test_the_approximation_agrees_with_the_test(self, groups, most, different, better, alpha, seed):
        draw = np.random.default_rng(seed)
        sizes = draw.integers(1, most + 1, groups)
        sign = np.where(draw.random(groups) < better, 1, -1) * (draw.random(groups) < different)
        differences = sign * draw.integers(1, sizes + 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paired_test, "CELLS", 0)
            low, high = sign_flip_interval(differences, sizes, alpha)
        assert (not low <= 0 <= high) == (sign_flip_exact(differences) < alpha)
        assert -1 <= low <= differences.sum() / sizes.sum() <= high <= 1

    def test_a_hundred_thousand_images_take_less_than_half_a_second(self):
        differences, sizes = images(5200, 5000, 90_000)
        start = time.process_time()
        sign_flip_interval(differences, sizes, 0.05)
        assert time.process_time() - start < 0.5
