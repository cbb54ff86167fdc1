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

TINY = {"labels_per_class": 6, "epochs": 2, "folds": 2, "batch_size": 16, "workers": 1, "test_fraction": 0.1}


def test_the_digits_are_whole() -> None:
    digits = demo.digits()
    assert len(digits) == 1797
    assert digits.classes == tuple("0123456789")
    assert digits.arrays[0].shape == (8, 8)
    assert (np.min(digits.arrays), np.max(digits.arrays)) == (0, 255)


def test_its_settings_are_settings() -> None:
    config = make_config(demo.SETTINGS)
    assert config.labels_per_class == 15
    assert config.method in demo.METHODS


def test_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SETTINGS", {**demo.SETTINGS, **TINY})
    out = tmp_path / "demo-run"
    assert command(("demo", "-o", out, "--seed", 1)) == 0
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
