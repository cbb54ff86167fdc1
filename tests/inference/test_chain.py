"""Predictors in a row, and fitted without the images that they then answer for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from opinions import images_to_predict, learned, log_loss_of, look_at, outputs, some_answers

from sit2.inference import chain
from sit2.inference.chain import PARTS, Observations, _parts
from sit2.inference.predictors.temperature import Temperature
from sit2.seeds import Seeds

SEEDS = Seeds(0)
ALL = ("tta", "ensemble", "pairwise", "temperature")


def predictors(*names):
    return tuple(learned(name, (0, 1), (1, 3), augment="flip") for name in names or ALL)


def observations(count, right=1.0, seed=0, names=ALL):
    """Labels, and what predictors saw of as many images: answers made to measure."""
    labels, first = some_answers(count, right, seed)
    seen = {
        "tta": some_answers(count, right, seed + 1)[1],
        "ensemble": some_answers(count, right, seed + 2)[1],
    }
    return labels, Observations((2 * first).log_softmax(dim=1), tuple(seen.get(name) for name in names))


class TestApply:
    def test_without_predictors_it_is_the_network(self):
        _, seen = observations(7, names=())
        assert torch.equal(chain.apply((), seen).log_probabilities, seen.first)

    def test_each_goes_on_from_the_one_before(self):
        tta, ensemble, pairwise, temperature = predictors()
        temperature = Temperature(inverse_temperature=0.5)
        _, seen = observations(7)
        step = tta(outputs(seen.first), seen.observed[0])
        step = ensemble(step, seen.observed[1])
        step = pairwise(step, None)
        step = temperature(step, None)
        row = chain.apply((tta, ensemble, pairwise, temperature), seen)
        assert torch.equal(row.log_probabilities, step.log_probabilities)
        assert torch.equal(row.first, seen.first)

    def test_each_is_fitted_to_what_those_before_it_make(self):
        tta, ensemble, pairwise, temperature = predictors()
        labels, seen = observations(60)
        fitted = chain.fitted((tta, ensemble, pairwise, temperature), seen, labels)
        after = tta(outputs(seen.first), seen.observed[0])
        expected = ensemble.fit(after, seen.observed[1], labels)
        assert (fitted[1].weight, fitted[1].inverse_temperature) == (
            expected.weight,
            expected.inverse_temperature,
        )
        after = pairwise(expected(after, seen.observed[1]), None)
        assert fitted[3] == temperature.fit(after, None, labels)
        assert fitted[0] is tta
        assert fitted[2] is pairwise

    def test_the_network_is_asked_once_for_each_view_however_often_it_is_fitted(self):
        asked = []

        def ask(pixels):
            asked.append(len(pixels))
            return some_answers(len(pixels), 1.0)[1]

        row = predictors()
        seen = look_at(row, images_to_predict(23), ask)
        assert asked == [23, 23, 23]  # as it is; and two views for test-time augmentation
        labels = torch.arange(23) % 4
        chain.fitted(row, seen, labels)
        chain.cross_fitted(row, seen, labels, (), SEEDS)
        assert len(asked) == 3


class TestParts:
    @given(st.integers(1, 60), st.integers(0, 9))
    def test_they_are_nearly_equal(self, count, seed):
        sizes = np.bincount(_parts(count, (), Seeds(seed)), minlength=PARTS)
        assert sizes.sum() == count
        assert sizes.max() - sizes.min() <= 1

    @given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=40), st.integers(0, 9))
    def test_groups_stay_together_and_are_dealt_evenly(self, groups, seed):
        parts = _parts(len(groups), groups, Seeds(seed))
        of_group = {
            group: {int(p) for p, g in zip(parts, groups, strict=True) if g == group} for group in groups
        }
        assert all(len(found) == 1 for found in of_group.values())
        times = np.bincount([found.pop() for found in of_group.values()], minlength=PARTS)
        assert times.max() - times.min() <= 1

    def test_the_seed_decides(self):
        assert _parts(50, (), Seeds(1)).tolist() == _parts(50, (), Seeds(1)).tolist()
        assert _parts(50, (), Seeds(1)).tolist() != _parts(50, (), Seeds(2)).tolist()


class TestCrossFitted:
    def test_by_hand(self):
        row, (labels, seen) = predictors(), observations(37)
        found = chain.cross_fitted(row, seen, labels, (), SEEDS)
        parts = torch.from_numpy(_parts(37, (), SEEDS))
        assert len(parts.unique()) == PARTS
        for number in range(PARTS):
            inside, outside = (parts == number).nonzero()[:, 0], (parts != number).nonzero()[:, 0]
            without = chain.fitted(row, seen.take(outside), labels[outside])
            expected = chain.apply(without, seen.take(inside)).log_probabilities
            assert torch.equal(found[inside], expected)

    @pytest.mark.parametrize("names", [("temperature",), ("ensemble",), ALL])
    def test_an_images_own_label_does_not_move_its_own_answer(self, names):
        row, (labels, seen) = predictors(*names), observations(23, names=names)
        before = chain.cross_fitted(row, seen, labels, (), SEEDS)
        others_moved = False
        for image in range(0, 23, 4):
            changed = labels.clone()
            changed[image] = (labels[image] + 1) % 4
            after = chain.cross_fitted(row, seen, changed, (), SEEDS)
            assert torch.equal(after[image], before[image])
            others_moved |= not torch.equal(after, before)
        assert others_moved

    def test_nor_do_the_labels_of_its_group(self):
        row, (labels, seen) = predictors(), observations(24)
        groups = tuple(f"patient {n // 3}" for n in range(24))
        before = chain.cross_fitted(row, seen, labels, groups, SEEDS)
        for first in (0, 9, 21):
            own = slice(first, first + 3)
            changed = labels.clone()
            changed[own] = (labels[own] + 1) % 4
            after = chain.cross_fitted(row, seen, changed, groups, SEEDS)
            assert torch.equal(after[own], before[own])
            assert not torch.equal(after, before)

    def test_on_noise_it_promises_nothing_that_fitting_to_the_same_images_does(self):
        """Of answers that know nothing, fitted to the images that judge them, some look good."""
        row = predictors("ensemble", "temperature")
        names = ("ensemble", "temperature")
        optimistic, honest = [], []
        for seed in range(8):
            labels, seen = observations(15, right=0.0, seed=10 * seed, names=names)
            optimistic.append(
                log_loss_of(chain.apply(chain.fitted(row, seen, labels), seen).log_probabilities, labels)
            )
            honest.append(log_loss_of(chain.cross_fitted(row, seen, labels, (), SEEDS), labels))
        assert np.mean(optimistic) < np.mean(honest)

    @pytest.mark.parametrize("names", [(), ("tta",), ("tta", "pairwise")])
    def test_where_nothing_is_fitted_it_is_the_answer(self, names):
        row, (labels, seen) = predictors(*names) if names else (), observations(7, names=names)
        found = chain.cross_fitted(row, seen, labels, (), SEEDS)
        assert torch.equal(found, chain.apply(row, seen).log_probabilities)

    @pytest.mark.parametrize(("count", "groups"), [(1, ()), (5, ("a",) * 5)])
    def test_where_nothing_can_be_left_out_it_is_of_predictors_as_they_are(self, count, groups):
        row, (labels, seen) = predictors(), observations(count)
        found = chain.cross_fitted(row, seen, labels, groups, SEEDS)
        assert torch.equal(found, chain.apply(row, seen).log_probabilities)

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 12])
    def test_every_image_has_an_answer(self, count):
        names = ("ensemble", "temperature")
        row, (labels, seen) = predictors(*names), observations(count, names=names)
        found = chain.cross_fitted(row, seen, labels, (), SEEDS).exp()
        torch.testing.assert_close(found.sum(dim=1), torch.ones(count, dtype=torch.float64))
