"""Fractions of the budget, and the losses against the textbook."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_expit, log_softmax

from sit2.training.phase import Phase, binary_cross_entropy, cross_entropy, steps_of

LOGITS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.rand(5, 3, generator=torch.Generator().manual_seed(1))


def phases(*fractions):
    return [
        Phase(str(n), None, None, None, outputs=2, fraction=fraction) for n, fraction in enumerate(fractions)
    ]


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=7), st.integers(0, 10**6))
def test_steps_sum_to_the_total(fractions, total):
    steps = steps_of(phases(*fractions), total)
    assert sum(steps) == total
    assert min(steps) >= 0
    assert steps[-1] >= min(1, total)  # whose head is the classifier's
    exact = np.array(fractions) / sum(fractions) * total
    # One more where the last phase gets its step although its fraction is less than one.
    assert np.abs(steps - exact).max() <= 1 + (exact[-1] < 1) + 1e-6


@pytest.mark.parametrize(
    ("fractions", "total", "steps"),
    [
        ((1.0,), 7, [7]),
        ((0.8, 0.2), 100, [80, 20]),
        ((0.5, 0.5), 1, [0, 1]),
        ((0.95, 0.05), 10, [9, 1]),
        ((1, 1, 2), 101, [25, 25, 51]),
    ],
)
def test_steps_by_hand(fractions, total, steps):
    assert steps_of(phases(*fractions), total) == steps


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 3.0])])
def test_cross_entropy(weight):
    w = np.ones(3) if weight is None else weight.numpy()
    expected = -(TARGETS.numpy() * w * log_softmax(LOGITS.double().numpy(), axis=1)).sum(axis=1).mean()
    assert cross_entropy(LOGITS, TARGETS, weight).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 3.0])])
def test_binary_cross_entropy(weight):
    w = np.ones(3) if weight is None else weight.numpy()
    z, t = LOGITS.double().numpy(), TARGETS.double().numpy()
    expected = -(w * (t * log_expit(z) + (1 - t) * np.log(1 - expit(z)))).mean()
    assert binary_cross_entropy(LOGITS, TARGETS, weight).item() == pytest.approx(expected, rel=1e-5)


def test_what_has_no_phases_has_no_steps():
    assert steps_of([], 100) == []
