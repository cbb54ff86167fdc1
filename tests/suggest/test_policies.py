"""Every policy gives different rows, as many as are asked for; and each what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from sit2.records import FloatArray
from sit2.suggest.policies import POLICIES
from sit2.suggest.policies.confusion import quotas, spread_out
from sit2.suggest.policies.policy import Candidates

LUCK = np.random.default_rng


def candidates(chances: FloatArray) -> Candidates:
    return Candidates(chances, lambda rows: LUCK(1).normal(size=(len(chances), 3))[rows])


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("count", [1, 7, 60, 200])
def test_a_policy_chooses_different_images_and_repeats_itself(name: str, count: int) -> None:
    given = candidates(LUCK(0).dirichlet([0.5] * 4, 60))
    rows = POLICIES[name](given, count, LUCK(3))
    assert rows.dtype == np.int64
    assert len(set(rows.tolist())) == len(rows) == min(count, 60)
    assert POLICIES[name](given, count, LUCK(3)).tolist() == rows.tolist()


def test_random_is_not_the_order_of_the_images() -> None:
    given = candidates(LUCK(0).dirichlet([1] * 3, 60))
    one, other = (POLICIES["random"](given, 60, LUCK(seed)).tolist() for seed in (0, 1))
    assert sorted(one) == sorted(other) == list(range(60))
    assert one != other


def test_margin_and_entropy_differ_where_a_third_class_counts() -> None:
    chances = np.array([[0.50, 0.50, 0.0], [0.40, 0.30, 0.30], [0.9, 0.05, 0.05]])
    given = candidates(chances)
    assert given.doubt == pytest.approx([1, 0.9, 0.15])
    assert POLICIES["margin"](given, 3, LUCK(0)).tolist() == [0, 1, 2]
    assert POLICIES["entropy"](given, 3, LUCK(0)).tolist() == [1, 0, 2]


def test_confusion_gives_every_pair_its_quota() -> None:
    """Where margin takes one pair only, because its doubt is a little greater everywhere."""
    often, rare = np.tile([0.48, 0.46, 0.03, 0.03], (30, 1)), np.tile([0.03, 0.03, 0.52, 0.42], (15, 1))
    given = candidates(np.concatenate([often, rare]))
    assert (POLICIES["margin"](given, 9, LUCK(0)) < 30).all()
    rows = POLICIES["confusion"](given, 9, LUCK(0))
    assert (rows < 30).sum() == 6
    assert (rows >= 30).sum() == 3


def test_quotas_are_whole_follow_the_mass_and_fit() -> None:
    assert quotas(np.array([6.0, 3.0, 1.0]), np.array([9, 9, 9]), 10).tolist() == [6, 3, 1]
    assert quotas(np.array([6.0, 3.0, 1.0]), np.array([2, 9, 9]), 10).tolist() == [2, 6, 2]
    assert quotas(np.zeros(2), np.array([1, 3]), 10).tolist() == [1, 3]


def test_what_is_spread_out_is_not_alike() -> None:
    angles = np.array([0, 1, 2, 90, 91, 180])
    features = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)
    assert spread_out(features, 3).tolist() == [0, 5, 3]
    assert sorted(spread_out(features, 9).tolist()) == list(range(6))
    assert spread_out(np.zeros((3, 2)), 2).tolist()[0] == 0
