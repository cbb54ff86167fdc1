"""Trackers hear of a run what its folder says, with the packages themselves, offline; a failure ends no run."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from synthetic import SETTINGS, command, write_folder

import sit2
from sit2.events import Event, Note
from sit2.trackers import TRACKERS, refuse_missing
from sit2.trackers.tracker import Tracker

LOGGED = {**SETTINGS, "method": "not-sure", "epochs": 2, "min_confused": 0}


def history(run: Path, column: str) -> list[tuple[int, float]]:
    """Return (samples seen, value) of the method's epochs, as history.csv has them."""
    with (run / "history.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "not-sure"]
    return [(int(row["samples_seen"]), float(row[column])) for row in rows if row[column]]


def train(tmp_path: Path, *names: str) -> Path:
    sit2.train(write_folder(tmp_path / "shapes"), out=tmp_path / "run", log=names, **LOGGED)
    return tmp_path / "run"


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = train(tmp_path, "tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        log = EventAccumulator(str(run / "tensorboard"))
        log.Reload()
    for column in ("loss", "val_accuracy"):
        points = [(point.step, point.value) for point in log.Scalars(f"not-sure/{column}")]
        assert points == [(seen, pytest.approx(value, abs=1e-5)) for seen, value in history(run, column)]
    accuracy = json.loads((run / "metrics.json").read_text())["not-sure"]["test"]["accuracy"]
    assert log.Scalars("results/not-sure/accuracy")[0].value == pytest.approx(accuracy)
    titles = {tag.partition("/")[0] for tag in log.Tags()["images"]}
    assert {"confusion matrix", "not-sure images"} <= titles
    assert str(run / "model") in log.Tensors("files/text_summary")[0].tensor_proto.string_val[0].decode()


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    run = train(tmp_path, "mlflow")
    assert "INFO" not in capfd.readouterr().err  # its own words
    assert mlflow.active_run() is None
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (logged,) = client.search_runs([client.get_experiment_by_name("sit2").experiment_id])
    assert (logged.info.run_name, logged.info.status) == ("run", "FINISHED")
    assert logged.data.params["method"] == "not-sure"
    points = client.get_metric_history(logged.info.run_id, "not-sure/loss")
    expected = [(seen, pytest.approx(value, abs=1e-5)) for seen, value in history(run, "loss")]
    assert [(point.step, point.value) for point in points] == expected
    accuracy = json.loads((run / "metrics.json").read_text())["not-sure"]["test"]["accuracy"]
    assert logged.data.metrics["results/not-sure/accuracy"] == accuracy
    files = {one.path for one in client.list_artifacts(logged.info.run_id)}
    assert {"model", "report.html", "confusion matrix", "not-sure images"} <= files
    (weights,) = tmp_path.rglob("artifacts/model/model.safetensors")
    assert weights.read_bytes() == (run / "model" / "model.safetensors").read_bytes()


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    train(tmp_path, "wandb")
    assert capfd.readouterr().err == ""
    assert wandb.run is None
    (log,) = tmp_path.rglob("run-*.wandb")
    content = log.read_bytes()
    for name in (b"not-sure/loss", b"not-sure/samples_seen", b"results/not-sure/accuracy", b"report.html"):
        assert name in content
    pictures = [path.name for path in tmp_path.rglob("media/images/*.png")]
    assert {name.partition("_")[0] for name in pictures} >= {"confusion matrix", "not-sure images"}


class Failing(Tracker):
    """A tracker whose server goes away when it has an epoch to log."""

    package = "json"
    calls: tuple[str, ...] = ()

    def begin(self, folder, settings):
        Failing.calls = ("begin",)
        assert settings["method"] == "plain"
        return "logged somewhere"

    def epoch(self, training, values, samples_seen):
        Failing.calls += ("epoch",)
        raise ConnectionError("nobody\nis there")

    def results(self, values):
        Failing.calls += ("results",)

    pictures = keep = results

    def end(self, *, complete):
        Failing.calls += ("end",)


def test_one_that_fails_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "wandb", Failing)
    heard: list[Event] = []
    settings = {**LOGGED, "method": "plain", "epochs": 2}
    sit2.train(
        write_folder(tmp_path / "data"), out=tmp_path / "run", log="wandb", listener=heard.append, **settings
    )
    sentence = "logging to wandb failed, and the run goes on without it: nobody is there"
    assert [event.text for event in heard if isinstance(event, Note) and "log" in event.text] == [
        "logged somewhere",
        sentence,
    ]
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["status"] == "complete"
    assert sentence in info["notes"]
    assert Failing.calls == ("begin", "epoch")  # and is not asked again


class Heard(Failing):
    """Keeps what it is told."""

    told: tuple[object, ...] = ()

    def begin(self, folder, settings):
        return ""

    def epoch(self, training, values, samples_seen):
        Heard.told += ((training, tuple(values)),)

    def results(self, values):
        Heard.told += (values,)

    def pictures(self, title, pictures):
        for caption, pixels in pictures:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
            Heard.told += (f"{title}: {caption}",)

    def keep(self, paths):
        Heard.told += (tuple(path.name for path in paths),)

    def end(self, *, complete):
        Heard.told += (complete,)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> type[Heard]:
    monkeypatch.setitem(TRACKERS, "mlflow", Heard)
    Heard.told = ()
    return Heard


def test_wrong_predictions_are_shown_with_their_confidence(tmp_path: Path, heard: type[Heard]) -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)  # of which nothing can be known
    labels = np.arange(60) % 3
    run = sit2.train(
        (images, labels), out=tmp_path / "run", log="mlflow", **{**LOGGED, "method": "plain", "epochs": 1}
    )
    answers = run.predictions["plain"]
    wrong = answers.probabilities.argmax(axis=1) != answers.labels
    shown = [one for one in heard.told if str(one).startswith("classified wrongly: ")]
    assert len(shown) == min(16, wrong.sum()) > 0
    highest = answers.probabilities.max(axis=1)[wrong].max()
    assert shown[0].endswith(f" at {highest:.2f}")


def test_a_run_that_fails_is_closed_as_such(tmp_path: Path, heard: type[Heard]) -> None:
    def stop(event: Event) -> None:
        if type(event).__name__ == "TrainingBegan":
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        sit2.train(
            write_folder(tmp_path / "data"), out=tmp_path / "run", log="mlflow", listener=stop, **LOGGED
        )
    assert heard.told[-1] is False


def test_a_comparison(tmp_path: Path, heard: type[Heard]) -> None:
    words = (
        "--methods",
        "plain",
        "--splits",
        2,
        "--backbone",
        "small-cnn",
        "--epochs",
        1,
        "--image-size",
        16,
    )
    data = write_folder(tmp_path / "data")
    assert command(("compare", data, "-o", tmp_path / "out", *words, "--quiet", "--log", "mlflow")) == 0
    assert ("cells", ("test_accuracy",)) in heard.told
    assert "data/plain/accuracy" in heard.told[-3]
    assert heard.told[-2:] == (("report.html", "results.csv"), True)


def test_what_is_not_there_is_refused_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_folder(tmp_path / "data"), tmp_path / "run"
    assert command(("train", data, "-o", out, "--log", "tensorbord")) == 2
    assert capsys.readouterr().err == "sit2: log cannot be 'tensorbord'\ndid you mean 'tensorboard'?\n"
    monkeypatch.setattr(TRACKERS["wandb"], "package", "not_installed")
    assert command(("train", data, "-o", out, "--log", "wandb")) == 2
    expected = (
        "log: the package not_installed is not installed\npip install 'sit2[wandb]', or leave wandb out of"
    )
    assert capsys.readouterr().err == f"sit2: {expected} --log\n"
    with pytest.raises(sit2.ConfigError, match="pip install"):
        sit2.train(data, out=out, log=["wandb"])
    assert not out.exists()
    refuse_missing([])


@pytest.mark.parametrize("name", TRACKERS)
def test_the_package_has_an_extra_of_the_trackers_name(name: str) -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f"\n{name} = [" in project
