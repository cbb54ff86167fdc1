"""Margins, batches and fading not-sure images: against what they are said to be equal to."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sit2.confusion.pairs import all_pairs
from sit2.methods.batches import Composites, Originals, Together, fading
from sit2.methods.confusion_margin import ConfusionMargin
from sit2.methods.targets import class_or_none, class_or_not_sure
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS
from sit2.training.phase import CrossEntropyWithMargins, cross_entropy, cross_entropy_or_none
from sit2.training.training_set import Normalisation, TrainingSet

LABELS = np.array([0] * 23 + [1] * 17 + [2] * 9 + [3] * 40 + [4] * 11)


def pairs(*wanted):
    every = {(p.a, p.b): p for p in all_pairs("abcde")}
    return [replace(every[pair], score=0.2) for pair in wanted]


def numbered(steps=1, seed=0):
    images = np.zeros((len(LABELS), 1, 8, 8), np.uint8)
    plain = Normalisation((0.0,), (1.0,))
    made = TrainingSet.of(
        images, LABELS, 5, normalise=plain, augment=PRESETS["none"], seeds=Seeds(seed).child("training")
    )
    return made.for_phase(0, steps)


class TestMargins:
    def test_by_hand(self):
        margins = torch.tensor([[0.0, 1.5, 0.0], [1.5, 0.0, 0.5], [0.0, 0.5, 0.0]])
        logits = torch.tensor([[2.0, 1.0, 0.0], [0.3, 0.2, 0.1]])
        loss = CrossEntropyWithMargins(margins)(logits, F.one_hot(torch.tensor([0, 1]), 3).float(), None)
        first = -2.0 + np.log(np.exp(2.0) + np.exp(1.0 + 1.5) + 1)
        second = -0.2 + np.log(np.exp(0.3 + 1.5) + np.exp(0.2) + np.exp(0.1 + 0.5))
        assert float(loss) == pytest.approx((first + second) / 2, abs=1e-6)

    def test_without_alpha_it_is_plain(self):
        (phase,) = ConfusionMargin(margin_alpha=0.0).phases(pairs((0, 1)), 5)
        logits, targets = torch.randn(4, 5), F.one_hot(torch.tensor([0, 1, 4, 2]), 5).float()
        assert torch.equal(phase.loss(logits, targets, None), cross_entropy(logits, targets, None))

    def test_only_classes_of_a_pair_get_one_and_it_grows_with_alpha(self):
        small, large = (
            ConfusionMargin(margin_alpha=alpha).phases(pairs((0, 1)), 5)[0].loss for alpha in (1.0, 4.0)
        )
        logits = torch.zeros(1, 5)
        for label, changes in ((0, True), (1, True), (3, False)):
            target = F.one_hot(torch.tensor([label]), 5).float()
            one, more = small(logits, target, None), large(logits, target, None)
            assert (more > one) == changes


class TestTogether:
    BATCHES = Together(pairs((0, 1), (2, 3), (1, 2)), 8)

    def test_every_reading_holds_every_image_once(self):
        made = numbered()
        rows = torch.cat([self.BATCHES.draw(made, step, 9).left_row for step in range(34)])
        for reading in rows[:300].split(100):
            assert sorted(reading.tolist()) == list(range(100))

    def test_confused_classes_share_batches_more_often_than_in_a_plain_order(self):
        def company(batches):
            """How many images of class 0 stand beside one of class 1 in a batch of 16, on average."""
            found = []
            for seed in range(20):
                made = numbered(seed=seed)
                for step in range(6):
                    labels = batches.draw(made, step, 16).left
                    found += [int((labels == 0).sum())] * int((labels == 1).sum())
            return np.mean(found)

        assert company(Together(pairs((0, 1)), 8)) > company(Originals()) + 0.5

    def test_in_a_reading_no_class_has_two_partners(self):
        for n in range(30):
            drawn = self.BATCHES._partners(np.random.default_rng(n))
            assert drawn
            assert len({k for pair in drawn for k in pair}) == 2 * len(drawn)

    def test_a_block_holds_half_of_each(self):
        made = numbered()
        labels = torch.tensor(LABELS)[Together(pairs((0, 1)), 8)._reading(made, 0)]
        both = (labels < 2).long()
        runs = "".join(map(str, both.tolist()))
        assert runs.count("1") == 40
        starts = [n for n in range(93) if both[n : n + 8].all() and (labels[n : n + 8] == 0).sum() == 4]
        assert len(starts) >= 4  # of 23 and 17 images: four blocks

    def test_without_enough_images_for_a_block_it_is_the_plain_order(self):
        made = numbered()
        ours, plain = Together(pairs((2, 4)), 64).draw(made, 1, 20), Originals().draw(made, 1, 20)
        assert torch.equal(ours.left_row, plain.left_row)


class TestFading:
    def test_over_all_steps_it_is_half_of_where_it_began_and_at_the_end_nothing(self):
        counts = [fading(step, 32, 0.6, 50)[1] for step in range(50)]
        assert sum(counts) == 32 * 50 * 0.6 / 2
        assert counts[0] == pytest.approx(32 * 0.6, abs=1)
        assert counts[-1] <= 1
        assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(counts))
        assert fading(70, 32, 0.6, 50)[1] == 0

    def test_originals_are_read_on_where_the_step_before_ended(self):
        made, batches = numbered(steps=12), Composites(pairs((0, 1)), 0.5, 0.0, ("blend",), fades=True)
        drawn = [batches.draw(made, step, 10) for step in range(12)]
        originals = torch.cat([one.left_row[one.operator == -1] for one in drawn])
        assert torch.equal(originals, made.rows(0, len(originals)))
        mixed = [int(one.not_sure.sum()) for one in drawn]
        assert mixed[0] >= 4
        assert mixed[-1] <= 1

    def test_its_loss_is_that_of_one_more_output(self):
        """A softmax of K + 1 outputs says the same when the last logit is taken from all."""
        made = numbered(steps=4)
        mixed = Composites(pairs((0, 1)), 0.5, 0.0, ("blend",)).draw(made, 0, 10)
        wide = torch.randn(10, 6)
        expected = cross_entropy(wide, class_or_not_sure(mixed, 5), None)
        ours = cross_entropy_or_none(wide[:, :5] - wide[:, 5:], class_or_none(mixed, 5), None)
        torch.testing.assert_close(ours, expected)
