"""The recipes of docs/extending.md: their files, written into a copy of the package, work in every verb."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from synthetic import TINY, write_folder

import sit2

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = {"methods/half_smooth.py": "class HalfSmooth", "inference/predictors/prior.py": "class Prior"}
LINES = (
    (
        "methods/__init__.py",
        "half_smooth",
        "HalfSmooth",
        "half-smooth",
        "METHODS: dict[str, type[Method]] = {",
    ),
    (
        "inference/predictors/__init__.py",
        "prior",
        "Prior",
        "prior",
        "PREDICTORS: dict[str, type[Predictor]] = {",
    ),
)


def block(words: str) -> str:
    """Return the block of code that holds these words."""
    return next(text for text in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S) if words in text)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, with the method and the predictor of the page."""
    root = tmp_path_factory.mktemp("package")
    copy = root / "sit2"
    shutil.copytree(Path(sit2.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, words in FILES.items():
        (copy / name).write_text(block(words), encoding="utf-8")
    for file, module, kind, name, table in LINES:
        path = copy / file
        text = path.read_text(encoding="utf-8")
        assert table in text
        home = "sit2." + ".".join(Path(file).parent.parts)
        line = f"from {home}.{module} import {kind}\n"
        text = text.replace(table, f'{line}\n{table}\n    "{name}": {kind},')
        path.write_text(text, encoding="utf-8")
    return root


SCRIPT = """
import json, sys
from sit2.cli import main
for words in json.loads(sys.argv[1]):
    print("$", *words, flush=True)
    code = main(words)
    assert code == 0, (words, code)
"""


@pytest.mark.slow
def test_a_method_and_a_predictor_by_the_page_work_in_every_verb(package: Path, tmp_path: Path) -> None:
    data = write_folder(tmp_path / "shapes")
    settings = [*TINY, "--first-smoothing", "0.3", "--quiet"]
    recipe = settings.index("multi-label")
    one = [*settings[:recipe], "half-smooth+tta+prior", *settings[recipe + 1 :]]
    many = [*settings[: recipe - 1], *settings[recipe + 1 :]]
    run = str(tmp_path / "run")
    verbs = [
        ["train", str(data), "-o", run, *one],
        [
            "compare",
            str(data),
            "-o",
            str(tmp_path / "many"),
            "--methods",
            "half-smooth+prior",
            "--splits",
            "2",
            *many,
        ],
        ["predict", str(data), "--model", run, "-o", str(tmp_path / "predicted")],
        ["export", run, "-o", str(tmp_path / "exported")],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(verbs)],
        env={**os.environ, "PYTHONPATH": str(package), "SIT2_CACHE": "off"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    known = json.loads((tmp_path / "run/model/model.json").read_text())
    assert known["recipe"] == "half-smooth+tta+prior"
    assert [one["name"] for one in known["predictors"]] == ["tta", "prior"]
    config = (tmp_path / "run/config.yaml").read_text()
    assert "first_smoothing: 0.3" in config
    history = pd.read_csv(tmp_path / "run/history.csv")
    assert {"smooth", "fine-tune"} <= set(history["phase"])
    results = pd.read_csv(tmp_path / "many/results.csv")
    assert set(results["method"]) == {"half-smooth+prior", "plain+prior"}
    assert (tmp_path / "predicted/predictions.csv").exists()
    assert (tmp_path / "exported/model.onnx").exists()


def test_its_parameter_is_a_flag_and_its_names_are_listed(package: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sit2", "train", "--help-all"],
        env={**os.environ, "PYTHONPATH": str(package)},
        cwd=package,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--first-smoothing X" in done.stdout
    assert "half-smooth" in done.stdout
    assert "Train with smoothed labels first" in done.stdout
    assert "as often as they occur" in done.stdout
