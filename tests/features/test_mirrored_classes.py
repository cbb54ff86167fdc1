"""Classes that flips and turns exchange are found, others are not; `check` and `train` name the preset."""

from __future__ import annotations

import json

import numpy as np
import pytest
from arrows import arrows, write_arrows
from synthetic import arrays as shapes
from synthetic import command

from sit2.features.mirrored_classes import LEFT_RIGHT, MIRROR, mirrored_classes
from sit2.seeds import Seeds


def found(images, labels, **how):
    rows = np.arange(len(labels))
    return mirrored_classes(images, labels, int(labels.max()) + 1, rows=rows, seeds=Seeds(0), **how)


def pairs(*kinds, **how):
    return {(kinds[one.a], kinds[one.b]): one.how for one in found(*arrows(*kinds), **how)}


def test_a_flip_exchanges_left_and_right():
    assert pairs("left", "right", "disc") == {("left", "right"): MIRROR}


def test_turns_exchange_what_no_flip_from_left_to_right_does():
    assert pairs("up", "down", "disc") == {("up", "down"): "turned upside down"}
    assert pairs("up", "right") == {("up", "right"): "turned by a quarter"}
    assert pairs("up", "down", moves=LEFT_RIGHT) == {}  # augmentation by flips may have them


def test_classes_that_look_like_themselves_when_flipped():
    """Two of them are often confused, which is no flip's doing."""
    images, names = shapes(40)
    labels = np.unique(names, return_inverse=True)[1]
    assert found(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels) == ()
    assert pairs("right", "disc") == {}


def test_chance_alone_finds_nothing():
    """Noise with labels at random; and too few images to say anything."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (200, 3, 32, 32), dtype=np.uint8)
    assert found(images, np.arange(200) % 5) == ()
    assert found(*arrows("left", "right", per_class=6)) == ()


def test_rows_and_groups():
    """Images that do not count are not looked at, be they ever so clear."""
    images, labels = arrows("left", "right")
    both = np.concatenate([np.zeros_like(images), images])
    rows = np.arange(len(images), 2 * len(images))
    groups = [f"{n // 4}" for n in range(len(images))]
    (one,) = mirrored_classes(both, labels, 2, rows=rows, groups=groups, seeds=Seeds(0))
    assert (one.a, one.b, one.how) == (0, 1, MIRROR)
    assert one.fraction > 0.8
    assert mirrored_classes(both, labels, 2, rows=rows - len(images), seeds=Seeds(0)) == ()


TEXT = "1 pair of classes looks alike when flipped or turned: left and right (mirrored left to right)."
HINT = "rain with --augment no-flip: flip, the default, and dihedral would show one as the other"


def test_check_names_the_preset(tmp_path, capsys):
    data = write_arrows(tmp_path / "arrows", "left", "right")
    assert command(("check", data)) == 0
    assert f"warning: {TEXT}\n  t{HINT}\n" in capsys.readouterr().out
    data = write_arrows(tmp_path / "other", "up", "down")
    assert command(("check", data, "--json")) == 0
    (finding,) = (
        one for one in json.loads(capsys.readouterr().out)["findings"] if one["kind"] == "mirrored classes"
    )
    assert finding["severity"] == "note"
    assert finding["hint"].startswith("train with --augment flip or no-flip: dihedral would")
    assert finding["details"] == [{"classes": ["down", "up"], "how": "turned upside down"}]


@pytest.mark.parametrize(("augment", "warned"), [("flip", True), ("no-flip", False)])
def test_train_warns_before_it_trains(tmp_path, capsys, augment, warned):
    data = write_arrows(tmp_path / "arrows", "left", "right")
    how = ("--backbone", "small-cnn", "--image-size", 32, "--epochs", 0.1, "--method", "plain")
    assert command(("train", data, "-o", tmp_path / "run", *how, "--augment", augment)) == 0
    assert (f"{TEXT} T{HINT}." in " ".join("".join(capsys.readouterr()).split())) == warned
    findings = json.loads((tmp_path / "run/check.json").read_text())["findings"]
    assert any(one["kind"] == "mirrored classes" for one in findings) == warned
