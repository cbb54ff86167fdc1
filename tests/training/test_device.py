"""Where training runs."""

import pytest
import torch

from sit2.errors import ConfigError
from sit2.training.device import make_fabric, pick_device, pick_precision, threads


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_here(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError) as error:
        pick_device(name)
    assert str(error.value) == f"this machine has no {name!r} device\nuse --device auto"
    assert pick_device("auto") == pick_device("cpu") == "cpu"


def test_auto_prefers_the_accelerator(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == "cuda"
    assert pick_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({}, "32-true"), ({"avx512_bf16": True}, "bf16-mixed"), ({"amx_bf16": True}, "bf16-mixed")],
)
def test_precision_follows_the_processor(capabilities, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert pick_precision("auto", "cpu") == precision
    assert pick_precision("16-mixed", "cpu") == "16-mixed"


def test_fabric_is_where_it_was_asked_to_be():
    assert make_fabric("cpu", "32-true").device == torch.device("cpu")


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with threads(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), threads(before + 2):
        raise KeyError
    assert torch.get_num_threads() == before
    with threads(0):
        assert torch.get_num_threads() == before
