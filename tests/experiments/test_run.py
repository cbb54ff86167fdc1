"""A whole run: one seed gives one result, nothing leaks, budgets are equal, and it may find nothing."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import CLASSES, RESULTS, SETTINGS, TINY, command, contents, finished, save, write_manifest

import sit2
import sit2.execution.pool
import sit2.experiments.stages
from sit2.cli.screen import Screen
from sit2.config.schema import METHOD_NAMES, PAIR_METHODS, make_config
from sit2.data.readers.arrays import from_arrays
from sit2.execution.job import Job, Outcome, run_job
from sit2.experiments.run import run_experiment
from sit2.methods import trains_as
from sit2.records import Dataset
from sit2.seeds import Seeds
from sit2.training.backbones import Network

EVERY_METHOD = (*METHOD_NAMES, *(f"{name}@{pairs}" for name in PAIR_METHODS for pairs in ("random", "all")))
QUIET = Screen(quiet=True)


def noise(count: int, classes: int, seed: int = 3) -> Dataset:
    """Return images of pure noise, each with a label that means nothing."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (count, 16, 16), dtype=np.uint8)
    return from_arrays(images, draw.permutation(np.arange(count) % classes), "noise")


class TestSameSeed:
    """`test_runfolder.py` runs one seed twice; here it is run in several processes."""

    @pytest.mark.slow
    def test_any_number_of_processes_gives_the_same_bytes(self, tmp_path: Path) -> None:
        done, out = finished(), tmp_path / "run"
        assert command(("train", done.data, "-o", out, *TINY, "--workers", 2, "--quiet")) == 0
        assert contents(out, *RESULTS) == contents(done.run, *RESULTS)

    def test_another_seed_gives_another_run(self, tmp_path: Path) -> None:
        done, out = finished(), tmp_path / "run"
        assert command(("train", done.data, "-o", out, *TINY, "--seed", 1, "--quiet")) == 0
        one, other = contents(done.run, *RESULTS, "samples.csv"), contents(out, *RESULTS, "samples.csv")
        assert one.keys() == other.keys()
        assert not [name for name in one if one[name] == other[name] and name != "comparison.json"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the run folders: as it is, and with other images in a split."""
    root = tmp_path_factory.mktemp("leaks")
    draw = np.random.default_rng(0)
    outputs = {}
    for changed in ("nothing", "test", "val", "train"):
        manifest = write_manifest(root / changed / "shapes")
        with manifest.open() as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == changed]
        # One training image is enough to change everything; the others are all poisoned.
        for row in rows[:1] if changed == "train" else rows:
            save(manifest.parent / row["path"], draw.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        outputs[changed] = root / changed / "run"
        assert command(("train", manifest, "-o", outputs[changed], *TINY, "--quiet")) == 0
    return outputs


class TestNothingLeaks:
    """Splits are given, the pixels of one part are replaced by noise, and the run is repeated."""

    TRAINED = ("confusion/*.csv", "synthesis/*.png", "model/**/*.safetensors", "model/**/*.json")

    def predictions(self, run: Path, split: str) -> dict[str, list[str]]:
        with (run / "samples.csv").open() as file:
            members = {row["id"] for row in csv.DictReader(file) if row["split"] == split}
        files = contents(run, "predictions/*.csv")
        return {
            name: [line for line in text.decode().splitlines() if line.split(",")[0] in members]
            for name, text in files.items()
        }

    def test_test_images_reach_neither_confusion_nor_training_nor_selection(
        self, outputs: dict[str, Path]
    ) -> None:
        clean, poisoned = outputs["nothing"], outputs["test"]
        assert contents(poisoned, *self.TRAINED) == contents(clean, *self.TRAINED)
        assert self.predictions(poisoned, "val") == self.predictions(clean, "val")
        for name, lines in self.predictions(poisoned, "test").items():
            assert len(lines) == 9
            assert lines != self.predictions(clean, "test")[name]  # the poison was there

    def test_validation_images_train_nothing(self, outputs: dict[str, Path]) -> None:
        clean, poisoned = outputs["nothing"], outputs["val"]
        assert contents(poisoned, *self.TRAINED) == contents(clean, *self.TRAINED)
        assert self.predictions(poisoned, "test") == self.predictions(clean, "test")
        assert self.predictions(poisoned, "val") != self.predictions(clean, "val")

    def test_one_training_image_changes_everything(self, outputs: dict[str, Path]) -> None:
        clean, changed = (
            contents(outputs["nothing"], *self.TRAINED),
            contents(outputs["train"], *self.TRAINED),
        )
        same = [name for name in clean if changed.get(name) == clean[name]]
        assert not [name for name in same if name.endswith((".csv", ".safetensors"))]

    def test_early_stopping_alone_looks_at_validation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked: list[Job] = []
        monkeypatch.setattr(
            sit2.execution.pool, "run_job", lambda job, report: looked.append(job) or _nothing(job)
        )
        manifest = write_manifest(tmp_path)
        config = make_config(SETTINGS, {"early_stop": 2})
        prepared = sit2.experiments.stages.prepare(manifest, config, QUIET)
        sit2.experiments.stages.measure_confusion(prepared, config, QUIET)
        assert [job.config.early_stop for job in looked] == [0, 0]  # the folds never stop early
        assert all(len(job.val_rows) == 0 for job in looked)


def _nothing(job: Job) -> Outcome:
    """Stand in for a training: even probabilities."""
    shape = (len(job.predict_rows), len(job.classes))
    return Outcome(np.full(shape, 1 / shape[1]), 0, 0.0, [], None)  # type: ignore[arg-type]


class TestProbe:
    def test_it_sees_the_training_images_and_no_others(self) -> None:
        config = make_config(SETTINGS, {"confusion": "probe"})
        dataset = noise(48, 2)
        prepared = sit2.experiments.stages.prepare(dataset, config, QUIET)
        confusion, pairs = sit2.experiments.stages.measure_confusion(prepared, config, QUIET)
        assert confusion.samples.sum() == len(prepared.rows("train"))
        assert len(pairs) == 1
        held_out = np.concatenate([prepared.rows("val"), prepared.rows("test")])
        changed = prepared.images.copy()
        changed[held_out] = 255 - changed[held_out]
        other, _ = sit2.experiments.stages.measure_confusion(replace(prepared, images=changed), config, QUIET)
        np.testing.assert_array_equal(other.mass, confusion.mass)
        changed[prepared.rows("train")[0]] = 0
        other, _ = sit2.experiments.stages.measure_confusion(replace(prepared, images=changed), config, QUIET)
        assert not np.array_equal(other.mass, confusion.mass)

    def test_it_learns_nothing_by_heart(self) -> None:
        config = make_config(SETTINGS, {"confusion": "probe"})
        confusion, _ = sit2.experiments.stages.measure_confusion(
            sit2.experiments.stages.prepare(noise(96, 2), config, QUIET), config, QUIET
        )
        assert 0.25 < confusion.mass.trace() / confusion.mass.sum() < 0.75


class TestOutOfFold:
    def test_a_fold_never_sees_its_own_images(self) -> None:
        """Noise with random labels can be learned by heart, and in no other way."""
        config = make_config(
            SETTINGS, {"epochs": 40, "confusion_epochs": 40, "augment": "none", "lr": 0.005, "batch_size": 16}
        )
        dataset = noise(48, 2)
        prepared = sit2.experiments.stages.prepare(dataset, config, QUIET)
        train = prepared.rows("train")

        confusion, _ = sit2.experiments.stages.measure_confusion(prepared, config, QUIET)
        out_of_fold = confusion.mass.trace() / confusion.mass.sum()

        images, labels = prepared.images, dataset.labels
        job = Job("plain", config, Seeds(0), dataset.classes, images, labels, train, train)
        outcome = run_job(job)
        by_heart = outcome.probabilities[np.arange(len(train)), labels[train]].mean()

        assert by_heart > 0.9
        assert 0.25 < out_of_fold < 0.75

    @pytest.mark.parametrize("grouped", [False, True])
    def test_the_folds_part_the_training_images(self, monkeypatch: pytest.MonkeyPatch, grouped: bool) -> None:
        jobs: list[Job] = []
        monkeypatch.setattr(
            sit2.execution.pool, "run_job", lambda job, report: jobs.append(job) or _nothing(job)
        )
        config = make_config(SETTINGS, {"folds": 4})
        dataset = noise(60, 3)
        groups = tuple(f"patient {n // 3}" for n in range(60))
        dataset = replace(dataset, groups=groups if grouped else ())
        prepared = sit2.experiments.stages.prepare(dataset, config, QUIET)
        confusion, pairs = sit2.experiments.stages.measure_confusion(prepared, config, QUIET)

        train = set(prepared.rows("train").tolist())
        assert len(jobs) == 4
        held_out = [row for job in jobs for row in job.predict_rows.tolist()]
        assert sorted(held_out) == sorted(train)
        for job in jobs:
            inside, outside = set(job.train_rows.tolist()), set(job.predict_rows.tolist())
            assert inside | outside == train
            assert not inside & outside
            if grouped:
                assert not {groups[n] for n in inside} & {groups[n] for n in outside}
        if grouped:
            splits = {name: {groups[n] for n in prepared.rows(name)} for name in ("train", "val", "test")}
            assert sum(map(len, splits.values())) == len(set.union(*splits.values()))
        # Every class got a third of every probability, whatever the folds were.
        np.testing.assert_allclose(confusion.mass, np.repeat(confusion.samples[:, None] / 3, 3, axis=1))
        assert [pair.score for pair in pairs] == pytest.approx([2 / 3] * 3)


class TestBudget:
    def test_every_method_takes_the_same_number_of_image_passes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = finished().data  # which may train: before the counting begins
        counted: dict[str, int] = defaultdict(int)
        now = ""
        forward = Network.forward

        def counting(self: Network, images: Any) -> Any:
            if self.training:
                counted[now] += len(images)
            return forward(self, images)

        def named(job: Job, report: Any) -> Outcome:
            nonlocal now
            now = job.method if job.save_to else "folds"
            return run_job(job, report)

        monkeypatch.setattr(Network, "forward", counting)
        monkeypatch.setattr(sit2.execution.pool, "run_job", named)
        config = make_config(SETTINGS, {"epochs": 2.3, "pretrain_fraction": 0.4})
        run = run_experiment(data, tmp_path / "run", config, EVERY_METHOD, screen=QUIET)

        samples_seen = json.loads((run.folder / "run.json").read_text())["samples_seen"]
        assert any(pair.chosen for pair in run.pairs)
        assert list(samples_seen) == list(EVERY_METHOD)
        counted.pop("folds")
        trained = {method for method in EVERY_METHOD if trains_as(method, config) == method}
        assert counted == {
            method: samples_seen[method] for method in trained
        }  # the others share one's network
        # 23 training images × 2.3 epochs / 8 a batch = 6.6 → 7 full batches
        assert set(samples_seen.values()) == {56}

    def test_every_method_has_its_files(self, tmp_path: Path) -> None:
        """Names with an @ are names of files too."""
        methods = ("plain", "multi-label@random", "not-sure@all")
        config = make_config(SETTINGS, {"epochs": 0.5, "method": "not-sure@all"})
        run = run_experiment(finished().data, tmp_path / "run", config, methods, screen=QUIET)
        assert sorted(p.name for p in (run.folder / "predictions").iterdir()) == [
            "multi-label@random.csv", "not-sure@all.csv", "plain.csv",
        ]  # fmt: skip
        models = sorted(contents(run.folder / "model", "**/*.safetensors"))
        assert models == [
            "model.safetensors",
            "multi-label-at-random/model.safetensors",
            "plain/model.safetensors",
        ]
        assert list(run.comparison) == ["multi-label@random", "not-sure@all"]
        assert {test.comparisons for test in run.comparison.values()} == {2}


class TestNothingIsConfused:
    NOTHING = (
        "No pair of classes is confused enough (of 3): there is nothing to make not-sure images from.\n"
        "So the SIT² methods train plainly.\n"
    )

    @pytest.mark.parametrize("method", ["multi-label", "not-sure@random"])
    def test_it_says_so_and_trains_plainly(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
    ) -> None:
        out = tmp_path / "run"
        words = ("train", finished().data, "-o", out, *TINY, "--epochs", 2, "--method", method)
        assert command((*words, "--min-confused", "1e9")) == 0
        printed = capsys.readouterr().out
        assert self.NOTHING in printed
        assert f"No evidence that {method} and plain differ" in printed
        files = contents(out, "predictions/*.csv")
        assert files[f"predictions/{method}.csv"] == files["predictions/plain.csv"]
        assert not (out / "synthesis").exists()
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics[method]["test"]["pair_error"] is None
        assert metrics[method] == metrics["plain"]
        comparison = json.loads((out / "comparison.json").read_text())[method]
        assert (comparison["difference"], comparison["p"], comparison["verdict"]) == (0, 1, "no evidence")

    def test_classes_as_different_as_black_and_white(self, capsys: pytest.CaptureFixture[str]) -> None:
        labels = np.array(["black", "white"] * 12)
        images = np.random.default_rng(0).integers(0, 9, (24, 16, 16))
        images += np.where(labels == "black", 20, 230)[:, None, None]
        config = make_config(SETTINGS, {"confusion_epochs": 60})
        prepared = sit2.experiments.stages.prepare(
            from_arrays(images.astype(np.uint8), labels, "easy"), config, QUIET
        )
        _, pairs = sit2.experiments.stages.measure_confusion(prepared, config, QUIET)
        assert [pair.chosen for pair in pairs] == [False]
        assert pairs[0].confused < 1


class TestPython:
    def test_train_returns_what_the_folder_holds(self, tmp_path: Path) -> None:
        done = finished()
        run = sit2.train(done.data, out=tmp_path / "run", **SETTINGS)
        assert isinstance(run, sit2.Run)
        assert run.folder == tmp_path / "run"
        assert run.classes == CLASSES
        assert contents(run.folder, *RESULTS) == contents(done.run, *RESULTS)
        assert json.loads((run.folder / "metrics.json").read_text()) == run.metrics
        written = json.loads((run.folder / "comparison.json").read_text())
        assert written == {name: test.to_json() for name, test in run.comparison.items()}
        assert [pair.score for pair in run.pairs] == sorted((p.score for p in run.pairs), reverse=True)
        assert list(run.predictions) == ["plain", "multi-label"]
        assert run.predictions["plain"].probabilities.shape == (7, 3)

    def test_it_is_quiet_unless_told_otherwise(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sit2.train(finished().data, out=tmp_path / "run", **{**SETTINGS, "method": "mixup", "epochs": 0.5})
        assert capsys.readouterr() == ("", "")
        sit2.train(
            finished().data, out=tmp_path / "2", quiet=False, **{**SETTINGS, "method": "mixup", "epochs": 0.5}
        )
        assert capsys.readouterr().out.startswith("shapes: 36 images of 3 classes, 16 × 16 pixels, colour\n")

    def test_a_dataset_of_arrays_trains_as_well(self, tmp_path: Path) -> None:
        run = sit2.train(noise(30, 2), out=tmp_path / "run", **{**SETTINGS, "epochs": 1})
        assert run.classes == ("0", "1")
        assert (run.folder / "model" / "model.json").is_file()

    def test_an_unknown_setting(self, tmp_path: Path) -> None:
        with pytest.raises(sit2.ConfigError) as caught:
            sit2.train(finished().data, out=tmp_path / "run", epoch=3)
        assert str(caught.value) == "unknown setting 'epoch'\ndid you mean 'epochs'?"
        assert not (tmp_path / "run").exists()
