"""An exported model predicts what the model does, in a process that has neither torch nor pandas."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from synthetic import SETTINGS, arrays, command, save, write_folder

import sit2
import sit2.runtime
from sit2.errors import ConfigError, DataError, ModelError
from sit2.experiments.run import train
from sit2.inference.export import export_onnx
from sit2.inference.predictions_writer import PredictionsFile

pytest.importorskip("onnxruntime")

HEAVY = (
    "torch",
    "torchvision",
    "pandas",
    "scipy",
    "sklearn",
    "timm",
    "matplotlib",
    "jinja2",
    "pyarrow",
    "joblib",
)
COMMAND = f"""
import sys
sys.modules.update(dict.fromkeys({HEAVY}))  # whoever imports one fails
from sit2.cli import main
sys.exit(main(sys.argv[1:]))
"""
Printed = pytest.CaptureFixture[str]


class Made(NamedTuple):
    run: Path
    file: Path  # exported
    new: Path  # images, one of which is none


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    place = tmp_path_factory.mktemp("exported")
    recipe = "plain+tta+ensemble+temperature+conformal+ood"
    settings = {**SETTINGS, "method": recipe, "epochs": 1, "calibration_fraction": 0.3}
    run = train(write_folder(place / "shapes", 24), out=place / "run", **settings).folder
    draw = np.random.default_rng(0)
    for n, (pixels, label) in enumerate(zip(*arrays(13, seed=8), strict=True)):
        path = save(place / "new" / label / f"{n:02d}.png", pixels)
        if n % 2:  # JPEG files of all sizes
            size = draw.integers(14, 150, 2).tolist()
            Image.open(path).resize(size).save(path.with_suffix(".jpg"), quality=92)
            path.unlink()
    (place / "new" / "none.jpg").write_bytes(b"\xff\xd8\xffno image")
    return Made(run, export_onnx(run, place).path, place / "new")


def without_torch(*words: object) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-c", COMMAND, *map(str, words)]
    return subprocess.run(given, capture_output=True, text=True, check=False)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("coverage", [(), ("--coverage", "0.8")], ids=["highest", "0.8"])
def test_the_command_gives_what_the_model_gives(
    made: Made, tmp_path: Path, coverage: tuple[str, ...]
) -> None:
    done = without_torch("predict", made.new, "--model", made.file, "-o", tmp_path / "a", *coverage)
    assert done.returncode == 0, done.stderr
    assert command(("predict", made.new, "--model", made.run, "-o", tmp_path / "b", *coverage)) == 0
    rows, expected = (table(tmp_path / name / "predictions.csv") for name in "ab")
    assert len(rows) == 40
    assert len({row["decision"] for row in rows}) > 2
    for row, own in zip(rows, expected, strict=True):
        assert [*row] == [*own]
        for name in row:
            if row["problem"] == "" and (name == "confidence" or name.startswith("p_")):
                assert float(row[name]) == pytest.approx(float(own[name]), abs=1e-5)
            else:
                assert row[name] == own[name]
    assert [row["path"] for row in rows if row["problem"]] == ["none.jpg"]


def test_python_gives_what_the_model_gives(made: Made) -> None:
    exported, own = sit2.runtime.load(made.file), sit2.load(made.run)
    paths = sorted(path for path in made.new.rglob("*.*") if path.stem != "none")
    assert exported.classes == own.spec.classes
    assert exported.promise == own.promise
    assert exported.predict_proba(paths) == pytest.approx(own.predict_proba(paths), abs=1e-5)
    for one, other in zip(exported.predict(paths, 0.8), own.predict(paths, 0.8), strict=True):
        assert (one.predicted, one.decision, one.set) == (other.predicted, other.decision, other.set)
    images = arrays(2, seed=3)[0]
    assert exported.predict_proba(images) == pytest.approx(own.predict_proba(images), abs=1e-5)
    assert exported.predict([]) == []
    with pytest.raises(ConfigError, match="the highest that can be promised"):
        exported.predict(paths, coverage=0.99)


def test_rows_of_one_file_are_of_one_model(made: Made, tmp_path: Path) -> None:
    file = PredictionsFile(tmp_path, made.file, ["a"], 0.8, resume=False)
    file.header(["x"])
    file.__exit__(KeyboardInterrupt, None, None)
    PredictionsFile(tmp_path, made.file, ["a"], 0.8, resume=True).__exit__(KeyboardInterrupt, None, None)
    with pytest.raises(sit2.RunFolderError, match="another model"):
        PredictionsFile(tmp_path, made.run, ["a"], 0.8, resume=True)


def test_what_is_no_exported_model_is_said(made: Made, tmp_path: Path, capsys: Printed) -> None:
    import onnx

    content = made.file.read_bytes()
    graph = onnx.load(made.file)
    names = {one.key: one for one in graph.metadata_props}
    names["classes"].value = '["a", "b"'
    cases = {"cut": content[: len(content) // 2], "empty": b"", "changed": graph.SerializeToString()}
    del graph.metadata_props[:]
    cases["foreign"] = graph.SerializeToString()
    for name, held in cases.items():
        (tmp_path / f"{name}.onnx").write_bytes(held)
        assert command(("predict", made.new, "--model", tmp_path / f"{name}.onnx")) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert f"{name}.onnx is no model of `sit2 export`, or damaged" in printed.err
        assert printed.err.count("\n") <= 3
    with pytest.raises(ModelError, match="no such file"):
        sit2.runtime.load(tmp_path / "none.onnx")


@pytest.mark.parametrize("verb", ["evaluate", "suggest", "serve", "predict"])
def test_where_a_run_is_needed_an_exported_model_is_told_apart(
    made: Made, tmp_path: Path, capsys: Printed, verb: str
) -> None:
    folder = made.file.parent / "alone"
    folder.mkdir(exist_ok=True)
    shutil.copy(made.file, folder)
    given = [folder] if verb == "predict" else [folder, folder / "model.onnx"]
    for model in given:
        words = (model,) if verb == "serve" else (made.new, "--model", model)
        more = ("-o", tmp_path / "out") if verb == "suggest" else ()
        assert command((verb, *words, *more)) == 2
        said = capsys.readouterr().err
        assert "only `sit2 predict` takes" in said
        assert said.count("\n") == 2
    with pytest.raises(ModelError, match=r"it is a folder: .*\ndid you mean .*model\.onnx"):
        sit2.runtime.load(folder)


def test_in_python_all_images_that_cannot_be_read_are_named_at_once(made: Made, tmp_path: Path) -> None:
    good = sorted(made.new.rglob("*.png"))[0]
    (tmp_path / "empty.png").touch()
    for model in (sit2.runtime.load(made.file), sit2.load(made.run)):
        with pytest.raises(DataError, match=r"^2 images cannot be read: .*none\.jpg .*empty\.png") as error:
            model.predict([good, made.new / "none.jpg", tmp_path / "empty.png"])
        assert "label" not in str(error.value)


def test_onnx_runtime_is_asked_for_where_it_is_missing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'sit2\[runtime\]'"):
        sit2.runtime.load(made.file)
