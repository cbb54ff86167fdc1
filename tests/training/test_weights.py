"""Weights from files: ours, timm's, torchvision's; damaged ones, and ones that want to run code."""

import pickle
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from sit2.errors import ModelError
from sit2.training.backbones import build_network, load_encoder, read_weights


def build(backbone="test_resnet", *, seed=1, channels=3, **settings):
    return build_network(backbone, channels=channels, image_size=16, outputs=5, seed=seed, **settings)


def state_of(module):
    return {k: v.contiguous().clone() for k, v in module.state_dict().items()}


WRAPPINGS = {
    "bare": lambda network: state_of(network.encoder),
    "with a head": lambda network: {**state_of(network.encoder), "fc.weight": torch.zeros(9, 3)},
    "ours": state_of,
    "parallel": lambda network: {f"module.{k}": v for k, v in state_of(network.encoder).items()},
    "parallel, ours": lambda network: {f"module.{k}": v for k, v in state_of(network).items()},
    "state_dict": lambda network: {"epoch": 3, "state_dict": OrderedDict(state_of(network.encoder))},
    "model": lambda network: {"model": state_of(network.encoder)},
}


class TestRoundtrip:
    @pytest.mark.parametrize(
        ("suffix", "wrapping"),
        [("pth", w) for w in WRAPPINGS]
        + [
            ("safetensors", w) for w in WRAPPINGS if w not in {"state_dict", "model"}
        ],  # it holds tensors only
    )
    def test_weights_come_back(self, wrapping, suffix, tmp_path, same_weights):
        network, file = build(), tmp_path / f"weights.{suffix}"
        state = WRAPPINGS[wrapping](network)
        if suffix == "pth":
            torch.save(state, file)
        else:
            save_file(state, file)
        other = build(seed=2)
        head = state_of(other.head)
        assert load_encoder(other.encoder, file) == len(state_of(network.encoder))
        assert same_weights(other.encoder, network.encoder)
        assert same_weights(other.head, head)

    @pytest.mark.parametrize("place", ["", "model"])
    def test_a_folder_of_ours(self, place, tmp_path, same_weights):
        network = build()
        (tmp_path / place).mkdir(exist_ok=True)
        save_file(state_of(network), tmp_path / place / "model.safetensors")
        assert same_weights(build(seed=2, weights=tmp_path).encoder, network.encoder)

    @pytest.mark.parametrize("backbone", ["test_resnet", "small-cnn"])
    def test_colour_weights_on_gray_images_answer_as_on_gray_in_colour(self, backbone, tmp_path):
        colour = build(backbone)
        torch.save(state_of(colour.encoder), tmp_path / "colour.pth")
        gray = build(backbone, channels=1, seed=2, weights=tmp_path / "colour.pth")
        images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            ours = gray.encoder.eval()(images)
            theirs = colour.encoder.eval()(images.expand(2, 3, 16, 16))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


class TestRefused:
    def message(self, path, network=None):
        with pytest.raises(ModelError) as error:
            load_encoder((network or build()).encoder, path)
        return str(error.value)

    def test_another_networks_weights(self, tmp_path, same_weights):
        file = tmp_path / "other.pth"
        torch.save(state_of(build("small-cnn").encoder), file)
        network, before = build(), state_of(build())
        own = len(state_of(network.encoder))
        assert self.message(file, network) == (
            f"{file} does not fit this backbone: {own} of {own} tensors are missing or have another shape, "
            "such as 'conv1.0.weight'\nname the backbone that the weights were trained with"
        )
        assert same_weights(network, before)

    def test_one_tensor_too_few(self, tmp_path):
        state = state_of(build().encoder)
        state.pop("bn1.running_mean")
        torch.save(state, tmp_path / "less.pth")
        own = len(state) + 1
        assert (
            f"1 of {own} tensors are missing or have another shape, such as 'bn1.running_mean'"
            in self.message(tmp_path / "less.pth")
        )

    @pytest.mark.parametrize(
        ("saved", "wanted", "hint"),
        [
            (1, 3, "set --channels 1, or choose other weights"),
            (4, 1, "choose other weights"),
            (4, 3, "choose other weights"),
        ],
    )
    def test_channels_that_cannot_be_adapted(self, saved, wanted, hint, tmp_path):
        state = state_of(build().encoder)
        state["conv1.0.weight"] = torch.zeros(state["conv1.0.weight"].shape[0], saved, 3, 3)
        torch.save(state, tmp_path / "odd.pth")
        file = tmp_path / "odd.pth"
        assert self.message(file, build(channels=wanted)) == (
            f"{file} is for images of {saved} channels, but these have {wanted}\n{hint}"
        )

    @pytest.mark.parametrize("name", ["none.pth", "none.safetensors"])
    def test_no_such_file(self, name, tmp_path):
        file = tmp_path / name
        assert self.message(file) == f"no such weights file: {file}\nexpected .safetensors or .pth"

    def test_a_folder_without_a_model(self, tmp_path):
        assert self.message(tmp_path) == (
            f"no model.safetensors in {tmp_path}\nexpected a weights file or a sit2 run folder"
        )

    @pytest.mark.parametrize("content", [3, [torch.zeros(2)], {"a": 1}, {"a": {"b": torch.zeros(2)}}])
    def test_no_state_dict(self, content, tmp_path):
        file = tmp_path / "odd.pth"
        torch.save(content, file)
        assert self.message(file) == f"{file} is not a state dict\nexpected names with tensors"

    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    @pytest.mark.parametrize("damage", ["empty", "text", "cut", "gap"])
    def test_damaged(self, suffix, damage, tmp_path):
        file = tmp_path / f"damaged.{suffix}"
        save = torch.save if suffix == "pth" else save_file
        save(state_of(build().encoder), file)
        whole = file.read_bytes()
        file.write_bytes(
            {
                "empty": b"",
                "text": b"junk " * 20,
                "cut": whole[: len(whole) // 2],
                "gap": b"\0" * 90 + whole[90:],
            }[damage]
        )
        message = self.message(file)
        assert message.startswith(
            (f"cannot read the weights file {file}: ", f"refused {file}: it is damaged or")
        )
        assert len(message.split("\n")) == 1
        assert not message.endswith(": ")

    @pytest.mark.parametrize("zipped", [False, True])
    def test_code_is_not_executed(self, zipped, tmp_path):
        trap = tmp_path / "executed"

        class Evil:
            def __reduce__(self):
                return open, (str(trap), "w")

        file = tmp_path / "evil.pth"
        state = {**state_of(build().encoder), "evil": Evil()}
        if zipped:
            torch.save(state, file)
        else:
            file.write_bytes(pickle.dumps(state, protocol=2))
        message = self.message(file)
        assert message == f"refused {file}: it is damaged or holds more than tensors (UnpicklingError)"
        assert not trap.exists()
        if not zipped:  # the trap itself works: an ordinary unpickling springs it
            pickle.loads(file.read_bytes())["evil"].close()
            assert trap.exists()

    def test_a_whole_module_is_refused(self, tmp_path):
        file = tmp_path / "module.pth"
        torch.save(build().encoder, file)
        assert self.message(file).startswith(f"refused {file}: ")


def test_read_weights_gives_names_and_tensors(tmp_path):
    save_file({"a": torch.arange(3)}, tmp_path / "a.safetensors")
    assert read_weights(tmp_path / "a.safetensors")["a"].tolist() == [0, 1, 2]
