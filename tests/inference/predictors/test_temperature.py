"""Temperature scaling: what it fits, against scipy and by what it does to calibration."""

import math

import numpy as np
import pytest
import torch
from opinions import outputs, some_answers
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from sit2.inference.predictors.temperature import FARTHEST, Temperature


def fitted_to(log_probabilities, labels):
    return Temperature().fit(outputs(log_probabilities), None, labels).inverse_temperature


def test_by_hand():
    _, answers = some_answers(11, 1.0)
    scaled = Temperature(inverse_temperature=0.5)(outputs(answers), None)
    expected = answers.exp().sqrt()
    torch.testing.assert_close(scaled.log_probabilities.exp(), expected / expected.sum(dim=1, keepdim=True))
    assert torch.equal(scaled.first, answers)


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_it_undoes_a_factor_on_all_log_probabilities(factor):
    labels, answers = some_answers(20_000, 2.0)
    even = fitted_to(answers, labels)
    assert fitted_to((factor * answers).log_softmax(dim=1), labels) == pytest.approx(even / factor, rel=0.01)


@pytest.mark.parametrize("count", [1, 5, 60, 500])
@pytest.mark.parametrize("surer", [0.3, 1.0, 5.0])
def test_it_has_the_least_price(count, surer):
    """Against NumPy and scipy, with the prior as it is documented."""
    labels, answers = some_answers(count, 1.0, seed=count)
    logits = surer * answers.numpy()

    def price(logarithm):
        return logarithm**2 - log_softmax(np.exp(logarithm) * logits, axis=1)[np.arange(count), labels].sum()

    grid = np.linspace(-FARTHEST, FARTHEST, 601)
    start = grid[np.argmin([price(one) for one in grid])]
    best = minimize_scalar(price, bounds=(start - 0.02, start + 0.02), method="bounded")
    found = math.log(fitted_to((surer * answers).log_softmax(dim=1), labels))
    assert price(found) <= best.fun + 1e-6
    assert found == pytest.approx(best.x, abs=1e-3)


def test_no_prediction_changes():
    labels, answers = some_answers(100, 1.0)
    one = Temperature().fit(outputs((6 * answers).log_softmax(dim=1)), None, labels)
    scaled = one(outputs(answers), None).log_probabilities
    assert torch.equal(scaled.argmax(dim=1), answers.argmax(dim=1))


def test_a_few_images_move_it_little():
    """All right, or all wrong: without a prior it would go to the end."""
    labels, answers = some_answers(2, 4.0)
    assert answers.argmax(dim=1).tolist() == labels.tolist()
    assert 1 < fitted_to(answers, labels) < 3
    assert 1 / 5 < fitted_to(answers, (labels + 1) % 4) < 1


def worst_gap(log_probabilities, labels):
    """The largest difference of confidence and accuracy, of images that are about as sure."""
    confidence, guess = log_probabilities.exp().max(dim=1)
    gaps = []
    for low in np.arange(0.3, 1.0, 0.1):
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.sum() > 300:
            gaps.append(abs(float((confidence - (guess == labels).double())[inside].mean())))
    assert len(gaps) > 3
    return max(gaps)


def test_fitted_probabilities_are_calibrated_on_other_images():
    labels, answers = some_answers(20_000, 2.0)
    surer = (3 * answers).log_softmax(dim=1)
    one = Temperature().fit(outputs(surer[:10_000]), None, labels[:10_000])
    others, truth = surer[10_000:], labels[10_000:]
    assert worst_gap(one(outputs(others), None).log_probabilities, truth) < 0.05
    assert worst_gap(others, truth) > 0.1
