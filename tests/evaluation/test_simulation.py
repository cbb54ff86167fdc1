"""The simulation behind docs/statistics.md: its test is the package's, its learners are equally good."""

import numpy as np
import pytest
from benchmarks.statistics.corrections import CORRECTIONS, Seen, found, half_widths
from benchmarks.statistics.simulation import RIVALS, Setting, simulate

from sit2.evaluation.overlap import Overlap
from sit2.evaluation.repeated import corrected_t_test

SMALL = Setting(240, 3, 30, 72)


@pytest.fixture(scope="module")
def outcome():
    return simulate(SMALL, RIVALS[1], 60, seed=0)


@pytest.mark.parametrize("splits", [2, 5])
def test_what_is_simulated_is_the_test_of_the_package(outcome, splits):
    seen = Seen.of(outcome, splits, SMALL)
    estimated = half_widths(CORRECTIONS["both overlaps"](seen), splits)
    unknown = half_widths(CORRECTIONS["ρ/(1 − ρ)"](seen), splits)
    plain = half_widths(CORRECTIONS["plain"](seen), splits)
    for n in range(20):
        differences = outcome.differences[n, :splits]
        known = Overlap(30 / 240, 72 / 240, seen.images[n], seen.shared[n])
        for overlap, half in ((known, estimated), (Overlap(30 / 240, 72 / 240), unknown), (Overlap(), plain)):
            test = corrected_t_test(differences, overlap, step=1 / 72)
            assert (test.upper - test.lower) / 2 == pytest.approx(half[n])


@pytest.mark.parametrize("rivals", RIVALS, ids=lambda one: one.name)
def test_the_learners_are_equally_good(rivals):
    means = simulate(SMALL, rivals, 150, seed=1).differences.mean(axis=1)
    assert abs(means.mean()) < 3.5 * means.std() / np.sqrt(150)


def test_products_are_what_images_cause(outcome):
    """On the diagonal the variance that drawing other test images would cause: below the whole variance."""
    own = outcome.products.diagonal(axis1=1, axis2=2)
    assert 0.2 < own.mean() / outcome.differences.var(axis=0).mean() < 1
    assert np.allclose(outcome.products, outcome.products.transpose(0, 2, 1))


def test_a_test_finds_more_of_a_larger_difference(outcome):
    seen = Seen.of(outcome, 5, SMALL)
    for name in CORRECTIONS:
        shares = [found(name, seen, difference) for difference in (0.0, 0.05, 0.2, 1.0)]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_the_same_seed_gives_the_same(outcome):
    again = simulate(SMALL, RIVALS[1], 60, seed=0)
    assert np.array_equal(again.differences, outcome.differences)
