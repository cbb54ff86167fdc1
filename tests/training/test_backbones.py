"""Networks by name, fitted to small images."""

import pytest
import timm
import torch
from torch import nn

from sit2.errors import ConfigError
from sit2.training.backbones import SmallCNN, build_network, widen_stem


def build(backbone, **settings):
    return build_network(backbone, **{"channels": 3, "image_size": 16, "outputs": 5, "seed": 1, **settings})


def look(network, size, channels=3):
    with torch.no_grad():
        return network.eval()(torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(0)))


class TestSmallCNN:
    @pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 16), (37, 61)])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_features(self, height, width, channels):
        features = SmallCNN(channels).eval()(torch.rand(2, channels, height, width))
        assert features.shape == (2, SmallCNN.num_features)

    def test_is_small(self):
        network = build("small-cnn")
        assert 250_000 < sum(p.numel() for p in network.encoder.parameters()) < 300_000
        assert len([m for m in network.modules() if isinstance(m, nn.Conv2d)]) == 6

    def test_starts_from_chance_though_others_are_pretrained(self, same_weights):
        assert same_weights(build("small-cnn", pretrained=True), build("small-cnn"))


class TestBuild:
    @pytest.mark.parametrize("backbone", ["small-cnn", "test_resnet"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_the_seed_alone_decides(self, backbone, channels, same_weights):
        state = torch.get_rng_state()
        one = build(backbone, channels=channels)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(7)
        assert same_weights(one, build(backbone, channels=channels))
        other = build(backbone, channels=channels, seed=2)
        assert not torch.equal(look(one, 16, channels), look(other, 16, channels))
        assert look(one, 16, channels).shape == (2, 5)

    def test_a_new_head_is_decided_by_its_seed_and_leaves_the_encoder(self, same_weights):
        network, other = build("small-cnn"), build("small-cnn", seed=2)
        before = {k: v.clone() for k, v in network.encoder.state_dict().items()}
        state = torch.get_rng_state()
        network.new_head(7, seed=3)
        other.new_head(7, seed=3)
        assert torch.equal(torch.get_rng_state(), state)
        assert same_weights(network.head, other.head)
        assert same_weights(network.encoder, before)
        assert look(network, 16).shape == (2, 7)
        other.new_head(7, seed=4)
        assert not same_weights(network.head, other.head)

    @pytest.mark.parametrize(
        ("backbone", "size"),
        [
            ("vit_tiny_patch16_224", 64),
            ("vit_tiny_patch16_224", 24),  # less than two patches
            ("swin_tiny_patch4_window7_224", 64),
            ("levit_128s", 64),
            ("convnext_atto", 32),
            ("mobilenetv3_small_050", 32),
        ],
    )
    def test_families_of_networks_take_small_images(self, backbone, size):
        assert look(build(backbone, image_size=size), size).shape == (2, 5)

    @pytest.mark.parametrize(
        ("backbone", "hint"),
        [
            ("resnet81", "did you mean 'resnet18' or 'resnet61q'?"),
            ("smal-cnn", "did you mean 'small-cnn'?"),
            ("qqqqqqqq", "expected 'efficientnet-lite0', 'small-cnn' or a timm model, such as 'resnet18'"),
        ],
    )
    def test_an_unknown_backbone(self, backbone, hint):
        with pytest.raises(ConfigError) as error:
            build(backbone)
        first, second = str(error.value).split("\n")
        assert first == f"unknown backbone {backbone!r}"
        if backbone == "resnet81":  # the second guess depends on timm's version
            assert second.startswith("did you mean 'resnet18'")
        else:
            assert second == hint

    def test_a_network_that_is_too_deep_for_the_images(self):
        with pytest.raises(ConfigError) as error:
            build("inception_v3", image_size=32)
        message = str(error.value)
        assert message.startswith(
            "cannot get 'inception_v3' for this image size: Calculated padded input size"
        )
        assert message.endswith("\nchoose another backbone or --image-size")

    def test_pretrained_weights_without_a_network(self, monkeypatch, tmp_path):
        from huggingface_hub import constants

        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(ConfigError) as error:
            build("test_resnet", pretrained=True)
        message = str(error.value)
        assert message.startswith("cannot get the pretrained weights of 'test_resnet': ")
        assert "--weights FILE" in message
        assert len(message.split("\n")) == 2


class TestWidenStem:
    def last_map(self, encoder, size):
        with torch.no_grad():
            return encoder.eval().forward_features(torch.zeros(1, 3, size, size)).shape[-1]

    @pytest.mark.parametrize(("size", "before", "after"), [(32, 1, 4), (48, 2, 6), (64, 2, 4), (96, 3, 3)])
    def test_resnet18(self, size, before, after):
        assert self.last_map(timm.create_model("resnet18", num_classes=0), size) == before
        assert self.last_map(build("resnet18", image_size=size).encoder, size) == after

    @pytest.mark.parametrize("backbone", ["test_resnet", "mobilenetv3_small_050", "convnext_atto"])
    @pytest.mark.parametrize("size", [32, 64])
    def test_maps_grow_and_weights_keep_their_shapes(self, backbone, size):
        plain, wide = (timm.create_model(backbone, num_classes=0) for _ in range(2))
        before = self.last_map(plain, size)
        widen_stem(wide, size)
        assert self.last_map(wide, size) > before
        wide.load_state_dict(plain.state_dict())

    def test_pooling_goes_first(self):
        encoder = timm.create_model("resnet18", num_classes=0)
        widen_stem(encoder, 64)
        assert isinstance(encoder.maxpool, nn.Identity)
        assert encoder.conv1.stride == (2, 2)
        widen_stem(encoder, 32)
        assert encoder.conv1.stride == (1, 1)
