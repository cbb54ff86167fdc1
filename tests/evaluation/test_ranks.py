"""Ranks over data sets, against Demšar's worked example, SciPy and the studentised range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from sit2.evaluation.ranks import rank_methods

# Demšar (2006), table 6: AUC of C4.5 and three of its variants on 14 sets.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
NAMES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")


def test_demsars_example():
    ranks = rank_methods(DEMSAR, NAMES)
    assert ranks.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=0.001)  # p. 15
    assert ranks.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=0.001)  # 1.25
    statistic = 12 * 14 / (4 * 5) * ((ranks.mean_ranks**2).sum() - 4 * 5**2 / 4)
    assert statistic == pytest.approx(9.28, abs=0.01)  # without the correction for ties, as printed there
    assert ranks.friedman_p < 0.05


SCORES = arrays(
    np.float64, st.tuples(st.integers(3, 9), st.integers(3, 6)), elements=st.floats(0, 1), unique=True
)


@given(SCORES)
def test_against_scipy(scores):
    names = [f"m{n}" for n in range(scores.shape[1])]
    ranks = rank_methods(scores, names)
    assert ranks.friedman_p == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    assert ranks.mean_ranks.sum() == pytest.approx(len(names) * (len(names) + 1) / 2)
    count, datasets = len(names), len(scores)
    gap = abs(ranks.mean_ranks[0] - ranks.mean_ranks[1])
    q = gap / np.sqrt(count * (count + 1) / (6 * datasets)) * np.sqrt(2)
    assert ranks.nemenyi_p[0, 1] == pytest.approx(stats.studentized_range.sf(q, count, np.inf), abs=1e-6)
    assert (gap > ranks.critical_difference) == (ranks.nemenyi_p[0, 1] < 0.05)


@given(SCORES)
def test_a_growing_function_changes_no_rank(scores):
    names = [f"m{n}" for n in range(scores.shape[1])]
    logits = np.argsort(np.argsort(scores, axis=None)).reshape(scores.shape).astype(np.float64)
    assert rank_methods(scores, names).mean_ranks == pytest.approx(rank_methods(logits, names).mean_ranks)


def test_the_best_comes_first():
    told = rank_methods(DEMSAR, NAMES).to_json()
    assert told["methods"][0] == "C4.5+m+cf"
    assert list(told["mean_ranks"]) == told["methods"]
    assert told["nemenyi_p"]["C4.5"]["C4.5"] == 1.0


def test_all_alike_is_no_difference():
    ranks = rank_methods(np.full((4, 3), 0.5), "abc")
    assert ranks.friedman_p == 1.0
    assert (ranks.nemenyi_p == 1.0).all()
    assert ranks.mean_ranks.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("scores", [np.ones((1, 3)), np.ones((3, 2)), np.full((3, 3), np.nan)])
def test_refuses_too_little(scores):
    with pytest.raises(ValueError, match="finite scores of 2 data sets and 3 methods"):
        rank_methods(scores, [str(n) for n in range(scores.shape[1])])
