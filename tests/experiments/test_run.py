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
from safetensors.numpy import load_file
from synthetic import CLASSES, RESULTS, SETTINGS, TINY, command, contents, finished, save, write_manifest

import sit2
from sit2.config.recipe import Recipe, parse_all
from sit2.config.schema import Config, make_config
from sit2.data.pixels import PixelStore
from sit2.data.readers.arrays import from_arrays
from sit2.events import DataPrepared, EpochEnded, Event, StageBegan, TrainingBegan, nobody
from sit2.execution.parts import Part
from sit2.execution.runner import run_recipes
from sit2.experiments.confusion import FoldPlan, Measured, judged, measure_confusion
from sit2.experiments.planning import plan
from sit2.experiments.prepare import Prepared, prepare
from sit2.experiments.run import run_experiment
from sit2.methods import METHODS
from sit2.records import Dataset
from sit2.report.page import write_report
from sit2.seeds import Seeds
from sit2.training.backbones import Network
from sit2.training.loop import Training
from sit2.training.start import Start

PAIR_METHODS = [name for name, method in METHODS.items() if method.uses_pairs]
TRAINED = [name for name, method in METHODS.items() if not method.in_closed_form]
EVERY_METHOD = (*TRAINED, *(f"{name}@{pairs}" for name in PAIR_METHODS for pairs in ("random", "all")))


def measured(prepared: Prepared, config: Config, folder: Path) -> Measured:
    """Measure confusion as a run that needs it does."""
    (one,) = measure_confusion(
        [(prepared, config, None)], needed=True, networks=folder / "networks", keep=None, listener=nobody
    )
    assert one is not None
    return one


def noise(count: int, classes: int, seed: int = 3) -> Dataset:
    """Return images of pure noise, each with a label that means nothing."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (count, 16, 16), dtype=np.uint8)
    return from_arrays(images, draw.permutation(np.arange(count) % classes), "noise")


class TestSameSeed:
    """`test_run_folder.py` runs one seed twice; here it is run in several processes."""

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
        same = {name for name in one if one[name] == other[name]}
        assert same <= {"comparison.json", "model/model.json", "model/plain/model.json"}


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

    def test_folds_neither_validate_nor_stop_early(self, tmp_path: Path) -> None:
        config = make_config(SETTINGS, {"early_stop": 2})
        folds = FoldPlan.of(prepare(write_manifest(tmp_path), config, nobody), config)
        trainings = [training for job in folds.jobs for training in job.trainings]
        assert [training.config.early_stop for training in trainings] == [0, 0]
        assert all(len(training.val) == 0 for training in trainings)


class TestNothingLeaksIntoPredictors:
    """The same with what comes after training: it is fitted to validation images, and sees no test image."""

    RECIPE = "plain+tta+ensemble+pairwise+temperature"

    @pytest.fixture(scope="class")
    @classmethod
    def runs(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, sit2.Run]:
        root, draw, runs = tmp_path_factory.mktemp("leaks"), np.random.default_rng(0), {}
        for changed in ("nothing", "test", "val"):
            manifest = write_manifest(root / changed / "shapes")
            with manifest.open() as file:
                rows = [row for row in csv.DictReader(file) if row["split"] == changed]
            for row in rows:
                save(manifest.parent / row["path"], draw.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            settings = {**SETTINGS, "method": cls.RECIPE, "confusion": "closed-form"}
            runs[changed] = sit2.train(manifest, out=root / changed / "run", **settings)
        return runs

    def tensors(self, run: sit2.Run, *, of_predictors: bool) -> dict[str, bytes]:
        tensors = load_file(run.folder / "model" / "model.safetensors")
        return {n: t.tobytes() for n, t in tensors.items() if n.startswith("predictor.") == of_predictors}

    def test_test_images_change_nothing_of_the_model(self, runs: dict[str, sit2.Run]) -> None:
        clean, poisoned = runs["nothing"], runs["test"]
        model = ("model/model.json", "model/model.safetensors", "confusion/*.csv")
        assert contents(poisoned.folder, *model) == contents(clean.folder, *model)
        assert poisoned.metrics[self.RECIPE]["val"] == clean.metrics[self.RECIPE]["val"]
        assert poisoned.metrics[self.RECIPE]["test"] != clean.metrics[self.RECIPE]["test"]

    def test_validation_images_fit_predictors_alone(self, runs: dict[str, sit2.Run]) -> None:
        clean, poisoned = runs["nothing"], runs["val"]
        network, predictors = (
            [self.tensors(run, of_predictors=kind) for run in (clean, poisoned)] for kind in (False, True)
        )
        assert network[0] == network[1]
        assert predictors[0].keys() == predictors[1].keys()
        assert predictors[0] != predictors[1]
        confusion = [contents(run.folder, "confusion/*.csv") for run in (clean, poisoned)]
        assert confusion[0] == confusion[1]


class TestClosedForm:
    def test_it_sees_the_training_images_and_no_others(self, tmp_path: Path) -> None:
        config = make_config(SETTINGS, {"confusion": "closed-form"})
        prepared = prepare(noise(48, 2), config, nobody)
        found = measured(prepared, config, tmp_path)
        assert found.confusion.samples.sum() == len(prepared.rows("train"))
        assert len(found.pairs) == 1
        held_out = np.concatenate([prepared.rows("val"), prepared.rows("test")])
        changed = prepared.store.images.copy()

        def mass() -> np.ndarray:
            other = replace(prepared, store=PixelStore.of(changed))
            return measured(other, config, tmp_path).confusion.mass

        changed[held_out] = 255 - changed[held_out]
        np.testing.assert_array_equal(mass(), found.confusion.mass)
        changed[prepared.rows("train")[0]] = 0
        assert not np.array_equal(mass(), found.confusion.mass)

    def test_it_learns_nothing_by_heart(self, tmp_path: Path) -> None:
        config = make_config(SETTINGS, {"confusion": "closed-form"})
        mass = measured(prepare(noise(96, 2), config, nobody), config, tmp_path).confusion.mass
        assert 0.25 < mass.trace() / mass.sum() < 0.75


class TestOutOfFold:
    def test_a_fold_never_sees_its_own_images(self, tmp_path: Path) -> None:
        """Noise with random labels can be learned by heart, and in no other way."""
        config = make_config(
            SETTINGS, {"epochs": 40, "confusion_epochs": 40, "augment": "none", "lr": 0.005, "batch_size": 16}
        )
        prepared = prepare(noise(48, 2), config, nobody)
        mass = measured(prepared, config, tmp_path).confusion.mass
        out_of_fold = mass.trace() / mass.sum()

        train = prepared.part(prepared.rows("train"))
        job = plan(
            Recipe("plain"),
            config=config,
            seeds=Seeds(0),
            classes=prepared.dataset.classes,
            store=prepared.store,
            train=train,
            val=Part.empty(),
            predict=train,
            start=Start(),
        )
        (outcome,) = run_recipes([job], config=config, listener=nobody, title="", networks=tmp_path)
        by_heart = outcome.probabilities[np.arange(len(train)), train.labels].mean()

        assert by_heart > 0.9
        assert 0.25 < out_of_fold < 0.75

    @pytest.mark.parametrize("grouped", [False, True])
    def test_the_folds_part_the_training_images(self, grouped: bool) -> None:
        config = make_config(SETTINGS, {"folds": 4})
        dataset = noise(60, 3)
        groups = tuple(f"patient {n // 3}" for n in range(60))
        dataset = replace(dataset, groups=groups if grouped else ())
        prepared = prepare(dataset, config, nobody)
        folds = FoldPlan.of(prepared, config)

        train = set(prepared.rows("train").tolist())
        assert len(folds.jobs) == 4
        held_out = [row for job in folds.jobs for row in job.predict.rows.tolist()]
        assert sorted(held_out) == sorted(train)
        for job in folds.jobs:
            (training,) = job.trainings
            inside, outside = set(training.train.rows.tolist()), set(job.predict.rows.tolist())
            assert inside | outside == train
            assert not inside & outside
            assert training.train.labels.tolist() == dataset.labels[training.train.rows].tolist()
            if grouped:
                assert not {groups[n] for n in inside} & {groups[n] for n in outside}
        if grouped:
            splits = {name: {groups[n] for n in prepared.rows(name)} for name in ("train", "val", "test")}
            assert sum(map(len, splits.values())) == len(set.union(*splits.values()))

        # What the folds answer comes back in the order of the images.
        truth = np.eye(3)[dataset.labels]
        answers = [Answered(truth[job.predict.rows]) for job in folds.jobs]
        mass = judged(prepared, config, folds.probabilities(answers)).confusion.mass  # type: ignore[arg-type]
        np.testing.assert_allclose(mass, np.diag(np.bincount(dataset.labels[prepared.rows("train")])))
        # And where every class gets a third of every probability, all pairs are confused alike.
        even = [Answered(np.full((len(job.predict), 3), 1 / 3)) for job in folds.jobs]
        found = judged(prepared, config, folds.probabilities(even))  # type: ignore[arg-type]
        samples = found.confusion.samples
        np.testing.assert_allclose(found.confusion.mass, np.repeat(samples[:, None] / 3, 3, axis=1))
        assert [pair.score for pair in found.pairs] == pytest.approx([2 / 3] * 3)


class Answered:
    """Stands in for the outcome of a fold."""

    def __init__(self, probabilities: np.ndarray) -> None:
        self.probabilities = probabilities


class TestBudget:
    @pytest.mark.slow
    def test_every_recipe_sees_the_same_number_of_samples(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = finished().data  # which may train: before the counting begins
        counted: dict[str, int] = defaultdict(int)
        now = ""
        forward, train = Network.forward, Training.run

        def counting(self: Network, images: Any) -> Any:
            if self.training:
                counted[now] += len(images)
            return forward(self, images)

        def named(self: Training) -> Any:
            nonlocal now
            now = "folds" if "fold" in self.name else self.method
            return train(self)

        monkeypatch.setattr(Network, "forward", counting)
        monkeypatch.setattr(Training, "run", named)
        config = make_config(SETTINGS, {"epochs": 2.3, "pretrain_fraction": 0.4})
        recipes = parse_all((*EVERY_METHOD, "plain+tta+ensemble+temperature", "plain@random+pairwise"))
        run = run_experiment(data, tmp_path / "run", config, recipes)

        samples_seen = json.loads((run.folder / "run.json").read_text())["samples_seen"]
        assert any(pair.chosen for pair in run.pairs)
        assert list(samples_seen) == [str(recipe) for recipe in recipes]
        assert counted.pop("folds") > 0
        assert counted == {method: samples_seen[method] for method in EVERY_METHOD}  # the others share one's
        # 23 training images × 2.3 epochs / 8 a batch = 6.6 → 7 full batches
        assert set(samples_seen.values()) == {56}

    def test_members_count(self, tmp_path: Path) -> None:
        settings = {**SETTINGS, "epochs": 1, "method": "mixup*2"}
        run = sit2.train(finished().data, out=tmp_path / "run", **settings)
        info = json.loads((run.folder / "run.json").read_text())
        assert info["samples_seen"] == {"plain*2": 48, "mixup*2": 48}
        with (run.folder / "history.csv").open() as file:
            rows = [(row["method"], row["member"], row["samples_seen"]) for row in csv.DictReader(file)]
        assert rows == [(method, member, "24") for method in ("plain*2", "mixup*2") for member in "12"]
        written = [path.name for path in run.folder.rglob("*")]
        assert not [name for name in written if set(name) & set('\\/:*?"<>|')], "names that Windows refuses"
        assert {"plain-x2.csv", "mixup-x2.csv"} <= set(written)
        page = write_report(run.folder).read_text(encoding="utf-8")
        assert "mixup*2 classified" in page, "the reader finds them again"

    def test_every_method_has_its_files(self, tmp_path: Path) -> None:
        """Named as they are, with an @ too."""
        methods = ("plain", "multi-label@random", "not-sure@all")
        config = make_config(SETTINGS, {"epochs": 0.5, "method": "not-sure@all"})
        run = run_experiment(finished().data, tmp_path / "run", config, parse_all(methods))
        assert sorted(p.name for p in (run.folder / "predictions").iterdir()) == [
            "multi-label@random.csv", "not-sure@all.csv", "plain.csv",
        ]  # fmt: skip
        models = sorted(contents(run.folder / "model", "**/*.safetensors"))
        assert models == [
            "model.safetensors",
            "multi-label@random/model.safetensors",
            "plain/model.safetensors",
        ]
        assert list(run.comparison) == ["multi-label@random", "not-sure@all"]
        assert {test.comparisons for test in run.comparison.values()} == {2}

    def test_not_sure_images_are_shown_only_of_what_trains_on_the_chosen_ones(self, tmp_path: Path) -> None:
        config = make_config(SETTINGS, {"epochs": 0.5, "method": "multi-label@random"})
        recipes = parse_all(("soft-label", "confusion-smoothing", "multi-label@random"))
        run = run_experiment(finished().data, tmp_path / "run", config, recipes)
        assert any(pair.chosen for pair in run.pairs)
        assert not (run.folder / "synthesis").exists()
        assert "Not-sure images" not in (run.folder / "report.html").read_text(encoding="utf-8")


class TestNothingIsConfused:
    NOTHING = "No pair of classes is confused enough (of 3): there is nothing to make not-sure images from.\n"

    @pytest.mark.parametrize("method", ["multi-label", "not-sure@random"])
    def test_it_says_so_and_trains_plainly(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
    ) -> None:
        out = tmp_path / "run"
        words = ("train", finished().data, "-o", out, *TINY, "--epochs", 2, "--method", method)
        assert command((*words, "--min-confused", "1e9")) == 0
        printed = capsys.readouterr().out
        assert f"{self.NOTHING}So {method} trained like plain.\n" in printed
        assert f"No evidence that {method} and plain differ" in printed
        files = contents(out, "predictions/*.csv")
        assert files[f"predictions/{method}.csv"] == files["predictions/plain.csv"]
        assert not (out / "synthesis").exists()
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics[method]["test"]["pair_error"] is None
        assert metrics[method] == metrics["plain"]
        comparison = json.loads((out / "comparison.json").read_text())[method]
        assert (comparison["difference"], comparison["p"], comparison["verdict"]) == (0, 1, "no evidence")

    def test_a_method_that_takes_every_pair_still_mixes(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ("train", finished().data, "-o", tmp_path / "run", *TINY, "--epochs", 2)
        closed = ("--confusion", "closed-form", "--method", "multi-label@all", "--min-confused", "1e9")
        assert command((*words, *closed)) == 0
        printed = capsys.readouterr().out
        assert self.NOTHING in printed
        assert "trained like plain" not in printed
        files = contents(tmp_path / "run", "predictions/*.csv")
        assert files["predictions/multi-label@all.csv"] != files["predictions/plain.csv"]

    def test_classes_as_different_as_black_and_white(self, tmp_path: Path) -> None:
        labels = np.array(["black", "white"] * 12)
        images = np.random.default_rng(0).integers(0, 9, (24, 16, 16))
        images += np.where(labels == "black", 20, 230)[:, None, None]
        config = make_config(SETTINGS, {"confusion_epochs": 60})
        prepared = prepare(from_arrays(images.astype(np.uint8), labels, "easy"), config, nobody)
        pairs = measured(prepared, config, tmp_path).pairs
        assert [pair.chosen for pair in pairs] == [False]
        assert pairs[0].confused < 1


class TestPlainAlone:
    """The recipe that is recommended has no control: it is told how good it is, and no verdict."""

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, tmp_path_factory: pytest.TempPathFactory) -> sit2.Run:
        settings = {name: value for name, value in SETTINGS.items() if name != "method"}
        return sit2.train(finished().data, out=tmp_path_factory.mktemp("default") / "run", **settings)

    def test_it_is_the_default(self, run: sit2.Run) -> None:
        assert list(run.predictions) == ["plain+tta+ensemble+temperature"]
        assert run.comparison == {}
        assert json.loads((run.folder / "comparison.json").read_text()) == {}
        spec = json.loads((run.folder / "model" / "model.json").read_text())
        assert [one["name"] for one in spec["predictors"]] == ["tta", "ensemble", "temperature"]

    def test_no_fold_is_trained_for_it(self, run: sit2.Run) -> None:
        assert run.pairs == ()
        assert not (run.folder / "confusion").exists()
        assert not (run.folder / "synthesis").exists()
        with (run.folder / "history.csv").open() as file:
            assert {row["method"] for row in csv.DictReader(file)} == {"plain"}

    def test_confusion_is_measured_where_that_is_nearly_free(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ("train", finished().data, "-o", tmp_path / "run", *TINY[2:], "--epochs", 1)
        assert command((*words, "--confusion", "closed-form", "--min-confused", 0)) == 0
        printed = capsys.readouterr().out
        assert "Confused pairs: " in printed
        assert "against" not in printed
        assert (tmp_path / "run" / "confusion" / "pairs.csv").is_file()


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

    def test_it_prints_nothing_and_tells_a_listener(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        heard: list[Event] = []
        settings = {**SETTINGS, "method": "mixup", "epochs": 2}
        sit2.train(finished().data, out=tmp_path / "run", listener=heard.append, **settings)
        assert capsys.readouterr() == ("", "")
        stages = [event.name for event in heard if isinstance(event, StageBegan)]
        assert stages == ["images", "confusion", "training", "evaluation", "report"]
        (data,) = (event for event in heard if isinstance(event, DataPrepared))
        assert (data.name, data.images, data.classes, data.size) == ("shapes", 36, 3, (16, 16))
        assert [event.name for event in heard if isinstance(event, TrainingBegan)] == ["plain", "mixup"]
        epochs = [(event.name, event.epoch) for event in heard if isinstance(event, EpochEnded)]
        assert epochs == [("plain", 1), ("plain", 2), ("mixup", 1), ("mixup", 2)]

    def test_a_dataset_of_arrays_trains_as_well(self, tmp_path: Path) -> None:
        run = sit2.train(noise(30, 2), out=tmp_path / "run", **{**SETTINGS, "epochs": 1})
        assert run.classes == ("0", "1")
        assert (run.folder / "model" / "model.json").is_file()

    def test_an_unknown_setting(self, tmp_path: Path) -> None:
        with pytest.raises(sit2.ConfigError) as caught:
            sit2.train(finished().data, out=tmp_path / "run", epoch=3)
        assert str(caught.value) == "unknown setting 'epoch'\ndid you mean 'epochs'?"
        assert not (tmp_path / "run").exists()
