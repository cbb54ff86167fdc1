"""export: another runtime, without sit2 or torch, gives what the model gives."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import CLASSES, Finished, command, finished

import sit2.inference.export
from sit2.errors import ModelError
from sit2.inference.export import export_onnx, to_onnx
from sit2.inference.model import Classifier, ModelSpec

onnxruntime = pytest.importorskip("onnxruntime")

Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


def classifier(backbone: str, *, channels: int, size: int) -> Classifier:
    """Return a network whose normalisation is no identity, in any channel."""
    spec = ModelSpec(
        backbone,
        ("é", "b", "c", "d", "e"),
        channels,
        size,
        "pad",
        mean=(0.5, 0.25, 0.75)[:channels],
        std=(0.125, 0.25, 0.5)[:channels],
        method="plain",
    )
    network = spec.build(seed=1)
    with torch.no_grad():
        for buffer in network.buffers():  # a fresh batch norm does nothing
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(buffer.numel()))
    return Classifier(spec, network.eval())


def session(content: bytes | str):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("backbone", "channels", "size"),
    [("small-cnn", 1, 19), ("small-cnn", 3, 16), ("resnet18", 3, 37), ("vit_tiny_patch16_224", 3, 32)],
)
def test_every_kind_of_network_gives_the_model_s_probabilities(backbone, channels, size) -> None:
    model = classifier(backbone, channels=channels, size=size)
    network = session(to_onnx(model))
    draw = np.random.default_rng(3)
    for count in (1, 2, 7):  # another number than the one it was traced with
        images = draw.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
        (given,) = network.run(["probabilities"], {"images": images})
        assert given.dtype == np.float32
        assert given == pytest.approx(model.predict_proba(images), abs=1e-5)
        assert np.ptp(model.predict_proba(images)) > 1e-3  # not all alike, which anything would give


def test_the_file_says_what_its_pixels_and_columns_are() -> None:
    model = classifier("small-cnn", channels=3, size=16)
    network = session(to_onnx(model))
    (taken,), (given,) = network.get_inputs(), network.get_outputs()
    assert (taken.name, taken.type, taken.shape) == ("images", "tensor(uint8)", ["N", 3, 16, 16])
    assert (given.name, given.type, given.shape) == ("probabilities", "tensor(float)", ["N", 5])
    known = network.get_modelmeta().custom_metadata_map
    assert json.loads(known["classes"]) == ["é", "b", "c", "d", "e"]
    how = json.loads(known["preprocessing"])
    assert (how["image_size"], how["channels"], how["resize"]) == (16, 3, "pad")
    assert (known["backbone"], known["method"]) == ("small-cnn", "plain")


def test_one_model_gives_one_file_which_tells_nothing_of_the_machine() -> None:
    model = classifier("small-cnn", channels=3, size=16)
    content = to_onnx(model)
    assert content == to_onnx(model)
    for place in (Path(sit2.inference.export.__file__).parent, Path(torch.__file__).parent, Path.cwd()):
        assert str(place).encode() not in content
    assert b".py" not in content


def test_the_command_writes_beside_the_model(done: Finished, tmp_path: Path, capfd: Printed) -> None:
    assert command(("export", done.run, "-o", tmp_path / "a" / "b", "--quiet")) == 0
    assert capfd.readouterr() == ("", "")  # of torch's and ONNX Runtime's own parts too
    assert command(("export", done.run, "-o", tmp_path / "a" / "b", "--overwrite")) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    assert printed.out.startswith(f"Written: {tmp_path / 'a' / 'b' / 'model.onnx'} (")
    assert "ONNX Runtime gives the model's own probabilities, to within" in printed.out
    Classifier.load(done.run).save(tmp_path / "moved")
    assert command(("export", tmp_path / "moved")) == 0
    written = (tmp_path / "moved" / "model.onnx").read_bytes()
    assert written == (tmp_path / "a" / "b" / "model.onnx").read_bytes()


def test_on_image_files_it_gives_what_predict_gives(done: Finished, tmp_path: Path) -> None:
    from PIL import Image

    path, difference = export_onnx(done.run, tmp_path)
    assert 0 <= difference < 1e-5
    table = pd.read_csv(done.run / "predictions" / "multi-label.csv").iloc[:5]
    images = [np.asarray(Image.open(done.data / name)).transpose(2, 0, 1) for name in table["path"]]
    (given,) = session(str(path)).run(None, {"images": np.stack(images)})
    assert given == pytest.approx(table[[f"p_{name}" for name in CLASSES]].to_numpy(), abs=2e-6)


def test_a_file_that_is_there_is_replaced_only_when_asked(
    done: Finished, tmp_path: Path, capsys: Printed
) -> None:
    there = tmp_path / "model.onnx"
    there.write_text("precious")
    assert command(("export", done.run, "-o", tmp_path)) == 2
    assert capsys.readouterr().err == (
        f"sit2: there is a {there} already\nuse --overwrite to replace it, or another -o\n"
    )
    assert there.read_text() == "precious"
    assert command(("export", done.run, "-o", tmp_path, "--overwrite")) == 0
    assert there.stat().st_size > 100_000


@pytest.mark.parametrize("name", ["model.onnx", "file"])
def test_a_file_is_no_folder_to_write_into(
    done: Finished, tmp_path: Path, capsys: Printed, name: str
) -> None:
    (tmp_path / "file").write_text("precious")
    assert command(("export", done.run, "-o", tmp_path / name)) == 2
    assert capsys.readouterr().err == (
        f"sit2: {tmp_path / name} is not a folder\nname one with -o; model.onnx is written into it\n"
    )
    assert (tmp_path / "file").read_text() == "precious"


def test_what_is_no_model_is_said(tmp_path: Path, capsys: Printed) -> None:
    assert command(("export", tmp_path, "-o", tmp_path / "out")) == 2
    assert capsys.readouterr().err.startswith(f"sit2: there is no model.json in {tmp_path}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_cure(
    done: Finished, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert command(("export", done.run, "-o", tmp_path / "out")) == 2
    assert capsys.readouterr().err.endswith("\npip install 'sit2[onnx]'\n")
    assert not (tmp_path / "out").exists()


def test_a_file_that_gives_something_else_is_not_written(
    done: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Classifier.load(done.run)
    with torch.no_grad():
        loaded.network.head.bias[0] += 0.01
    wrong = to_onnx(loaded)
    monkeypatch.setattr(sit2.inference.export, "to_onnx", lambda _: wrong)
    with pytest.raises(ModelError, match="gives other probabilities than the model, by up to"):
        export_onnx(done.run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_that_onnx_has_no_words_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier("small-cnn", channels=3, size=16)
    monkeypatch.setattr(model.network, "forward", lambda images: torch.linalg.eigvals(images[:, 0]).real)
    with pytest.raises(ModelError, match="'small-cnn' cannot be exported to ONNX: "):
        to_onnx(model)
