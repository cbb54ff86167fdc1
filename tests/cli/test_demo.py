"""The demo, at a tiny budget: what it prints, and what it leaves behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import command

from sit2.cli.verbs import demo
from sit2.config.schema import make_config
from sit2.data.drawn_cells import drawn_cells

TINY = {"labels_per_class": 6, "epochs": 2, "folds": 2, "batch_size": 16, "workers": 1, "test_fraction": 0.1}


def test_the_digits_are_whole() -> None:
    digits = demo.digits()
    assert len(digits) == 1797
    assert digits.classes == tuple("0123456789")
    assert digits.arrays[0].shape == (8, 8)
    assert (np.min(digits.arrays), np.max(digits.arrays)) == (0, 255)


def test_its_settings_are_settings() -> None:
    config = make_config(demo.DIGITS)
    assert config.labels_per_class == 15
    assert config.method in demo.METHODS
    assert [str(recipe) for recipe in make_config(demo.CELLS).recipes] == [
        "linear+tta+temperature",
        "plain+tta+ensemble+temperature",
        "not-sure+tta+ensemble+temperature",
    ]


def test_drawn_cells_follow_the_seed() -> None:
    one, same, other = drawn_cells(3, 2), drawn_cells(3, 2), drawn_cells(4, 2)
    assert len(one) == 2 * len(one.classes) == 12
    assert one.arrays[0].shape == (96, 96, 3)
    assert np.array_equal(one.arrays, same.arrays)
    assert not np.array_equal(one.arrays, other.arrays)
    assert len({image.tobytes() for image in one.arrays}) == 12


def test_on_drawn_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        demo,
        "CELLS",
        {**demo.CELLS, "backbone": "small-cnn", "image_size": 16, "samples_seen": 64, "workers": 1},
    )
    out = tmp_path / "demo-run"
    assert command(("demo", "-o", out)) == 0
    text = capsys.readouterr().out
    assert "drawn cells: 360 images in 6 classes" in text
    assert re.search(r"^120 for training, \d\d for validation, 180 for the test$", text, re.MULTILINE)
    assert (out / "report.html").exists()


def test_on_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "DIGITS", {**demo.DIGITS, **TINY})
    out = tmp_path / "demo-run"
    assert command(("demo", "--digits", "-o", out, "--seed", 1)) == 0
    printed = capsys.readouterr()
    assert "note" not in printed.err  # how far it is may stand there, where that takes long
    text = printed.out

    assert re.search(r"^digits: 1,797 images in 10 classes$", text, re.MULTILINE)
    assert re.search(r"^60 for training, \d+ for validation, 180 for the test$", text, re.MULTILINE)
    assert re.search(r"^Confused pairs: \d+ of 45 chosen, with \d+% of all confusion$", text, re.MULTILINE)
    assert re.search(r"^\d – \d  +0\.\d{3}  0\.\d{3} to \d\.\d{3}  +\d+\.\d of 1\d$", text, re.MULTILINE)
    for method in demo.METHODS:
        assert re.search(rf"^{method} +\d+\.\d \(\d+\.\d–\d+\.\d\) ", text, re.MULTILINE), method
    verdicts = re.findall(
        r"^(?:No evidence that \S+ and plain differ|\S+ is (?:better|worse) than plain): "
        r"\d+\.\d % against \d+\.\d % of 180 images right, .*after correction for 3 comparisons\)\.$",
        text,
        re.MULTILINE,
    )
    assert len(verdicts) == 3
    assert text.count("This holds for one split and one seed") == 1

    named = [Path(place) for place in re.findall(rf"{re.escape(str(out))}\S*", text)]
    assert named == [out / "model", out / "report.html", out / "synthesis"]
    assert all(place.exists() for place in named)
    info = json.loads((out / "run.json").read_text())
    assert info["status"] == "complete"
    assert set(info["samples_seen"].values()) == {128}  # 60 images × 2 epochs in batches of 16

    assert command(("demo", "-o", out)) == 2
    error = capsys.readouterr().err
    assert error == (
        f"sit2: the output folder {out} is not empty\nuse --overwrite to replace what a run wrote, or "
        "another -o\n"
    )
