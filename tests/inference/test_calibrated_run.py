"""A run whose model gives sets of possible classes: its images, folder, page, and what it says."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from synthetic import SETTINGS, Finished, arrays, command, save, write_folder

import sit2
from sit2.errors import ConfigError
from sit2.experiments.run import train
from sit2.inference.decisions import UNLIKE
from sit2.inference.model import Model

RECIPE = "plain+tta+temperature+conformal+ood"
OWN = {**SETTINGS, "method": RECIPE, "epochs": 2}
Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done", scope="module")
def _done(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    place = tmp_path_factory.mktemp("calibrated")
    data = write_folder(place / "shapes", 24)
    return Finished(data, train(data, out=place / "run", calibration_fraction=0.3, **OWN).folder)


@pytest.fixture(name="new", scope="module")
def _new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("new")
    for n, (pixels, label) in enumerate(zip(*arrays(4, seed=8), strict=True)):
        save(root / label / f"{n}.png", pixels)
    return root


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_images_that_calibrate_do_nothing_else(done: Finished) -> None:
    samples = table(done.run / "samples.csv")
    kept = {row["id"] for row in samples if row["calibration"] == "yes"}
    assert len(kept) == 22  # 0.3 of 72
    assert {row["split"] for row in samples if row["id"] in kept} == {"val"}
    predicted = {row["id"] for row in table(done.run / "predictions" / f"{RECIPE}.csv")}
    assert not kept & predicted
    promise = sit2.load(done.run).promise
    assert promise is not None
    assert (promise.images, promise.exact) == (22, True)


def test_the_run_says_how_good_its_sets_are(done: Finished) -> None:
    sets = json.loads((done.run / "sets.json").read_text())[RECIPE]
    rows = [row for row in table(done.run / "predictions" / f"{RECIPE}.csv") if row["decision"]]
    assert sets["all"]["covered"]["n"] == len(rows) > 0
    assert sets["all"]["covered"]["hits"] == sum(row["label"] in row["set"].split(" | ") for row in rows)
    assert sets["all"]["decided"]["hits"] == sum(row["decision"] == row["predicted"] for row in rows)
    page = (done.run / "report.html").read_text()
    assert "When is it sure?" in page
    assert "Errors among the most confident images" in page


def test_predict_decides_as_the_run_does(done: Finished, tmp_path: Path) -> None:
    assert command(("predict", done.data, "--model", done.run, "-o", tmp_path / "out")) == 0
    found = {row["path"]: row for row in table(tmp_path / "out" / "predictions.csv")}
    own = [row for row in table(done.run / "predictions" / f"{RECIPE}.csv") if row["decision"]]
    for row in own:
        assert {k: found[row["path"]][k] for k in ("predicted", "decision", "set")} == {
            k: row[k] for k in ("predicted", "decision", "set")
        }


def test_python_says_the_same_as_the_command(done: Finished, new: Path, tmp_path: Path) -> None:
    assert command(("predict", new, "--model", done.run, "--coverage", "0.8", "-o", tmp_path / "out")) == 0
    rows = table(tmp_path / "out" / "predictions.csv")
    model = sit2.load(done.run)
    found = model.predict([new / row["path"] for row in rows], coverage=0.8)
    assert [one.decision for one in found] == [row["decision"] for row in rows]
    assert [" | ".join(one.set) for one in found] == [row["set"] for row in rows]
    sure = [one.set for one in model.predict([new / row["path"] for row in rows], coverage=0.5)]
    assert all(set(few) <= set(many.set) for few, many in zip(sure, found, strict=True))
    assert model.predict([]) == []


def test_noise_is_unlike_the_training_images(done: Finished) -> None:
    model = sit2.load(done.run)
    stripes = np.zeros((20, 16, 16, 3), np.uint8)
    stripes[:, ::2] = 255
    shares = [
        np.mean([one.decision == UNLIKE for one in model.predict(images)])
        for images in (stripes, np.stack(arrays(20, seed=11)[0]))
    ]
    assert shares[0] > 0.9
    assert shares[1] < 0.4


def test_what_cannot_be_promised_is_refused(done: Finished, new: Path, capsys: Printed) -> None:
    for verb in ("predict", "evaluate"):
        assert command((verb, new, "--model", done.run, "--coverage", "0.99")) == 2
        error = capsys.readouterr().err
        assert "needs 99 calibration images, and the model has 22" in error
        assert "--coverage 0.956" in error


def test_evaluate_prints_and_writes_the_page(
    done: Finished, new: Path, tmp_path: Path, capsys: Printed
) -> None:
    out = tmp_path / "out"
    assert command(("evaluate", new, "--model", done.run, "--coverage", "0.9", "-o", out)) == 0
    printed = capsys.readouterr().out
    for words in (
        "Images by true class",
        "Class by class",
        "Sets of possible classes for 90 %",
        "risk–coverage",
    ):
        assert words in printed
    page = (out / "report.html").read_text()
    assert "When is it sure?" in page
    assert "confusion-data" in page
    assert "12 test images" in page
    first = table(out / "predictions.csv")[0]
    assert [*first][:6] == ["path", "label", "predicted", "confidence", "decision", "set"]
    assert json.loads((out / "metrics.json").read_text())[RECIPE]["test"]["sets"]["coverage"] == 0.9


def test_variants_are_kept_with_the_model(tmp_path: Path) -> None:
    """Without images of its own the validation images calibrate, by predictors fitted without each of them."""
    data = write_folder(tmp_path / "shapes", 24)
    recipe = "plain+temperature+conformal"
    run = train(data, out=tmp_path / "run", val_fraction=0.3, **{**OWN, "method": recipe})
    model = sit2.load(run.folder)
    assert model.promise is not None
    assert (model.promise.exact, model.promise.images, len(model.variants)) == (False, 22, 5)
    assert len({one[0].inverse_temperature for one in model.variants}) == 5  # type: ignore[attr-defined]
    model.save(tmp_path / "again")
    images = np.stack(arrays(4, seed=8)[0])
    again = Model.load(tmp_path / "again")
    for one, other in zip(model.predict(images), again.predict(images), strict=True):
        assert dataclasses.astuple(one) == dataclasses.astuple(other)
    without = dataclasses.replace(model, predictors=model.predictors[:1], variants=())
    with pytest.raises(ConfigError, match="gives no sets"):
        without.predict(images, coverage=0.9)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"early_stop": 3}, "choose the network"),
        ({"method": "plain", "cv": 3, "calibration_fraction": 0.2}, "cv lets every image be trained on"),
        ({"refit": True}, "none is left to calibrate it"),
        ({"cv": 3}, "none is left to calibrate it"),
        ({"val_fraction": 0.16, "false_alarms": 0.01}, "false-alarm rate of 1 %"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_before_training(
    tmp_path: Path, settings: dict[str, float], words: str
) -> None:
    data = write_folder(tmp_path / "shapes", 12)
    with pytest.raises(ConfigError, match=words):
        train(data, out=tmp_path / "run", **{**OWN, **settings})
    assert not (tmp_path / "run" / "history.csv").exists()
