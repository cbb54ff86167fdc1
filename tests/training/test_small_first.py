"""The first steps of a training see smaller images, where that was asked for."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sit2.config.schema import make_config
from sit2.errors import TrainingError
from sit2.training import loop
from sit2.training.backbones import Network, build_network

SIDES = st.integers(1, 600)


class Sides(nn.Module):
    """A small encoder that remembers the side of what it saw in training."""

    def __init__(self):
        super().__init__()
        self.layer, self.sides = nn.Linear(3, 5), []

    def forward(self, images):
        if self.training:
            assert images.shape[2] == images.shape[3]
            self.sides.append(images.shape[2])
        return self.layer(images.mean(dim=(2, 3)))


def network_of(encoder):
    torch.manual_seed(0)
    return Network(encoder, 5, 3)


@pytest.mark.parametrize(("side", "small"), [(16, 16), (64, 64), (96, 64), (128, 96), (160, 96), (224, 160)])
def test_first_images_are_about_two_thirds_as_large(side, small):
    assert make_config({"small_first": 0.1}).small_side(side) == small
    assert make_config({}).small_side(side) == side


@pytest.mark.parametrize("method", ["plain", "multi-label"])
def test_the_first_steps_of_all_phases_together_see_smaller_images(method, make_training):
    training = make_training(
        method, network=network_of(Sides()), size=96, small_first=0.6, pretrain_fraction=0.5
    )
    steps = training.config.total_steps(29)
    training.run()
    sides = training.network.encoder.sides
    assert len(sides) == steps
    few = sum(step < 0.6 * steps for step in range(steps))
    assert sides == [64] * few + [96] * (steps - few)


def test_a_killed_training_goes_on_to_the_same_weights(make_training, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)

    def one(**more):
        network = build_network("small-cnn", channels=3, image_size=96, outputs=3, seed=3)
        return make_training("plain", network=network, size=96, small_first=0.5, epochs=4, **more)

    whole = one()
    whole.run()

    seen = []

    def killed(event):
        seen.append(event)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one(watch=killed, checkpoint=tmp_path / "state").run()
    again = one(checkpoint=tmp_path / "state")
    again.run()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_a_network_for_one_size_is_refused_in_words(make_training):
    network = build_network(
        "vit_tiny_patch16_224", channels=3, image_size=96, outputs=3, seed=0, pretrained=False
    )
    training = make_training("plain", network=network, size=96, small_first=0.5)
    training.config = dataclasses.replace(training.config, backbone="vit_tiny_patch16_224")
    with pytest.raises(TrainingError, match="takes no images of 64 × 64") as error:
        training.run()
    assert "--small-first 0" in str(error.value)


@given(
    first=st.floats(0, 1),
    side=SIDES,
    images=st.integers(1, 10**5),
    parts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_work_grows_with_the_samples_and_is_what_pixels_cost(first, side, images, parts):
    config = make_config({"small_first": first})
    whole = config.total_steps(images) * config.step_size
    less, more = sorted(part * whole for part in parts)
    assert 0 <= config.work(images, side, less) <= config.work(images, side, more) <= more + 1e-9
    small = (config.small_side(side) / side) ** 2
    assert config.work(images, side) == pytest.approx(whole * (first * small + 1 - first))
