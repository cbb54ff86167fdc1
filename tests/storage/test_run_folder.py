"""The run folder: every file of the contract, refusals, and a run that is killed and goes on."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from killing import at
from PIL import Image
from safetensors.numpy import load_file
from synthetic import CLASSES, RESULTS, SETTINGS, TINY, Finished, command, contents, finished

from sit2.config.schema import Config, make_config
from sit2.errors import RunFolderError
from sit2.evaluation.metrics import METRICS
from sit2.experiments.run import train
from sit2.storage.output_folder import free_folder, unfinished
from sit2.storage.run_folder import OURS, RunFolder, predictions_file

METHODS = ("plain", "multi-label")


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class TestContract:
    def test_the_folder_holds_the_contract_and_nothing_else(self, done: Finished) -> None:
        of_others = {"sources.csv", "predictions.csv", "results.csv", "summary.csv", "ranks.json", "pairs"}
        of_others |= {"best", "matrix.csv", "pairs.csv", "sets.json", "tensorboard"}
        of_arrays = {"thumbnails.npz"}
        assert sorted(p.name for p in done.run.iterdir()) == sorted(
            set(OURS) - of_others - of_arrays - {"state"}
        )

    def test_run_json(self, done: Finished) -> None:
        info = read(done.run / "run.json")
        assert info["format_version"] == 2
        assert info["status"] == "complete"
        assert info["data"] == str(done.data.resolve())
        assert info["methods"] == list(METHODS)
        assert set(info["versions"]) > {"python", "sit2", "torch", "numpy"}
        assert set(info["seconds"]) == {"images", "confusion", "training", "evaluation", "report"}
        assert info["dataset"]["classes"] == list(CLASSES)
        assert info["dataset"]["images"] == 36
        assert len(info["dataset"]["fingerprint"]) == 32
        assert set(info["samples_seen"]) == set(info["training_seconds"]) == set(METHODS)

    def test_config_yaml_holds_every_setting(self, done: Finished) -> None:
        written = yaml.safe_load((done.run / "config.yaml").read_text(encoding="utf-8"))
        assert make_config(written) == make_config(SETTINGS)
        assert list(written) == list(Config().as_dict())

    def test_config_yaml_reproduces_the_run(self, done: Finished, tmp_path: Path) -> None:
        again = tmp_path / "again"
        assert (
            command(("train", done.data, "-o", again, "--config", done.run / "config.yaml", "--quiet")) == 0
        )
        assert contents(again, *RESULTS) == contents(done.run, *RESULTS)

    def test_samples_csv(self, done: Finished) -> None:
        table = pd.read_csv(done.run / "samples.csv", keep_default_na=False)
        assert list(table.columns) == ["id", "path", "label", "group", "split", "problem", "digest"]
        assert table["digest"].str.fullmatch("[0-9a-f]{32}").all()
        assert len(table) == 36
        assert set(table["split"]) == {"train", "val", "test"}
        assert all((done.data / path).is_file() for path in table["path"])
        assert all(
            Path(path).parent.name == label for path, label in zip(table.path, table.label, strict=True)
        )

    def test_confusion(self, done: Finished) -> None:
        samples = pd.read_csv(done.run / "samples.csv")
        train_counts = samples[samples["split"] == "train"]["label"].value_counts()
        matrix = pd.read_csv(done.run / "confusion" / "matrix.csv")
        assert list(matrix.columns) == ["label", *CLASSES, "samples"]
        assert matrix["samples"].tolist() == [train_counts[name] for name in CLASSES]
        np.testing.assert_allclose(matrix[list(CLASSES)].sum(axis=1), matrix["samples"], atol=1e-5)
        pairs = pd.read_csv(done.run / "confusion" / "pairs.csv")
        assert list(pairs.columns) == [
            "class_a", "class_b", "score", "lower", "upper", "confused", "samples", "chosen",
        ]  # fmt: skip
        assert len(pairs) == 3
        assert pairs["score"].is_monotonic_decreasing
        assert pairs["chosen"].dtype == np.bool_

    def test_synthesis_has_a_sheet_for_each_chosen_pair(self, done: Finished) -> None:
        pairs = pd.read_csv(done.run / "confusion" / "pairs.csv")
        chosen = pairs[pairs["chosen"]]
        names = [f"{n:03d}_{p.class_a}__{p.class_b}.png" for n, p in enumerate(chosen.itertuples(), start=1)]
        assert names
        assert sorted(p.name for p in (done.run / "synthesis").iterdir()) == names
        for name in names:
            with Image.open(done.run / "synthesis" / name) as sheet:
                assert sheet.mode == "RGB"
                assert len(sheet.getcolors(maxcolors=10**6)) > 100  # there is a picture on it

    @pytest.mark.parametrize(("folder", "method"), [("model", "multi-label"), ("model/plain", "plain")])
    def test_model(self, done: Finished, folder: str, method: str) -> None:
        spec = read(done.run / folder / "model.json")
        assert set(spec) >= {"format_version", "recipe", "backbone", "classes", "preprocessing", "predictors"}
        assert (spec["backbone"], spec["classes"], spec["recipe"]) == ("small-cnn", list(CLASSES), method)
        assert (spec["predictors"], spec["networks"]) == ([], 1)
        assert set(spec["preprocessing"]) == {
            *("channels", "image_size", "resize", "mean", "std"),
            *("channels_from", "depth_window", "background", "max_megapixels"),
        }
        assert load_file(done.run / folder / "model.safetensors")["head.weight"].shape == (3, 128)

    @pytest.mark.parametrize("method", METHODS)
    def test_predictions(self, done: Finished, method: str) -> None:
        samples = pd.read_csv(done.run / "samples.csv")
        table = pd.read_csv(done.run / "predictions" / f"{method}.csv")
        columns = [f"p_{name}" for name in CLASSES]
        assert list(table.columns) == ["id", "path", "label", "predicted", *columns]
        held = samples[samples["split"].isin(["val", "test"])]
        assert sorted(table["id"]) == sorted(held["id"])
        assert dict(zip(table["id"], table["label"], strict=True)) == dict(
            zip(held["id"], held["label"], strict=True)
        )
        np.testing.assert_allclose(table[columns].sum(axis=1), 1, atol=2e-6)
        best = table[columns].to_numpy().argmax(axis=1)
        assert table["predicted"].tolist() == [CLASSES[k] for k in best]

    def test_metrics_are_those_of_the_predictions(self, done: Finished) -> None:
        metrics = read(done.run / "metrics.json")
        split = dict(pd.read_csv(done.run / "samples.csv")[["id", "split"]].itertuples(index=False))
        assert list(metrics) == list(METHODS)
        for method in METHODS:
            assert set(metrics[method]) == {"val", "test"}
            table = pd.read_csv(done.run / "predictions" / f"{method}.csv")
            for name, values in metrics[method].items():
                assert tuple(values) == METRICS
                rows = table[table["id"].map(split) == name]
                assert values["accuracy"] == pytest.approx((rows["label"] == rows["predicted"]).mean())
                parts = values["accuracy"] + values["pair_error"] + values["other_error"]
                assert parts == pytest.approx(1)

    def test_comparison(self, done: Finished) -> None:
        comparison, metrics = read(done.run / "comparison.json"), read(done.run / "metrics.json")
        assert list(comparison) == ["multi-label"]
        entry = comparison["multi-label"]
        assert set(entry) >= {"control", "difference", "interval", "p", "p_adjusted", "verdict"}
        assert entry["control"] == "plain"
        gain = metrics["multi-label"]["test"]["accuracy"] - metrics["plain"]["test"]["accuracy"]
        assert entry["difference"] == pytest.approx(gain)
        assert entry["verdict"] in ("better", "worse", "no evidence")

    def test_history_has_a_row_an_epoch_and_counts_the_samples_seen(self, done: Finished) -> None:
        samples_seen = read(done.run / "run.json")["samples_seen"]
        table = pd.read_csv(done.run / "history.csv")
        assert list(table.columns) == [
            "method", "member", "phase", "epoch", "samples_seen", "loss", "lr", "val_accuracy", "val_log_loss",
            "seconds",
        ]  # fmt: skip
        assert table["method"].drop_duplicates().tolist() == list(METHODS)
        assert set(table["member"]) == {1}
        for method, rows in table.groupby("method"):
            assert rows["epoch"].tolist() == list(range(1, SETTINGS["epochs"] + 1))
            assert rows["samples_seen"].is_monotonic_increasing
            assert rows["samples_seen"].iloc[-1] == samples_seen[method]
            last = rows[rows["phase"] == rows["phase"].iloc[-1]]
            assert last["val_accuracy"].between(0, 1).all()  # of the head that classifies
            assert (last["val_log_loss"] > 0).all()
            assert rows["seconds"].is_monotonic_increasing
        pretrained = table[table["phase"] == "pretrain"]
        assert len(pretrained) == 2
        assert pretrained[["val_accuracy", "val_log_loss"]].isna().all(axis=None)


class TestOpen:
    """What may be done with an output folder, on bare folders."""

    def open(
        self, path: Path, *, epochs: float = 2.0, workers: int = 1, data: str = "/data", **flags: bool
    ) -> RunFolder:
        settings, identity = {"epochs": epochs, "seed": 0, "workers": workers}, {"data": data}
        return RunFolder.open(path, settings=settings, identity=identity, command="", **flags)

    def begun(self, path: Path) -> RunFolder:
        folder = self.open(path)
        folder.begin()
        return folder

    def test_nothing_is_written_before_begin(self, tmp_path: Path) -> None:
        with self.open(tmp_path / "a" / "b") as folder:
            assert not (tmp_path / "a").exists()
            folder.begin()
        assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["config.yaml", "run.json"]
        assert unfinished(tmp_path / "a" / "b")

    def test_overwrite_removes_what_is_ours_and_only_at_begin(self, tmp_path: Path) -> None:
        self.begun(tmp_path).finish()
        for name in ("metrics.json", "mine.txt", "model/model.json", "notes/mine.md"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        with self.open(tmp_path, overwrite=True) as folder:
            assert (tmp_path / "model" / "model.json").exists()
            folder.begin()
        left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
        assert left == ["config.yaml", "mine.txt", "notes/mine.md", "run.json"]

    @pytest.mark.parametrize("flag", ["overwrite", "resume"])
    def test_a_folder_of_somebody_else_is_refused(self, tmp_path: Path, flag: str) -> None:
        (tmp_path / "metrics.json").write_text("mine")
        with pytest.raises(RunFolderError) as caught:
            self.open(tmp_path, **{flag: True})
        assert str(caught.value) == f"{tmp_path} is not a folder that sit2 made\ngive another -o"
        assert (tmp_path / "metrics.json").read_text() == "mine"

    def test_an_empty_folder_is_taken(self, tmp_path: Path) -> None:
        self.begun(tmp_path)
        assert (tmp_path / "run.json").is_file()

    def test_a_folder_that_is_not_empty_is_refused(self, tmp_path: Path) -> None:
        self.begun(tmp_path)
        with pytest.raises(RunFolderError) as caught:
            self.open(tmp_path, resume=False)
        assert str(caught.value) == (
            f"the output folder {tmp_path} is not empty\nuse --resume to finish the run in it, "
            "--overwrite to replace what a run wrote, or another -o"
        )
        with pytest.raises(RunFolderError, match="\nuse --overwrite to replace"):
            self.open(tmp_path)

    def test_resume_wants_the_same_settings(self, tmp_path: Path) -> None:
        self.begun(tmp_path)
        with pytest.raises(RunFolderError) as caught:
            self.open(tmp_path, resume=True, epochs=3.0, data="/other")
        assert str(caught.value) == (
            f"the run in {tmp_path} had other settings: epochs was 2.0, is 3.0, data was /data, is /other\n"
            "use the same settings to resume, --overwrite to begin again, or another -o"
        )
        assert self.open(tmp_path, resume=True, workers=2).resumed  # that changes no result

    @pytest.mark.parametrize("damage", ["{", "[]", ""])
    def test_a_damaged_run_json(self, tmp_path: Path, damage: str) -> None:
        self.begun(tmp_path)
        (tmp_path / "run.json").write_text(damage)
        with pytest.raises(RunFolderError, match=r"run\.json"):
            self.open(tmp_path, resume=True)
        assert not unfinished(tmp_path)
        self.open(tmp_path, overwrite=True).begin()
        assert unfinished(tmp_path)

    def test_another_versions_run_is_not_resumed(self, tmp_path: Path) -> None:
        self.begun(tmp_path)
        info = read(tmp_path / "run.json")
        (tmp_path / "run.json").write_text(json.dumps(info | {"format_version": 1}))
        with pytest.raises(RunFolderError, match="has format version 1, and this sit2 reads version 2 only"):
            self.open(tmp_path, resume=True)
        self.open(tmp_path, overwrite=True).begin()
        assert read(tmp_path / "run.json")["format_version"] == 2

    @pytest.mark.parametrize("damage", [b"\xff\xfe", b"a: [", b"7"])
    def test_a_damaged_config_yaml(self, tmp_path: Path, damage: bytes) -> None:
        self.begun(tmp_path)
        (tmp_path / "config.yaml").write_bytes(damage)
        with pytest.raises(RunFolderError, match=r"cannot read .*config\.yaml\nuse --overwrite"):
            self.open(tmp_path, resume=True)

    def test_a_failed_run_says_why_and_can_be_resumed(self, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), self.begun(tmp_path) as folder, folder.running():
            _ = 1 / 0
        assert read(tmp_path / "run.json")["status"] == "failed"
        assert read(tmp_path / "run.json")["error"] == "division by zero"
        self.open(tmp_path, resume=True).begin()
        assert unfinished(tmp_path)
        assert "error" not in read(tmp_path / "run.json")

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("")
        with pytest.raises(RunFolderError, match="is a file\nexpected a folder; give another -o"):
            self.open(tmp_path / "x")

    def test_json_has_null_for_what_is_not_a_number(self, tmp_path: Path) -> None:
        folder = self.begun(tmp_path)
        folder.write_json("x.json", {"a": [float("nan"), float("inf"), 1.5], "b": {"c": (float("-inf"),)}})
        assert read(tmp_path / "x.json") == {"a": [None, None, 1.5], "b": {"c": [None]}}

    def test_free_folder(self, tmp_path: Path) -> None:
        base = tmp_path / "runs" / "a"
        assert free_folder(base) == base
        base.mkdir(parents=True)
        assert free_folder(base) == base  # empty
        (base / "x").touch()
        assert free_folder(base) == tmp_path / "runs" / "a-2"


class TestRefusals:
    def test_a_complete_run_is_not_resumed(self, done: Finished, capsys: pytest.CaptureFixture[str]) -> None:
        before = contents(done.run, "**/*")
        assert command(["train", str(done.data), "-o", str(done.run), *TINY, "--resume"]) == 2
        assert capsys.readouterr().err == (
            f"sit2: the run in {done.run} is complete\nuse --overwrite to run it again, or another -o\n"
        )
        assert contents(done.run, "**/*") == before

    def test_other_settings_are_named(self, done: Finished, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["train", str(done.data), "-o", str(done.run), *TINY, "--resume", "--method", "not-sure"]
        assert command([*words, "--seed", "1"]) == 2
        assert capsys.readouterr().err == (
            f"sit2: the run in {done.run} had other settings: method was multi-label, is not-sure, seed was 0, "
            "is 1, methods was ['plain', 'multi-label'], is ['plain', 'not-sure']\n"
            "use the same settings to resume, --overwrite to begin again, or another -o\n"
        )

    def test_other_images_are_refused(
        self,
        done: Finished,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        data, out = tmp_path / "shapes", tmp_path / "run"
        shutil.copytree(done.data, data)
        press = at(".json", 0, 1, lambda: signal.raise_signal(signal.SIGINT))  # in the confusion
        monkeypatch.setattr(Path, "replace", press)
        assert command(["train", str(data), "-o", str(out), *TINY, "--quiet"]) == 130
        monkeypatch.undo()
        capsys.readouterr()
        Image.new("RGB", (16, 16), "red").save(data / "disc" / "disc_00.png")
        assert command(["train", str(data), "-o", str(out), *TINY, "--quiet", "--resume"]) == 2
        assert capsys.readouterr().err == (
            f"sit2: the images or labels have changed since the run in {out} began\n"
            "use --overwrite to begin again, or another -o\n"
        )

    def test_python_refuses_a_folder_that_is_not_empty(self, done: Finished) -> None:
        with pytest.raises(RunFolderError, match="is not empty"):
            train(done.data, out=done.run, **SETTINGS)


@pytest.mark.parametrize(
    "recipe", ["../../else", "..", "A", "a b", "con:", "a/b", "a\\b", "", "é", "%00002a"]
)
def test_the_name_of_a_damaged_recipe_stays_in_its_folder(recipe: str) -> None:
    path = predictions_file(Path("run"), recipe)
    assert path.parent == Path("run/predictions")
    assert re.fullmatch(r"[a-z0-9@+%-]*\.csv", path.name)
