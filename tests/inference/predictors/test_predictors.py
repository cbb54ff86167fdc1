"""One contract for every predictor."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opinions import (
    CLASSES,
    PAIRS,
    asked,
    context,
    images_to_predict,
    known,
    learned,
    log_loss_of,
    look_at,
    outputs,
    some_answers,
)
from safetensors.torch import load, save

from sit2.inference import chain
from sit2.inference.chain import Observations
from sit2.inference.model_spec import described
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import Predictor, Stage
from sit2.parameters import parameters_of
from sit2.training.augmentations import PRESETS

SOME_PAIRS = ((0, 1), (1, 3))
# What each is given for its settings, and to look at.
VARIANTS = [(name, augment) for name in PREDICTORS for augment in ("none", "flip", "dihedral")]


def answer(predictor, images):
    """(N, K) probabilities of one predictor after the network."""
    return chain.apply((predictor,), look_at((predictor,), images)).log_probabilities.exp()


def fitted_to(predictor, images, labels):
    seen = look_at((predictor,), images)
    (one,) = chain.fitted((predictor,), seen, labels)
    return one, seen


@pytest.mark.parametrize(("name", "augment"), VARIANTS)
class TestContract:
    def test_rows_are_probabilities(self, name, augment):
        for images in (images_to_predict(), images_to_predict(1), images_to_predict(3, height=8, width=24)):
            answers = answer(learned(name, *SOME_PAIRS, augment=augment), images)
            assert answers.shape == (len(images), len(CLASSES))
            assert answers.dtype == torch.float64
            assert answers.isfinite().all()
            assert (answers >= 0).all()
            torch.testing.assert_close(answers.sum(dim=1), torch.ones(len(images), dtype=torch.float64))

    def test_the_networks_first_answer_is_left_for_those_after_it(self, name, augment):
        predictor, images = learned(name, *SOME_PAIRS, augment=augment), images_to_predict()
        seen = look_at((predictor,), images)
        after = predictor(outputs(seen.first), *seen.observed)
        assert torch.equal(after.first, asked(images))

    def test_an_image_does_not_depend_on_its_company(self, name, augment):
        predictor, images = learned(name, *SOME_PAIRS, augment=augment), images_to_predict()
        order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
        whole = answer(predictor, images)
        torch.testing.assert_close(answer(predictor, images[order]), whole[order])
        torch.testing.assert_close(answer(predictor, images[4:5]), whole[4:5])

    def test_looking_in_batches_is_looking_at_all(self, name, augment):
        predictor, images = learned(name, *SOME_PAIRS, augment=augment), images_to_predict()
        parts = [look_at((predictor,), part) for part in images.split(4)]
        joined, whole = Observations.joined(parts), look_at((predictor,), images)
        for one, other in (
            (joined, whole),
            (joined.take(torch.tensor([3, 1])), whole.take(torch.tensor([3, 1]))),
        ):
            answers, expected = (chain.apply((predictor,), seen).log_probabilities for seen in (one, other))
            torch.testing.assert_close(answers, expected)

    def test_taken_apart_and_put_together_it_is_the_same_to_the_bit(self, name, augment):
        predictor, images = learned(name, *SOME_PAIRS, augment=augment), images_to_predict()
        labels = torch.arange(11) % 4
        for one in (predictor, fitted_to(predictor, images, labels)[0]):
            found, own = described(one)
            assert found == name
            state = load(save({key: value.contiguous() for key, value in one.state().items()}))
            again = type(one).from_state(own, state, context(augment))
            assert torch.equal(answer(again, images), answer(one, images))
            assert {k: v.tolist() for k, v in again.state().items()} == {
                k: v.tolist() for k, v in one.state().items()
            }
            assert described(again) == described(one)

    def test_the_views_are_those_that_it_asks_about(self, name, augment):
        predictor, images, views = learned(name, *SOME_PAIRS, augment=augment), images_to_predict(), []

        def ask(view):
            views.append(view)
            return asked(view)

        ask.features = asked.features
        predictor.observe(images, ask)
        told = list(predictor.views(images))
        assert torch.equal(told[0], images)
        assert len(views) in (0, len(told))
        assert all(torch.equal(one, other) for one, other in zip(views, told, strict=False))


@pytest.mark.parametrize("name", PREDICTORS)
class TestEach:
    def test_it_is_frozen_and_travels(self, name):
        predictor = learned(name, *SOME_PAIRS)
        again = pickle.loads(pickle.dumps(predictor))
        assert torch.equal(answer(again, images_to_predict()), answer(predictor, images_to_predict()))
        assert isinstance(predictor, Predictor)
        assert isinstance(predictor.stage, Stage)

    def test_only_one_that_uses_pairs_depends_on_them(self, name):
        images = images_to_predict(29)
        one, other = (PREDICTORS[name]().learn(known(*pairs)) for pairs in ([(0, 1)], [(2, 3)]))
        seen = look_at((one,), images)
        # After something that all classes were changed by.
        changed = (2 * seen.first).log_softmax(dim=1)
        first, second = (p(outputs(seen.first, changed), *seen.observed) for p in (one, other))
        assert torch.equal(first.log_probabilities, second.log_probabilities) != PREDICTORS[name].uses_pairs

    def test_one_that_is_not_fitted_stays_as_it_is(self, name):
        predictor, images = learned(name, *SOME_PAIRS), images_to_predict(29)
        labels = torch.arange(29) % 4
        one, seen = fitted_to(predictor, images, labels)
        assert (one is predictor) == (not predictor.is_fitted)
        nothing = seen.take(torch.empty(0, dtype=torch.int64))
        (same,) = chain.fitted((predictor,), nothing, labels[:0])
        assert same is predictor

    @settings(max_examples=40)
    @given(count=st.integers(1, 40), right=st.floats(-2, 6), surer=st.floats(0.1, 8), seed=st.integers(0, 99))
    def test_fitted_it_is_never_worse_on_what_it_was_fitted_to(self, name, count, right, surer, seed):
        """Its price is the log-loss and a penalty that is 0 for the unfitted: so its log-loss is no higher."""
        labels, answers = some_answers(count, right, seed)
        first = (surer * answers).log_softmax(dim=1)
        predictor = learned(name, *SOME_PAIRS)
        seen = look_at((predictor,), images_to_predict(count, seed=seed), lambda _: first)
        before = log_loss_of(chain.apply((predictor,), seen).log_probabilities, labels)
        fitted = chain.fitted((predictor,), seen, labels)
        assert log_loss_of(chain.apply(fitted, seen).log_probabilities, labels) <= before + 1e-6

    def test_settings_are_kept_by_all_that_is_done_to_it(self, name):
        labels = torch.arange(11) % 4
        for one in parameters_of(PREDICTORS[name]):
            limits = (one.rule.high, one.rule.low, True)  # the last for a switch
            value = next(limit for limit in limits if limit is not None)
            predictor = PREDICTORS[name](**{one.name: value}).learn(known(*SOME_PAIRS))
            fitted, _ = fitted_to(predictor, images_to_predict(), labels)
            assert described(fitted)[1][one.name] == value
            again = type(fitted).from_state(*_apart(fitted), context())
            assert getattr(again, one.name) == value


def _apart(predictor):
    return described(predictor)[1], predictor.state()


STATE = [(name, key) for name in PREDICTORS for key in learned(name, *SOME_PAIRS).state()]


@pytest.mark.parametrize(("name", "key"), STATE)
class TestDamaged:
    @pytest.mark.parametrize("change", ["missing", "shape", "more", "dtype", "infinite", "nan"])
    def test_state_that_does_not_fit_is_refused(self, name, key, change):
        predictor = learned(name, *SOME_PAIRS)
        own, state = _apart(predictor)
        tensor = state.pop(key)
        if change != "missing":
            state[key] = {
                "shape": tensor[None],
                "more": torch.stack([tensor, tensor]),
                "dtype": tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor.bool(),
                "infinite": tensor * torch.inf,
                "nan": tensor * torch.nan,
            }[change]
        with pytest.raises(ValueError):
            type(predictor).from_state(own, state, context())


@pytest.mark.parametrize("name", PREDICTORS)
def test_state_of_other_classes_is_refused(name):
    predictor = learned(name, *SOME_PAIRS)
    own, state = _apart(predictor)
    other = context()
    other = replace(other, num_classes=5)
    if {"partners", "slope"} & set(state):
        with pytest.raises(ValueError):
            type(predictor).from_state(own, state, other)
    else:
        type(predictor).from_state(own, state, other)


@settings(max_examples=50)
@given(
    names=st.lists(st.sampled_from(sorted(PREDICTORS)), unique=True),
    pairs=st.sets(st.sampled_from(sorted(PAIRS))),
    augment=st.sampled_from(sorted(PRESETS)),
)
def test_any_of_them_in_a_row_give_probabilities(names, pairs, augment):
    names = sorted(names, key=lambda name: PREDICTORS[name].stage)
    predictors = tuple(learned(name, *sorted(pairs), augment=augment) for name in names)
    images = images_to_predict(7)
    seen = look_at(predictors, images)
    fitted = chain.fitted(predictors, seen, torch.arange(7) % 4)
    assert [type(one) for one in fitted] == [PREDICTORS[name] for name in names]
    for each in (predictors, fitted):
        answers = chain.apply(each, seen).log_probabilities.exp()
        assert answers.isfinite().all()
        np.testing.assert_allclose(answers.sum(dim=1), 1)
