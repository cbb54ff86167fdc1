"""export: another runtime, without sit2 or torch, gives what the model gives."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import CLASSES, Finished, command, finished

import sit2.inference.export
from sit2.errors import ModelError
from sit2.features.frozen import Extractor
from sit2.inference.asked_network import Members
from sit2.inference.export import NEAR, export_onnx, to_onnx
from sit2.inference.model import Model, empty_network
from sit2.inference.model_spec import ModelSpec, described
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import Known
from sit2.records import ClassPair
from sit2.seeds import Seeds

onnxruntime = pytest.importorskip("onnxruntime")

Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


def made(backbone: str = "small-cnn", *, channels: int = 3, size: int = 16, networks: int = 1) -> Model:
    """Return a model whose normalisation is no identity, in any channel."""
    spec = ModelSpec(
        recipe="plain",
        backbone=backbone,
        classes=("é", "b", "c", "d", "e"),
        channels=channels,
        image_size=size,
        resize="pad",
        mean=(0.5, 0.25, 0.75)[:channels],
        std=(0.125, 0.25, 0.5)[:channels],
        augment="dihedral",
        networks=networks,
    )
    network = empty_network(spec)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, buffer in network.named_buffers():  # a fresh batch norm does nothing
            if name.endswith(("running_mean", "running_var")):
                low, high = (-0.1, 0.1) if name.endswith("mean") else (0.5, 1.5)
                buffer.uniform_(low, high, generator=draw)
        for name, weight in network.named_parameters():
            if name.endswith("head.weight"):  # images get answers that differ
                weight.mul_(10)
    return Model(spec, network.eval())


def with_predictors(model: Model, *names: str, known: int = 29, frozen: bool = False) -> Model:
    """Return it with predictors that learned from noise, and were fitted to noise.

    ``frozen``: they learn from the features that its encoder starts with, too.
    """
    spec, draw = model.spec, np.random.default_rng(5)
    shape = (known + 20, spec.channels, spec.image_size, spec.image_size)
    images = draw.integers(0, 256, shape, dtype=np.uint8)
    predictors = tuple(PREDICTORS[name]() for name in names)
    extractor = features = None
    if frozen:
        encoder = empty_network(replace(spec, stages=True)).eval().encoder
        extractor = Extractor(encoder, spec.mean, spec.std, mirror=True)
        features = torch.from_numpy(extractor.extract(images, np.arange(known)))
    recipe = "+".join([spec.recipe, *names])
    own = replace(spec, recipe=recipe, predictors=tuple(described(one) for one in predictors))
    learned = Model(own, model.network, predictors).learned(
        Known(
            images=images,
            rows=np.arange(known),
            labels=np.arange(known) % 5,
            groups=(),
            num_classes=5,
            pairs=[ClassPair(0, 1, "é", "b", 0.1, 0.0, 0.2, confused=1.0, samples=9, chosen=True)],
            augmentation=spec.augmentation,
            seeds=Seeds(0),
            device=torch.device("cpu"),
            features=features,
            extractor=extractor,
        )
    )
    rows = np.arange(known, known + 20)
    seen = learned.observe(images, rows)
    return learned.fitted(seen, rows % 5).calibrated(seen, rows % 5, (), Seeds(0), unfitted=learned)


def session(content: bytes | str):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "channels", "size"),
    [
        ("efficientnet-lite0", 3, 32),
        ("efficientnet-lite0", 1, 96),
        ("small-cnn", 1, 19),
        ("small-cnn", 3, 16),
        ("resnet18", 3, 37),
        ("test_resnet", 3, 32),
        ("convnext_atto", 3, 32),
        ("mobilenetv3_small_050", 3, 32),
        ("vit_tiny_patch16_224", 3, 32),
        ("swin_tiny_patch4_window7_224", 3, 64),
    ],
)
def test_every_kind_of_network_gives_the_model_s_probabilities(backbone, channels, size) -> None:
    model = made(backbone, channels=channels, size=size)
    network = session(to_onnx(model))
    draw = np.random.default_rng(3)
    for count in (1, 7, 500 if size < 40 else 65):  # other numbers than the one it was traced with
        images = draw.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
        (given,) = network.run(["probabilities"], {"images": images})
        assert given.dtype == np.float32
        assert given == pytest.approx(model.probabilities(images), abs=NEAR)
    assert (
        np.ptp(model.probabilities(images), axis=0).max() > 1e-3
    )  # not all alike, which anything would give


@pytest.mark.slow
@pytest.mark.parametrize("names", [*([name] for name in PREDICTORS), [*PREDICTORS]], ids="+".join)
def test_every_predictor_is_part_of_the_file(names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    model = with_predictors(made(), *names)
    network = session(to_onnx(model))
    assert [one.getMessage() for one in caplog.records if one.name.startswith("onnx_ir")] == []
    draw = np.random.default_rng(3)
    for count in (1, 17, 500):
        images = draw.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
        outputs = [one.name for one in network.get_outputs()]
        given, *more = network.run(outputs, {"images": images})
        expected = model.answers(images)
        assert given == pytest.approx(expected.probabilities, abs=1e-5)
        assert outputs[1:] == [name for name in ("p_values", "unlike") if getattr(expected, name) is not None]
        for name, values in zip(outputs[1:], more, strict=True):
            assert (values == getattr(expected, name)).mean() > 0.99
    plain = replace(model, predictors=(), variants=())
    # Pairs alone refine nothing: there is no other opinion. Others say something else than probabilities.
    unchanged = set(names) <= {"pairwise", "conformal", "ood"}
    assert np.allclose(given, plain.probabilities(images), atol=1e-5) == unchanged


def test_few_landmarks_are_compared_as_many_are() -> None:
    """Torch computes distances to few in another way, which ONNX does not know."""
    model = with_predictors(made(), "ensemble", known=12)
    images = np.random.default_rng(3).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8)
    (given,) = session(to_onnx(model)).run(["probabilities"], {"images": images})
    assert given == pytest.approx(model.probabilities(images), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["small-cnn", "efficientnet-lite0", "test_resnet", "convnext_atto"])
def test_the_linear_method_is_exported_with_the_features_of_every_depth(backbone: str) -> None:
    spec = replace(made(backbone, size=32).spec, recipe="linear", stages=True)
    model = Model(spec, empty_network(spec).eval())
    network = session(to_onnx(model))
    for count in (1, 17, 500):
        images = np.random.default_rng(3).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        (given,) = network.run(["probabilities"], {"images": images})
        assert given == pytest.approx(model.probabilities(images), abs=NEAR)


@pytest.mark.slow
def test_an_opinion_on_frozen_features_is_part_of_the_file() -> None:
    """What the ensemble of the default backbone is: beside random features, those of the pretrained network."""
    model = with_predictors(made("efficientnet-lite0", size=32), "ensemble", frozen=True)
    network = session(to_onnx(model))
    for count in (1, 17, 500):
        images = np.random.default_rng(3).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        (given,) = network.run(["probabilities"], {"images": images})
        assert given == pytest.approx(model.probabilities(images), abs=NEAR)
    assert not np.allclose(given, replace(model, predictors=()).probabilities(images), atol=1e-3)


def test_images_that_are_compared_are_few_however_large() -> None:
    model = made()
    small, large = (replace(model, spec=replace(model.spec, image_size=size)) for size in (96, 1024))
    assert sum(sit2.inference.export._counts(small)) == 36
    assert sit2.inference.export._counts(large) == [1, 2, 2]


def test_members_are_part_of_the_file() -> None:
    model = made(networks=2)
    assert isinstance(model.network, Members)
    images = np.random.default_rng(3).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8)
    (given,) = session(to_onnx(model)).run(["probabilities"], {"images": images})
    assert given == pytest.approx(model.probabilities(images), abs=1e-5)


def test_the_file_says_what_its_pixels_and_columns_are() -> None:
    model = made()
    network = session(to_onnx(model))
    (taken,), (given,) = network.get_inputs(), network.get_outputs()
    assert (taken.name, taken.type, taken.shape) == ("images", "tensor(uint8)", ["N", 3, 16, 16])
    assert (given.name, given.type, given.shape) == ("probabilities", "tensor(float)", ["N", 5])
    known = network.get_modelmeta().custom_metadata_map
    assert json.loads(known["classes"]) == ["é", "b", "c", "d", "e"]
    how = json.loads(known["preprocessing"])
    assert (how["image_size"], how["channels"], how["resize"]) == (16, 3, "pad")
    assert (known["backbone"], known["recipe"]) == ("small-cnn", "plain")


def test_one_model_gives_one_file_which_tells_nothing_of_the_machine() -> None:
    model = made()
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
    assert "Checked on 36 images of noise: ONNX Runtime gives the model's own probabilities" in printed.out
    Model.load(done.run).save(tmp_path / "moved")
    assert command(("export", tmp_path / "moved")) == 0
    written = (tmp_path / "moved" / "model.onnx").read_bytes()
    assert written == (tmp_path / "a" / "b" / "model.onnx").read_bytes()


def test_on_image_files_it_gives_what_predict_gives(done: Finished, tmp_path: Path) -> None:
    from PIL import Image

    path, difference, images = export_onnx(done.run, tmp_path)
    assert images == 36
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
def test_a_missing_package_is_named_with_its_hint(
    done: Finished, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert command(("export", done.run, "-o", tmp_path / "out")) == 2
    assert capsys.readouterr().err.endswith("\npip install 'sit2[onnx]'\n")
    assert not (tmp_path / "out").exists()


def test_a_file_that_gives_something_else_is_not_written(
    done: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Model.load(done.run)
    with torch.no_grad():
        loaded.network.head.bias[0] += 0.01
    wrong = to_onnx(loaded)
    monkeypatch.setattr(sit2.inference.export, "to_onnx", lambda _: wrong)
    with pytest.raises(ModelError, match="gives other probabilities than the model, by up to"):
        export_onnx(done.run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_that_onnx_has_no_words_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made()
    monkeypatch.setattr(
        model.network.head, "forward", lambda features: torch.linalg.eigvals(features.T @ features).real
    )
    with pytest.raises(ModelError, match="'plain' on 'small-cnn' cannot be exported to ONNX: "):
        to_onnx(model)


@pytest.mark.slow
@pytest.mark.parametrize("predictors", [(), ("tta", "temperature")])
def test_openvino_gives_the_same_probabilities_from_operators_of_the_stated_opset(
    predictors: tuple[str, ...],
) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    import onnx

    model = with_predictors(made(), *predictors) if predictors else made("efficientnet-lite0", size=32)
    content = to_onnx(model)
    assert [(one.domain, one.version) for one in onnx.load_from_string(content).opset_import] == [("", 20)]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content, b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 33):
        images = sit2.inference.export._noise(model, count)
        theirs = compiled({"images": images})["probabilities"]
        assert np.abs(theirs - model.answers(images).probabilities).max() < NEAR
