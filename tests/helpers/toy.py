"""A small training set, and a training of a few steps on it."""

import numpy as np
import pytest
import torch

from sit2.config.recipe import Recipe
from sit2.config.schema import make_config
from sit2.confusion.pairs import all_pairs
from sit2.events import EpochEnded
from sit2.methods.phases import make_phases, pairs_from
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS
from sit2.training.backbones import build_network
from sit2.training.device import make_fabric
from sit2.training.loop import Training
from sit2.training.training_set import Normalisation, TrainingSet

torch.set_num_threads(1)  # two on busy cores wait for each other

CLASSES = ("ant", "bee", "cat")


def at_epochs(call):
    """Return a listener that is interested in the ends of epochs alone."""

    def hear(event):
        if isinstance(event, EpochEnded):
            call(event)

    return hear


@pytest.fixture(scope="session")
def toy():
    """29 noisy images of three classes, each class a little brighter than the one before."""
    rng = np.random.default_rng(7)
    labels = (np.arange(29) % 3).astype(np.int64)
    noise = rng.integers(0, 160, (29, 3, 16, 16))
    return (noise + 40 * labels[:, None, None, None]).astype(np.uint8), labels


@pytest.fixture
def make_training_set(toy):
    """Make a training set of the toy images."""

    def make(*, seed=0, augment="flip", balanced=False, size=None):
        images, labels = toy
        if size is not None:
            images = np.ascontiguousarray(
                images.repeat(size // images.shape[2], 2).repeat(size // images.shape[3], 3)
            )
        return TrainingSet.of(
            images,
            labels,
            3,
            normalise=Normalisation.of(images),
            augment=PRESETS[augment],
            seeds=Seeds(seed).child("training"),
            balanced=balanced,
        )

    return make


@pytest.fixture
def make_training(make_training_set):
    """Make a training: three epochs of 29 images in batches of 7, so 12 steps, unless told otherwise.

    ``watch`` is called at the end of every epoch.
    """

    def make(method="multi-label", *, seed=0, network=None, phases=None, watch=None, **settings):
        parts = {k: settings.pop(k) for k in ("validate", "checkpoint") if k in settings}
        size = settings.pop("size", None)  # pixels a side, a multiple of the toy images' own
        if watch is not None:
            parts["listener"] = at_epochs(watch)
        config = make_config(
            {
                "image_size": 16,
                "backbone": "small-cnn",
                "batch_size": 7,
                "epochs": 3,
                "lr": 0.01,
                "weight_decay": 0.05,
                "warmup": 0.1,
                "pretrain_fraction": 0.5,
                "finetune_lr": 0.5,
                "precision": "32-true",
                "device": "cpu",
            },
            settings,
        )
        seeds = Seeds(seed)
        if network is None:
            integer = seeds.integer("network")
            network = build_network("small-cnn", channels=3, image_size=16, outputs=3, seed=integer)
        if phases is None:
            recipe = Recipe.parse(method)
            pairs = pairs_from(recipe.pairs, all_pairs(CLASSES)[:2], CLASSES, seeds)
            phases = make_phases(config.make_method(recipe.method), pairs, len(CLASSES))
        training_set = make_training_set(
            seed=seed, augment=config.augment, balanced=config.balance == "sampling", size=size
        )
        fabric = make_fabric(config.device, config.precision)
        return Training("toy", method, network, training_set, phases, config, seeds, fabric, **parts)

    return make


@pytest.fixture
def same_weights():
    """Say whether two networks, or state dicts, are equal to the last bit."""

    def same(one, other):
        one, other = (x if isinstance(x, dict) else x.state_dict() for x in (one, other))
        return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)

    return same
