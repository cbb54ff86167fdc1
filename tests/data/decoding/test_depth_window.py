"""What training made of more than 8 bits, prediction makes of them too: the rule lies in model.json."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import sit2
from sit2.cli.command import main, parse
from sit2.config.schema import make_config
from sit2.errors import ConfigError, ModelError
from sit2.estimator import SIT2Classifier
from sit2.events import Note
from sit2.experiments.prepare import prepare
from sit2.inference.model_spec import read_spec

QUICK = {
    "backbone": "small-cnn",
    "method": "plain",
    "epochs": 1,
    "image_size": 16,
    "cache": "off",
    "batch_size": 8,
}


@pytest.fixture
def scans(tmp_path):
    """16-bit gray images that use 1000 to 5000 alone."""
    rng = np.random.default_rng(0)
    for name, level in (("low", 2000), ("mid", 2600), ("top", 3200)):
        for n in range(10):
            path = tmp_path / "scans" / name / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.normal(level, 400, (16, 16)).clip(1000, 5000).astype(np.uint16)
            Image.fromarray(pixels).save(path)
    return tmp_path / "scans"


@pytest.mark.parametrize("window", ["percentile", "1000,5000"])
def test_predict_sees_the_pixels_of_the_training(scans, tmp_path, window):
    run = sit2.train(scans, out=tmp_path / "run", **QUICK, depth_window=window, background="black")
    said = json.loads((run.folder / "model" / "model.json").read_text())["preprocessing"]
    assert (said["depth_window"], said["background"], said["channels"]) == (window, "black", 1)
    assert (
        main(["predict", str(scans), "--model", str(run.folder), "-o", str(tmp_path / "p"), "--quiet"]) == 0
    )
    then = pd.read_csv(run.folder / "predictions" / "plain.csv", index_col="id")
    now = pd.read_csv(tmp_path / "p" / "predictions.csv", index_col="path").loc[then.index]
    columns = ["p_low", "p_mid", "p_top"]
    np.testing.assert_allclose(now[columns], then[columns], atol=2e-6)  # six digits are written
    spec = json.loads((run.folder / "model" / "model.json").read_text())
    del spec["preprocessing"]["depth_window"]  # another rule, so other probabilities
    (run.folder / "model" / "model.json").write_text(json.dumps(spec))
    main(["predict", str(scans), "--model", str(run.folder), "-o", str(tmp_path / "q"), "--quiet"])
    other = pd.read_csv(tmp_path / "q" / "predictions.csv", index_col="path").loc[then.index]
    assert np.abs(other[columns] - then[columns]).to_numpy().max() > 1e-3


def test_a_model_that_says_nothing_has_the_defaults(scans, tmp_path):
    run = sit2.train(scans, out=tmp_path / "run", **QUICK)
    file = run.folder / "model" / "model.json"
    spec, content = read_spec(file), json.loads(file.read_text())
    for name in ("depth_window", "background", "max_megapixels"):
        del content["preprocessing"][name]
    file.write_text(json.dumps(content))
    assert read_spec(file) == spec
    assert (spec.depth_window, spec.background, spec.max_megapixels) == ("full", "white", 178)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth_window", "fall"),
        ("depth_window", 3),
        ("background", "red"),
        ("max_megapixels", 0),
        ("channels_from", [0, 1]),
        ("channels_from", [-1]),
        ("channels_from", "0"),
    ],
)
def test_a_model_that_prepares_images_in_no_known_way(scans, tmp_path, name, value):
    run = sit2.train(scans, out=tmp_path / "run", **QUICK)
    file = run.folder / "model" / "model.json"
    content = json.loads(file.read_text())
    content["preprocessing"][name] = value
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"model.json is damaged: "):
        read_spec(file)


def test_the_estimator_keeps_the_rule(scans):
    paths = sorted(map(str, scans.rglob("*.png")))
    labels = [path.split("/")[-2] for path in paths]
    settings = {"depth_window": "1000,5000", "cache": "off"}
    made = {
        window: SIT2Classifier(
            "plain",
            backbone="small-cnn",
            epochs=1,
            image_size=16,
            settings={**settings, "depth_window": window},
        )
        .fit(paths, labels)
        .model_.spec
        for window in ("1000,5000", "full")
    }
    assert made["1000,5000"].depth_window == "1000,5000"
    assert made["1000,5000"].std[0] > 5 * made["full"].std[0]


def test_dim_images_are_said(scans, tmp_path):
    heard = []
    sit2.train(scans, out=tmp_path / "run", **QUICK, listener=heard.append)
    said = "30 images whose values fill less than a sixteenth of their range (see --depth-window of `sit2 train`)"
    notes = [event.text for event in heard if isinstance(event, Note)]
    assert any(text.startswith(f"{said}: low/0.png") for text in notes)


@pytest.mark.parametrize("text", ["-1000,400", "-1.5,-.5", "0,4095", "full", "percentile"])
def test_a_window_on_the_command_line(text):
    assert parse(["train", "data", "--depth-window", text]).depth_window == text


@pytest.mark.parametrize("text", ["fall", "400,-1000", "5,5", "1,2,3", "0,inf", "nan,1", ""])
def test_no_window(text):
    with pytest.raises(ConfigError, match=r"^depth_window is .*\nexpected full, percentile, or two values"):
        sit2.train("nowhere", out="nowhere", depth_window=text)


@pytest.mark.parametrize("given", ["0", "2,0,1", "0,1,1"])
def test_channels_on_the_command_line(given):
    assert parse(["train", "data", "--channels-from", given]).channels_from == given
    assert make_config({"channels_from": given}).channels_from == tuple(map(int, given.split(",")))


@pytest.mark.parametrize("given", ["0,1", "red", "0,1,-1", "1.5", ""])
def test_no_channels(given):
    with pytest.raises(ConfigError, match=r"^channels_from .*\nexpected "):
        sit2.train("nowhere", out="nowhere", channels_from=given)


def test_colour_weights_on_gray_images_are_said(scans, tmp_path):
    from sit2.training.backbones import build_network

    for channels in (1, 3):
        network = build_network("small-cnn", channels=channels, image_size=16, outputs=3, seed=0)
        torch.save(network.encoder.state_dict(), tmp_path / f"{channels}.pth")
        config = make_config(
            {
                "backbone": "small-cnn",
                "image_size": 16,
                "cache": "off",
                "weights": tmp_path / f"{channels}.pth",
            }
        )
        heard = []
        prepare(scans, config, heard.append)
        said = "the weights are for colour and the images are gray: they keep one channel"
        notes = [event for event in heard if isinstance(event, Note)]
        assert sum(event.text.startswith(said) for event in notes) == (channels == 3)
