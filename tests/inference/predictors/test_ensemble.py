"""The closed-form classifier beside the network: how both are put together, and how the weight is fitted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from opinions import (
    LABELS,
    asked,
    images_to_predict,
    known,
    learned,
    look_at,
    outputs,
    some_answers,
    training_images,
)
from sklearn.metrics import log_loss

from sit2.features.closed_form import fit_closed_form
from sit2.inference import chain
from sit2.inference.predictors.ensemble import INVERSE_TEMPERATURES, WEIGHTS, Ensemble
from sit2.seeds import Seeds


def ensemble(weight=0.3, inverse_temperature=1.0):
    return replace(learned("ensemble"), weight=weight, inverse_temperature=inverse_temperature)


def answer(predictor, images):
    return chain.apply((predictor,), look_at((predictor,), images)).log_probabilities.exp()


@pytest.mark.parametrize("augment", ["none", "flip", "dihedral"])
def test_its_classifier_is_that_of_the_training_images(augment):
    images = images_to_predict()
    expected, _ = fit_closed_form(
        training_images(), LABELS, 4, mirror=augment == "flip", dihedral=augment == "dihedral", seeds=Seeds(0)
    )
    assert torch.equal(learned("ensemble", augment=augment).observe(images, asked), expected(images))


def test_groups_of_training_images_are_left_out_together():
    """Of its penalty and temperature: what a group says of itself does not count."""
    groups = tuple(str(n) for n in LABELS // 2)
    one, other = (Ensemble().learn(known(groups=g)) for g in ((), groups))
    images = images_to_predict()
    assert not torch.equal(one.observe(images, asked), other.observe(images, asked))


def test_training_images_of_a_single_group_are_left_out_one_by_one():
    images = images_to_predict()
    one, other = (Ensemble().learn(known(groups=g)) for g in (("a",) * 29, ()))
    assert torch.equal(one.observe(images, asked), other.observe(images, asked))


@pytest.mark.parametrize(("weight", "inverse_temperature"), [(0.0, 1.0), (0.3, 1.0), (0.25, 2.0), (1.0, 0.5)])
def test_by_hand(weight, inverse_temperature):
    """The product of powers of both, and of that another power, normalised."""
    images = images_to_predict()
    one = ensemble(weight, inverse_temperature)
    first, other = asked(images).exp(), one.classifier(images).exp()
    pooled = (first ** (1 - weight) * other**weight) ** inverse_temperature
    torch.testing.assert_close(answer(one, images), pooled / pooled.sum(dim=1, keepdim=True))


def test_it_goes_on_from_the_answer_so_far():
    images = images_to_predict()
    one, (_, so_far) = ensemble(0.5), some_answers(11, 1.0)
    seen = look_at((one,), images)
    after = one(outputs(seen.first, so_far), *seen.observed)
    expected = (0.5 * so_far + 0.5 * one.classifier(images)).log_softmax(dim=1)
    torch.testing.assert_close(after.log_probabilities, expected)
    assert torch.equal(after.first, seen.first)


def test_a_weight_that_is_given_is_not_fitted():
    given = Ensemble(ensemble_weight=0.7).learn(known())
    labels, network = some_answers(400, 3.0)
    assert (given.weight, given.inverse_temperature) == (0.7, 1.0)
    assert given.fit(outputs(network), some_answers(400, 0.0, seed=1)[1], labels) is given


class TestFitted:
    def fit(self, network, other, labels):
        return ensemble().fit(outputs(network), other, labels)

    def test_a_classifier_that_guesses_is_not_listened_to(self):
        labels, network = some_answers(400, 3.0)
        _, other = some_answers(400, 0.0, seed=1)
        assert self.fit(network, other, labels).weight <= 0.05

    def test_a_classifier_that_knows_more_is(self):
        labels, network = some_answers(400, 0.0)
        _, other = some_answers(400, 3.0, seed=1)
        assert self.fit(network, other, labels).weight >= 0.85

    def test_who_is_too_sure_becomes_less_so(self):
        """The inverse temperature undoes a factor on all log-probabilities, to the nearest step."""
        labels, answers = some_answers(4000, 2.0)
        even = self.fit(answers, answers, labels)
        surer = (4 * answers).log_softmax(dim=1)
        fitted = self.fit(surer, surer, labels)
        assert fitted.inverse_temperature == pytest.approx(even.inverse_temperature / 4)

    @pytest.mark.parametrize("seed", range(3))
    def test_it_has_the_least_price_of_a_grid(self, seed):
        """Against scikit-learn's log-loss and the prior as it is documented."""
        labels, network = some_answers(60, 1.0, seed=seed)
        _, other = some_answers(60, 1.0, seed=seed + 100)

        def price(weight, inverse_temperature):
            one = ensemble(weight, inverse_temperature)
            given = one(outputs(network), other).log_probabilities.exp()
            total = log_loss(labels, given, normalize=False, labels=range(4))
            return total + ((weight - 0.3) / 0.3) ** 2 + np.log(inverse_temperature) ** 2

        best = min(((w, t) for w in WEIGHTS for t in INVERSE_TEMPERATURES), key=lambda at: price(*at))
        fitted = self.fit(network, other, labels)
        assert (fitted.weight, fitted.inverse_temperature) == best
        assert fitted.classifier is learned("ensemble").classifier

    def test_what_is_unfitted_is_among_what_is_tried(self):
        assert 0.3 in WEIGHTS
        assert 1.0 in INVERSE_TEMPERATURES
        assert learned("ensemble").weight == 0.3

    def test_one_image_moves_little(self):
        labels, network = some_answers(1, 0.0)
        _, other = some_answers(1, 5.0, seed=1)
        fitted = self.fit(network, other, labels)
        assert 0.3 <= fitted.weight <= 0.6
        assert 0.5 <= fitted.inverse_temperature <= 2
