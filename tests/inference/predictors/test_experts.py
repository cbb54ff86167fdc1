"""Experts between two classes: against a computation by hand, and what they leave alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from opinions import (
    LABELS,
    PAIRS,
    images_to_predict,
    known,
    learned,
    look_at,
    outputs,
    some_answers,
    training_images,
)

from sit2.features.closed_form import fit_closed_form
from sit2.features.experts import fit_experts
from sit2.inference import chain
from sit2.inference.predictors.experts import Experts
from sit2.seeds import Seeds


def divided(so_far, odds, *pairs, **changes):
    """(N, 4) probabilities after experts that say these log-odds."""
    predictor = replace(learned("experts", *pairs), **changes)
    return predictor(outputs(so_far), torch.tensor(odds, dtype=torch.float64)).log_probabilities.exp()


def test_by_hand():
    so_far = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1], [0.5, 0.1, 0.3, 0.1]]).double().log()
    found = divided(so_far, [[-1.0]] * 3, (0, 1), weight=0.4)
    for row, (first, second) in enumerate([(0.5, 0.3), (0.3, 0.5)]):
        odds = np.exp(0.6 * np.log(first / second) + 0.4 * -1.0)
        expected = [0.8 * odds / (1 + odds), 0.8 / (1 + odds), 0.1, 0.1]
        np.testing.assert_allclose(found[row], expected)
    torch.testing.assert_close(found[2], so_far[2].exp())  # its two likeliest are no pair


def test_only_where_both_are_likely():
    so_far = torch.tensor([[0.94, 0.04, 0.01, 0.01], [0.9, 0.08, 0.01, 0.01]]).double().log()
    found = divided(so_far, [[-5.0]] * 2, (0, 1))
    assert torch.equal(found[0], so_far[0].exp())
    assert found[1, 0] < 0.9


@pytest.mark.parametrize("pairs", [[(0, 1)], [(0, 1), (1, 3)], list(PAIRS)])
def test_what_two_classes_have_together_stays_and_so_do_all_others(pairs):
    _, so_far = some_answers(60, 1.0)
    found = divided(so_far, torch.randn(60, len(pairs)).tolist(), *pairs, experts_least=0.0)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(60, dtype=torch.float64))
    top = so_far.topk(2, dim=1).indices
    torch.testing.assert_close(found.gather(1, top).sum(dim=1), so_far.exp().gather(1, top).sum(dim=1))
    rest = torch.ones(60, 4, dtype=torch.bool).scatter(1, top, value=False)
    torch.testing.assert_close(found[rest], so_far.exp()[rest])


def test_an_expert_is_the_classifier_of_its_two_classes_alone():
    """With two classes in all, it is the closed-form classifier itself."""
    rows = np.flatnonzero(LABELS < 2)
    images, labels = training_images(), LABELS[rows]
    how = {"rows": rows, "seeds": Seeds(0)}
    whole, _ = fit_closed_form(images, labels, 2, **how)
    expert = fit_experts([(0, 1)], images, labels, **how)
    log_p = whole(images_to_predict())
    torch.testing.assert_close(expert(images_to_predict())[:, 0], log_p[:, 0] - log_p[:, 1])


def test_turned_round_it_says_the_opposite():
    images, rows = training_images(), np.arange(29)
    one, other = (
        fit_experts([pair], images, LABELS, rows=rows, seeds=Seeds(0))(images_to_predict())
        for pair in ((1, 2), (2, 1))
    )
    torch.testing.assert_close(one, -other)


def test_the_weight_follows_whoever_is_right():
    labels = torch.arange(200) % 2
    so_far = torch.tensor([[0.5, 0.4, 0.05, 0.05]]).double().log().expand(200, 4)
    right = (1.0 - 2.0 * labels)[:, None].double() * 3
    predictor = learned("experts", (0, 1))
    assert predictor.fit(outputs(so_far), right, labels).weight > 0.9
    assert predictor.fit(outputs(so_far), -right, labels).weight == 0


def test_without_pairs_or_images_of_a_class_nothing_changes():
    _, so_far = some_answers(9, 1.0)
    for predictor in (
        Experts().learn(known()),
        Experts().learn(replace(known((0, 1)), labels=LABELS % 1 + 2)),
    ):
        seen = look_at((predictor,), images_to_predict(9), lambda _: so_far)
        assert torch.equal(chain.apply((predictor,), seen).log_probabilities, so_far)
        assert predictor.state() == {}
