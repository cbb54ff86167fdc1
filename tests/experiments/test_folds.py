"""Figures by cross-validation, and models of all images: what was measured is never what is kept."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import at
from synthetic import CLASSES, RESULTS, SETTINGS, command, contents, write_folder, write_manifest

import sit2
from sit2.config.recipe import parse_all
from sit2.config.schema import make_config
from sit2.errors import ConfigError, DataError
from sit2.events import EpochEnded, Event, StageBegan, TrainingEnded, nobody
from sit2.experiments.design import Grid, Source
from sit2.experiments.grid import GridRun, Place
from sit2.report.data import load_run
from sit2.report.quality import facts
from sit2.report.wording import comparison_to_make, trust
from sit2.storage.reading import read_object

Printed = pytest.CaptureFixture[str]
OWN = {**SETTINGS, "method": "multi-label+temperature", "confusion": "closed-form", "epochs": 1}
FLAGS = tuple(word for name, value in OWN.items() for word in (f"--{name.replace('_', '-')}", str(value)))
FOLDS = 3


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def places(data: Path, folder: Path, **settings: Any) -> list[Place]:
    """The folds of a run, before anything is trained."""
    config = make_config(OWN, settings)
    grid = Grid((Source(data),), parse_all(["plain"]), splits=1, is_run=True)
    return next(GridRun(grid, config, folder, folder, nobody).rounds())


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("folds") / "shapes", 8)


@pytest.fixture(name="cv", scope="module")
def _cv(data: Path) -> tuple[sit2.Run, list[Event]]:
    heard: list[Event] = []
    return sit2.train(data, out=data.parent / "cv", cv=FOLDS, listener=heard.append, **OWN), heard


class TestFolds:
    def test_every_image_is_left_out_once_and_all_are_judged(self, cv: tuple[sit2.Run, list[Event]]) -> None:
        run, _ = cv
        samples = rows(run.folder / "samples.csv")
        assert {row["split"] for row in samples} == {"test"}
        assert sorted({row["fold"] for row in samples}) == ["1", "2", "3"]
        for recipe, one in run.predictions.items():
            assert len(one.ids) == 24
            file = rows(run.folder / "predictions" / f"{recipe}.csv")
            assert [row["id"] for row in file] == [row["id"] for row in samples]
            assert list(run.metrics[recipe]) == ["test"]
        assert run.comparison["multi-label+temperature"].n == 24

    def test_no_network_sees_what_it_predicts(self, data: Path, tmp_path: Path) -> None:
        found = places(data, tmp_path, cv=FOLDS)
        jobs = [place.job(parse_all(["plain"])[0]) for place in found]
        for job in jobs:
            (training,) = job.trainings
            apart = [training.train.rows, training.val.rows, job.predict.rows]
            assert all(len(part) for part in apart)
            assert len(np.unique(np.concatenate(apart))) == sum(map(len, apart)) == 24
        assert len(np.unique(np.concatenate([job.predict.rows for job in jobs]))) == 24
        assert len({job.trainings[0].key for job in jobs}) == FOLDS

    def test_pairs_of_a_fold_are_chosen_without_its_images(self, data: Path, tmp_path: Path) -> None:
        config = make_config(OWN, {"cv": FOLDS})
        grid = Grid((Source(data),), parse_all(["multi-label"]), splits=1, is_run=True)
        work = GridRun(grid, config, tmp_path, tmp_path, nobody)
        for place in work.measure(next(work.rounds())):
            assert place.measured is not None
            assert place.measured.confusion.samples.sum() == len(place.prepared.rows("train")) < 16

    def test_each_fold_is_a_history_and_what_is_kept_another(self, cv: tuple[sit2.Run, list[Event]]) -> None:
        run, heard = cv
        history = rows(run.folder / "history.csv")
        assert {row["fold"] for row in history} == {"1", "2", "3", "all"}
        assert {row.fold for row in load_run(run.folder).history} == {"1"}
        stages = [(event.name, event.number, event.count) for event in heard if isinstance(event, StageBegan)]
        assert [name for name, _, _ in stages][-3:] == ["evaluation", "refit", "report"]
        assert stages[-1][1:] == (6, 6)
        named = {event.name for event in heard if isinstance(event, EpochEnded)}
        assert named == {
            f"{where}: {method}"
            for where in ("fold 1", "fold 2", "fold 3", "all images")
            for method in ("plain", "multi-label")
        }
        assert not [event for event in heard if isinstance(event, TrainingEnded) and event.found]

    def test_page_model_and_comparison_say_what_was_measured(self, cv: tuple[sit2.Run, list[Event]]) -> None:
        run, _ = cv
        loaded = load_run(run.folder)
        told = " ".join(facts(loaded))
        assert "left-out figures by 3-fold cross-validation over 24 images" in told
        assert "it was never measured itself" in told
        assert "somewhat too narrow" in " ".join(trust(loaded))
        assert comparison_to_make(loaded)[1].endswith("--cv 0")
        (test,) = loaded.tests.values()
        assert test == run.comparison[test.method]
        assert "somewhat too narrow" in test.sentence
        for place in ("model", "model/plain+temperature"):
            spec = read_object(run.folder / place / "model.json")
            assert spec is not None
            assert "left-out figures by 3-fold cross-validation over 24 images" in spec["figures"]

    def test_the_screen_says_it(self, data: Path, tmp_path: Path, capsys: Printed) -> None:
        words = ("train", data, "-o", tmp_path / "run", *FLAGS, "--method", "plain", "--cv", 2)
        assert command(words) == 0
        text = capsys.readouterr().out
        assert "2 folds, each with about the following images:" in text
        assert "Left-out figures by 2-fold cross-validation over 24 images, in percent" in text
        assert "The model that is kept was trained once more, on all labelled images." in text

    @pytest.mark.parametrize(("place", "which"), [(".json", 1), (".network", 6)])  # a fold's; the first kept
    def test_a_stopped_run_goes_on_to_the_identical_result(
        self,
        cv: tuple[sit2.Run, list[Event]],
        data: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        place: str,
        which: int,
    ) -> None:
        words = ["train", str(data), "-o", str(tmp_path / "run"), *FLAGS, "--cv", str(FOLDS), "--quiet"]
        with monkeypatch.context() as patch:
            stop = at(place, which, 1, lambda: signal.raise_signal(signal.SIGINT))
            patch.setattr(Path, "replace", stop)
            assert command(words) == 130
        assert command([*words, "--resume"]) == 0
        assert contents(tmp_path / "run", *RESULTS) == contents(cv[0].folder, *RESULTS)

    @pytest.mark.slow
    def test_any_number_of_processes_gives_the_same_bytes(
        self, cv: tuple[sit2.Run, list[Event]], data: Path, tmp_path: Path
    ) -> None:
        words = ("train", data, "-o", tmp_path / "run", *FLAGS, "--cv", FOLDS, "--quiet", "--workers", 2)
        assert command(words) == 0
        assert contents(tmp_path / "run", *RESULTS) == contents(cv[0].folder, *RESULTS)


class TestFrozenFeatures:
    def test_one_file_serves_all_folds_and_what_is_kept(self, data: Path, tmp_path: Path) -> None:
        settings = {"method": "linear+temperature", "backbone": "efficientnet-lite0", "image_size": 32}
        run = sit2.train(
            data, out=tmp_path / "run", cache=str(tmp_path / "cache"), cv=2, **{**OWN, **settings}
        )
        assert len(list((tmp_path / "cache").rglob("*.features.npy"))) == 1
        assert len(run.predictions["linear+temperature"].ids) == 24


class TestRefit:
    @pytest.fixture(name="both", scope="class")
    @classmethod
    def _both(cls, data: Path) -> tuple[sit2.Run, sit2.Run]:
        own = {**OWN, "method": "plain+temperature"}
        usual = sit2.train(data, out=data.parent / "usual", **own)
        return usual, sit2.train(data, out=data.parent / "refit", refit=True, **own)

    def test_the_figures_are_those_of_the_evaluated_model(self, both: tuple[sit2.Run, sit2.Run]) -> None:
        usual, refit = (run.folder for run in both)
        alike = ("predictions/*.csv", "metrics.json", "samples.csv", "confusion/*.csv")
        assert contents(refit, *alike) == contents(usual, *alike)
        model = "model/*.safetensors"
        assert contents(refit, model) != contents(usual, model)
        # The temperature is fitted to what the evaluated network says of images that it has not seen.
        assert sit2.load(refit).predictors == sit2.load(usual).predictors

    def test_both_say_so(self, both: tuple[sit2.Run, sit2.Run]) -> None:
        usual, refit = (run.folder for run in both)
        assert "trained without the test images" in " ".join(facts(load_run(refit)))
        assert not [sentence for sentence in facts(load_run(usual)) if "once more" in sentence]
        assert "those of the test too" in sit2.load(refit).spec.figures
        assert sit2.load(usual).spec.figures == ""
        assert json.loads((refit / "run.json").read_text())["seconds"].keys() >= {"training", "refit"}

    def test_it_knows_the_images_of_its_run(
        self, both: tuple[sit2.Run, sit2.Run], data: Path, capsys: Printed
    ) -> None:
        usual, refit = (run.folder for run in both)
        assert command(("evaluate", data, "--model", usual)) == 0
        capsys.readouterr()
        assert command(("evaluate", data, "--model", refit)) == 2
        assert "this model was trained on all those of its run" in capsys.readouterr().err
        assert command(("predict", data / "disc", "--model", usual)) == 0
        assert capsys.readouterr().err == ""
        assert command(("predict", data / "disc", "--model", refit)) == 0
        assert "note: 8 images trained this model" in capsys.readouterr().err

    def test_new_images_are_evaluated(
        self, both: tuple[sit2.Run, sit2.Run], tmp_path: Path, capsys: Printed
    ) -> None:
        new = write_folder(tmp_path / "new", 2, seed=9)
        for name in CLASSES:  # others than those of the run, by their names too
            for path in (new / name).iterdir():
                path.rename(path.with_stem(f"new_{path.stem}"))
        assert command(("evaluate", new, "--model", both[1].folder)) == 0
        assert "Test on 6 images" in capsys.readouterr().out


class TestThreshold:
    def test_it_is_chosen_on_what_was_left_out(self, tmp_path: Path, capsys: Printed) -> None:
        data = write_folder(tmp_path / "two", 8, classes=("cross", "disc"))
        run = sit2.train(data, out=tmp_path / "run", cv=2, **{**OWN, "method": "plain"})
        new = tmp_path / "new"
        shutil.copytree(write_folder(tmp_path / "more", 2, classes=("cross", "disc"), seed=5), new)
        assert command(("evaluate", new, "--model", run.folder, "--positive", "disc")) == 0
        printed = capsys.readouterr()
        assert "the threshold is chosen on what its folds say" in printed.err
        assert "of 8" in printed.out


class TestRefused:
    def test_given_splits(self, tmp_path: Path) -> None:
        manifest = write_manifest(tmp_path / "shapes")
        with pytest.raises(DataError, match=r"comes with test and validation images of its own, and --cv"):
            places(manifest, tmp_path, cv=3)
        assert len(places(manifest, tmp_path, cv=3, resplit=True)) == 3

    def test_settings_that_contradict_it(self) -> None:
        with pytest.raises(ConfigError, match="cv is 1\nexpected at least 2 folds"):
            make_config({"cv": 1})
        with pytest.raises(ConfigError, match="labels_per_class keeps some of the training images"):
            make_config({"cv": 5, "labels_per_class": 10})

    def test_a_comparison(self, data: Path, tmp_path: Path, capsys: Printed) -> None:
        assert command(("compare", data, "-o", tmp_path / "out", "--cv", 3)) == 2
        assert "a comparison repeats random splits, and cv is 3" in capsys.readouterr().err
        with pytest.raises(ConfigError, match="repeats random splits"):
            sit2.compare(data, out=tmp_path / "out", cv=3)
        assert not (tmp_path / "out").exists()
