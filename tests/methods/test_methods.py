"""One contract for every method, with every source of pairs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sit2.config.recipe import Recipe
from sit2.confusion.pairs import all_pairs
from sit2.methods import METHODS
from sit2.methods.batches import Originals
from sit2.methods.phases import make_phases, pairs_from
from sit2.methods.targets import SmoothedTargets, one_class
from sit2.parameters import parameters_of
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS
from sit2.training.backbones import build_network
from sit2.training.phase import CrossEntropyWithMargins, cross_entropy, cross_entropy_or_none
from sit2.training.training_set import Normalisation, TrainingSet

SIT2 = [name for name, method in METHODS.items() if method.uses_pairs]
TRAINED = [name for name, method in METHODS.items() if not method.in_closed_form]
NAMES = [*TRAINED, *(f"{name}@{source}" for name in SIT2 for source in ("random", "all"))]
VARIANTS = [(name, {}) for name in NAMES] + [
    (f"{name}{source}", setting)
    for name, setting in (
        ("not-sure", {"not_sure_classes": "pairs"}),
        ("sure-or-not", {"sure_classes": "classes"}),
    )
    for source in ("", "@all")
]


def classes(num_classes):
    return [f"class {k}" for k in range(num_classes)]


def some_pairs(num_classes):
    """A single pair where there is one only, else two that share a class."""
    return [p for p in all_pairs(classes(num_classes)) if (p.a, p.b) in {(0, 1), (1, 2)}]


def method_of(name, **settings):
    """A method with the settings that it has of these."""
    kind = METHODS[name]
    own = {one.name for one in parameters_of(kind)}
    settings = {"pretrain_fraction": 0.6, "finetune_lr": 0.2, **settings}
    return kind(**{k: v for k, v in settings.items() if k in own})


def phases_of(name, num_classes, seed=0, **settings):
    recipe = Recipe.parse(name)
    pairs = pairs_from(recipe.pairs, some_pairs(num_classes), classes(num_classes), Seeds(seed))
    return make_phases(method_of(recipe.method, **settings), pairs, num_classes)


@pytest.fixture(scope="module")
def sets():
    made = {}
    for num_classes in (2, 3, 7):
        labels = np.arange(5 * num_classes) % num_classes
        images = np.random.default_rng(0).integers(0, 256, (len(labels), 3, 16, 16), np.uint8)
        made[num_classes] = TrainingSet.of(
            images,
            labels,
            num_classes,
            normalise=Normalisation.of(images),
            augment=PRESETS["flip"],
            seeds=Seeds(0).child("training"),
        )
    return made


@pytest.mark.parametrize("num_classes", [2, 3, 7])
@pytest.mark.parametrize(("name", "settings"), VARIANTS)
class TestContract:
    def test_fractions_sum_to_one(self, name, settings, num_classes):
        phases = phases_of(name, num_classes, **settings)
        assert sum(phase.fraction for phase in phases) == pytest.approx(1)
        assert all(phase.fraction > 0 for phase in phases)
        assert len({phase.name for phase in phases}) == len(phases)

    def test_batches_targets_and_gradients(self, name, settings, num_classes, sets):
        for number, phase in enumerate(phases_of(name, num_classes, **settings)):
            training_set = sets[num_classes].for_phase(number)
            network = build_network("small-cnn", channels=3, image_size=16, outputs=phase.outputs, seed=0)
            for step, size in ((0, 7), (1, 7), (12, 13)):
                mixed = phase.batches.draw(training_set, step, size)
                assert mixed.images.shape == (size, 3, 16, 16)
                assert mixed.images.isfinite().all()
                for values in (mixed.left, mixed.right, mixed.weight, mixed.operator, mixed.left_row):
                    assert values.shape == (size,)
                targets = phase.targets(mixed, num_classes)
                assert targets.shape == (size, phase.outputs)
                assert targets.dtype == torch.float32
                assert targets.min() >= 0
                assert targets.max() <= 1
                if phase.loss is cross_entropy:
                    torch.testing.assert_close(targets.sum(dim=1), torch.ones(size))
                loss = phase.loss(network(mixed.images), targets, None)
                loss.backward()
            gradients = [p.grad for p in network.parameters()]
            assert all(g is not None and g.isfinite().all() for g in gradients)
            assert any(g.abs().max() > 0 for g in gradients)

    def test_the_last_phase_is_a_softmax_over_the_classes_on_originals(
        self, name, settings, num_classes, sets
    ):
        last = phases_of(name, num_classes, **settings)[-1]
        assert last.outputs == num_classes
        assert last.loss in (cross_entropy, cross_entropy_or_none) or isinstance(
            last.loss, CrossEntropyWithMargins
        )
        if name.partition("@")[0] not in {
            "mixup",
            "cutmix",
            "soft-label",
            "not-sure-fading",
        }:  # all is in one phase
            mixed = last.batches.draw(sets[num_classes], 0, 7)
            assert torch.equal(mixed.left_row, mixed.right_row)
            assert mixed.weight.tolist() == [1] * 7
            assert mixed.operator.tolist() == [-1] * 7

    def test_a_pretraining_method_keeps_the_settings_of_fine_tuning(self, name, settings, num_classes):
        phases = phases_of(name, num_classes, **settings)
        if len(phases) == 2:
            assert [p.name for p in phases] == ["pretrain", "fine-tune"]
            assert phases[0].fraction == 0.6
            assert phases[1].encoder_lr == 0.2
            assert phases[0].encoder_lr == 1
            assert isinstance(phases[1].batches, Originals)
            assert phases[1].targets is one_class


def test_which_methods_have_how_many_phases():
    count = {name: len(phases_of(name, 3)) for name in METHODS}
    assert count.pop("linear") == 0
    single = {"plain", "label-smoothing", "mixup", "cutmix", "soft-label", "confusion-smoothing"}
    single |= {"confusion-margin", "confusion-batches", "not-sure-fading"}
    assert {name for name, n in count.items() if n == 1} == single
    assert set(count.values()) == {1, 2}


@pytest.mark.parametrize(
    ("name", "settings", "outputs"),
    [
        ("plain-restart", {}, 7),
        ("mixup-finetune", {}, 7),
        ("multi-label", {}, 7),
        ("sure-or-not", {}, 1),
        ("sure-or-not", {"sure_classes": "classes"}, 8),
        ("not-sure", {}, 8),
        ("not-sure", {"not_sure_classes": "pairs"}, 9),
        ("not-sure@all", {"not_sure_classes": "pairs"}, 28),
    ],
)
def test_outputs_in_pretraining(name, settings, outputs):
    assert phases_of(name, 7, **settings)[0].outputs == outputs


@pytest.mark.parametrize(
    ("name", "settings", "kinds"),  # originals, sure composites, not-sure images of 3 classes and 2 pairs
    [
        ("multi-label", {}, [0, 0.5, 0.5]),
        ("sure-or-not", {}, [0, 0.5, 0.5]),
        ("not-sure", {}, [3 / 4, 0, 1 / 4]),
        ("not-sure", {"not_sure_classes": "pairs"}, [3 / 5, 0, 2 / 5]),
        ("plain-restart", {}, [1, 0, 0]),
    ],
)
def test_what_pretraining_sees(name, settings, kinds, sets):
    phase = phases_of(name, 3, **settings)[0]
    count = np.zeros(3)
    for step in range(20):
        mixed = phase.batches.draw(sets[3], step, 7)
        kind = torch.where(mixed.operator == -1, 0, torch.where(mixed.not_sure, 2, 1))
        count += np.bincount(kind.numpy(), minlength=3)
    assert count / 140 == pytest.approx(kinds, abs=1 / 140)


class TestPairs:
    def test_random_pairs_are_as_many_and_depend_on_the_seed(self):
        drawn = {tuple(self.pairs("multi-label@random", seed)) for seed in range(20)}
        assert {len(pairs) for pairs in drawn} == {2}
        assert len(drawn) > 10
        assert self.pairs("multi-label@random", 3) == self.pairs("multi-label@random", 3) != []

    def test_random_pairs_have_the_scores_of_the_chosen_ones(self):
        """So that weighing by scores is the same with both."""
        chosen = [replace(pair, score=0.1 * n) for n, pair in enumerate(some_pairs(7), 1)]
        drawn = pairs_from("random", chosen, classes(7), Seeds(0))
        assert [pair.score for pair in drawn] == [0.1, 0.2]
        assert pairs_from("chosen", chosen, classes(7), Seeds(0)) == chosen

    def test_methods_of_one_seed_share_their_random_pairs(self):
        assert self.pairs("multi-label@random", 3) == self.pairs("not-sure@random", 3)

    def test_all_pairs(self):
        assert len(self.pairs("multi-label@all", 0)) == 21

    def test_chosen_pairs(self):
        assert self.pairs("multi-label", 0) == [(0, 1), (1, 2)]

    @pytest.mark.parametrize("name", SIT2)
    def test_without_pairs_a_method_trains_plainly(self, name):
        assert pairs_from("random", [], classes(3), Seeds(0)) == []
        (phase,) = make_phases(method_of(name, phase_smoothing=0.2), [], 3)
        (plain,) = make_phases(method_of("plain"), [], 3)
        assert phase == plain

    @staticmethod
    def pairs(name, seed):
        return [(pair.a, pair.b) for pair in phases_of(name, 7, seed)[0].batches.pairs]


def test_settings_reach_the_methods():
    (smooth,) = phases_of("label-smoothing", 3, label_smoothing=0.3)
    assert smooth.targets.epsilon == 0.3
    assert phases_of("mixup", 3, mixup_alpha=0.7)[0].batches.alpha == 0.7
    assert phases_of("mixup-finetune", 3, mixup_alpha=0.7)[0].batches.alpha == 0.7
    assert phases_of("cutmix", 3, mixup_alpha=0.7)[0].batches.alpha == 1.0
    for name in ("not-sure", "sure-or-not", "multi-label"):
        assert phases_of(name, 3, operators=("halves",))[0].batches.operators == ("halves",)


@pytest.mark.parametrize("name", ["not-sure", "sure-or-not", "multi-label", "soft-label"])
def test_smoothing_of_phases_is_of_softmax_targets_alone(name, sets):
    smoothed, plain = (phases_of(name, 3, phase_smoothing=epsilon) for epsilon in (0.2, 0.0))
    for one, other in zip(smoothed, plain, strict=True):
        assert (one.name, one.loss, one.outputs) == (other.name, other.loss, other.outputs)
        assert isinstance(one.targets, SmoothedTargets) == (one.loss is cross_entropy)
        mixed = one.batches.draw(sets[3], 0, 7)
        expected = other.targets(mixed, 3)
        if one.loss is cross_entropy:
            expected = expected * 0.8 + 0.2 / one.outputs
        torch.testing.assert_close(one.targets(mixed, 3), expected)
    assert smoothed[-1].loss is cross_entropy


# What each setting of the methods is changed to, to see whose phases it changes.
CHANGED = {
    "label_smoothing": 0.3,
    "mixup_alpha": 0.7,
    "pretrain_fraction": 0.3,
    "finetune_lr": 0.9,
    "soft_originals": 0.6,
    "soft_alpha": 0.3,
    "soft_emphasis": 0.9,
    "soft_cut": 0.4,
    "phase_smoothing": 0.2,
    "smoothing_emphasis": 0.9,
    "not_sure_classes": "pairs",
    "sure_classes": "classes",
    "operators": ("blend",),
    "margin_alpha": 3.0,
    "batch_block": 4,
    "fading_fraction": 0.3,
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_declares_what_its_phases_depend_on_and_nothing_else(name):
    """The key of a training holds what the method declares."""
    before = str(phases_of(name, 3))
    for one in parameters_of(METHODS[name]):
        assert str(phases_of(name, 3, **{one.name: CHANGED[one.name]})) != before, one.name


def test_every_setting_of_the_methods_is_tried():
    assert {one.name for kind in METHODS.values() for one in parameters_of(kind)} == set(CHANGED)
