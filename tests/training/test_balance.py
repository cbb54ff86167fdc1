"""Class imbalance: weights make all classes count alike under every method; sampling shows every image."""

from collections import Counter

import numpy as np
import pytest
import torch

from sit2.confusion.pairs import all_pairs
from sit2.methods import METHODS
from sit2.methods.phases import make_phases
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS
from sit2.training.balance import output_weights
from sit2.training.training_set import Normalisation, TrainingSet

torch.set_num_threads(1)


def training_set(counts, *, balanced=False, seed=0):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 11, 11), dtype=np.uint8)
    return TrainingSet.of(
        images,
        labels,
        len(counts),
        normalise=Normalisation.of(images),
        augment=PRESETS["flip"],
        seeds=Seeds(seed),
        balanced=balanced,
    )


def targets_of(phase, source, *, steps):
    """What a phase really asks for: (outputs,) the sum of its targets over real batches."""
    drawn = [phase.batches.draw(source, step, 40) for step in range(steps)]
    return sum(phase.targets(mixed, source.num_classes).sum(dim=0) for mixed in drawn)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, one in METHODS.items() if not one.in_closed_form])
@pytest.mark.parametrize("counts", [(90, 10), (70, 20, 7, 3)])
def test_under_every_method_all_classes_ask_for_the_same(name, counts):
    """not-sure corrected 9 : 1 to 3.3 : 1 only, when composites without a class counted as even."""
    source = training_set(counts)
    classes = [f"class {k}" for k in range(len(counts))]
    for phase in make_phases(METHODS[name](), all_pairs(classes), len(counts)):
        weight = output_weights(phase, source, batch_size=40)
        if phase.outputs < len(counts):
            assert weight is None
            continue
        asked = (targets_of(phase, source, steps=500) * weight)[: len(counts)]
        assert weight[len(counts) :].tolist() == [1.0] * (phase.outputs - len(counts))
        # Rare classes are drawn seldom, so chance is left; it was a factor of 2.7 in the fault.
        assert float(asked.max() / asked.min()) < 1.25


def test_weights_do_not_change_how_much_is_asked_for_in_all():
    source = training_set((90, 10))
    (phase,) = make_phases(METHODS["plain"](), [], 2)
    weight = output_weights(phase, source, batch_size=20)
    assert weight.tolist() == pytest.approx([100 / 180, 100 / 20])


def test_a_class_that_no_image_has_weighs_one():
    source = training_set((5, 0, 5))
    (phase,) = make_phases(METHODS["plain"](), [], 3)
    assert output_weights(phase, source, batch_size=5).tolist() == pytest.approx([1.0, 1.0, 1.0])


class TestSampling:
    def test_an_epoch_repeats_no_image_of_a_class_before_all_were_seen(self):
        """With classes of 37, 1, 1 and 1 an epoch drawn with replacement saw 11 of 40 images."""
        source = training_set((37, 1, 1, 1), balanced=True)
        epoch = source.rows(0, 40).tolist()
        assert len(set(epoch)) == 13
        assert Counter(int(source.labels[row]) for row in epoch) == {0: 10, 1: 10, 2: 10, 3: 10}
        large = [row for row in source.rows(0, 160).tolist() if row < 37]
        assert len(large) == 40
        assert set(large) == set(range(37))

    @pytest.mark.parametrize("counts", [(11, 7, 2), (5, 5), (3, 0, 4), (1, 13)])
    def test_classes_take_turns_and_every_image_of_a_class_comes_as_often(self, counts):
        source = training_set(counts, balanced=True)
        drawn = source.rows(0, 60 * sum(counts)).tolist()
        times = Counter(drawn)
        labels = source.labels.tolist()
        by_class = Counter(labels[row] for row in drawn)
        assert max(by_class.values()) - min(by_class.values()) <= 1
        for k in by_class:
            own = [times[row] for row in range(len(labels)) if labels[row] == k]
            assert max(own) - min(own) <= 1

    def test_it_does_not_matter_where_reading_begins(self):
        source = training_set((11, 7, 2), balanced=True)
        whole = source.rows(0, 75).tolist()
        again = training_set((11, 7, 2), balanced=True)
        assert again.rows(33, 42).tolist() == whole[33:]
        assert again.rows(5, 20).tolist() == whole[5:25]
