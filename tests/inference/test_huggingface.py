"""export --format huggingface: timm reads the folder, and gives the logits of the network inside sit2."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from synthetic import command, finished
from test_export import made, with_predictors

from sit2.errors import ModelError, RunFolderError
from sit2.inference.huggingface import export_timm
from sit2.inference.model import Model
from sit2.records import SPLITS


def logits_of_both(model: Model, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return what the network says of images, normalised by sit2, and what timm's says, normalised by its file."""
    spec, draw = model.spec, np.random.default_rng(2)
    pixels = torch.from_numpy(draw.random((4, spec.channels, spec.image_size, spec.image_size), np.float32))
    config = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    other = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        ours = model.network(model.asking().prepared(pixels))
        return ours.numpy(), other((pixels - mean) / std).numpy()


@pytest.mark.parametrize(
    ("backbone", "channels", "size"),
    [
        ("efficientnet-lite0", 3, 96),
        ("efficientnet-lite0", 1, 128),
        ("resnet18", 3, 97),
        ("convnext_atto", 3, 96),
        ("mobilenetv3_small_050", 3, 96),
        ("vit_tiny_patch16_224", 1, 96),
    ],
)
def test_timm_gives_the_same_logits(tmp_path: Path, backbone: str, channels: int, size: int) -> None:
    model = made(backbone, channels=channels, size=size)
    model.save(tmp_path / "model")
    done = export_timm(tmp_path / "model", tmp_path / "out", "# card\n")
    assert done.difference < 1e-5
    ours, theirs = logits_of_both(model, tmp_path / "out")
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(ours).max()
    assert ours.std(axis=0).max() > 1e-3  # images get answers that differ
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["label_names"] == list(model.spec.classes)
    assert config["num_classes"] == 5
    assert (tmp_path / "out" / "README.md").read_text() == "# card\n"


def test_a_wrong_weight_is_seen_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sit2.inference.huggingface as module

    made("resnet18", size=96).save(tmp_path / "model")
    right = module.timm_state

    def wrong(*given: Any) -> dict[str, torch.Tensor]:
        return {name: value + 0.1 if name == "fc.bias" else value for name, value in right(*given).items()}

    monkeypatch.setattr(module, "timm_state", wrong)
    with pytest.raises(ModelError, match="gives other logits"):
        export_timm(tmp_path / "model", tmp_path / "out", "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (made("small-cnn"), "small-cnn is a network of sit2"),
        (made("resnet18", size=96, networks=2), "the mean of 2 networks"),
        (made("efficientnet-lite0", size=32), "below 96 pixels"),
    ],
    ids=["small-cnn", "members", "small images"],
)
def test_what_timm_cannot_hold_is_refused(tmp_path: Path, model: Model, reason: str) -> None:
    model.save(tmp_path / "model")
    with pytest.raises(ModelError, match=reason) as error:
        export_timm(tmp_path / "model", tmp_path / "out", "")
    assert len(str(error.value).splitlines()) <= 3
    assert not (tmp_path / "out").exists()


def test_the_closed_form_classifier_is_refused(tmp_path: Path) -> None:
    from sit2.inference.model import empty_network

    spec = replace(made("resnet18", size=96).spec, stages=True, recipe="linear")
    Model(spec, empty_network(spec)).save(tmp_path / "model")
    with pytest.raises(ModelError, match="features of several depths"):
        export_timm(tmp_path / "model", tmp_path / "out", "")


def test_it_replaces_nothing_unasked(tmp_path: Path) -> None:
    made("resnet18", size=96).save(tmp_path / "model")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    with pytest.raises(RunFolderError, match="--overwrite"):
        export_timm(tmp_path / "model", tmp_path / "out", "")
    with pytest.raises(RunFolderError, match="a model folder of sit2"):
        export_timm(tmp_path / "model", tmp_path / "model", "", overwrite=True)
    assert (tmp_path / "out" / "README.md").read_text() == "mine"


def test_the_command_and_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished().run
    assert command(("export", run, "--format", "huggingface")) == 2
    assert capsys.readouterr().err.endswith("name it with -o\n")
    assert command(("export", run, "--format", "huggingface", "-o", tmp_path / "out")) == 2
    assert "small-cnn is a network of sit2" in capsys.readouterr().err

    with_predictors(made("resnet18", size=96), "temperature").save(tmp_path / "model")
    words = ("export", tmp_path / "model", "--format", "huggingface", "-o", tmp_path / "alone")
    assert command(words) == 0
    assert "without its predictors: temperature" in capsys.readouterr().err
    card = (tmp_path / "alone" / "README.md").read_text()
    assert "The predictors `temperature` of the recipe" in card
    assert "Unknown: the model was exported without its run." in card


def test_the_card_of_a_run_has_its_figures() -> None:
    from sit2.inference.model_spec import read_spec
    from sit2.report.model_card import model_card

    run = finished().run
    card = model_card(read_spec(run / "model" / "model.json"), run)
    metrics = json.loads((run / "metrics.json").read_text())["multi-label"]["test"]
    assert f"| accuracy | {100 * metrics['accuracy']:.1f} % |" in card
    assert "(95 % interval:" in card
    for part in ("Data", "Figures", "Confused pairs", "Intended use", "Limits", "What is not in this folder"):
        assert f"## {part}\n" in card
    assert "| disc | oval |" in card or "| cross | " in card
    samples = pd.read_csv(run / "samples.csv")
    counts = [(samples[samples["label"] == "disc"]["split"] == split).sum() for split in SPLITS]
    assert "| class | training | validation | test | unused |" in card
    assert f"| disc | {' | '.join(map(str, counts))} |" in card
    assert card.startswith("---\nlibrary_name: timm\n")


def test_names_are_no_markup() -> None:
    from sit2.report.model_card import model_card

    spec = replace(made("resnet18", size=96).spec, weights="<script>|x")
    assert r"\<script\>\|x" in model_card(spec, None)
