"""Cells are known by what determines them, and never trained twice."""

import dataclasses

import numpy as np
import pytest
from synthetic import SETTINGS, arrays, write_folder

from sit2.cli.screen import Screen
from sit2.config.schema import Config, make_config
from sit2.errors import ConfigError
from sit2.execution import pool as parallel
from sit2.execution.job import Job, run_job
from sit2.experiments.grid import Grid, GridRun, Source
from sit2.records import ClassPair
from sit2.seeds import Seeds

CONFIG = make_config(SETTINGS, {"confusion": "probe"})
QUIET = Screen(quiet=True)


def job(**changes):
    pixels, names = arrays(6)
    labels = np.unique(names, return_inverse=True)[1].astype(np.int64)
    images = pixels.transpose(0, 3, 1, 2).copy()
    rows = np.arange(len(images))
    pairs = (ClassPair(1, 2, "disc", "oval", 0.4, 0.1, 0.6, 3.0, 12, True),)
    made = Job(
        "multi-label",
        CONFIG,
        Seeds(0),
        ("cross", "disc", "oval"),
        images,
        labels,
        train_rows=rows[:12],
        val_rows=rows[12:14],
        predict_rows=rows[12:17],
        pairs=pairs,
    )
    return dataclasses.replace(made, **changes)


def with_config(**settings):
    return job(config=dataclasses.replace(CONFIG, **settings))


def with_pixel(row):
    changed = job()
    changed.images[row, 0, 0, 0] ^= 255
    return changed


class TestKey:
    def test_is_the_same_for_the_same(self):
        assert job().key() == job().key()
        assert len(job().key()) == 40

    @pytest.mark.parametrize(
        "other",
        [
            job(method="not-sure"),
            job(seeds=Seeds(1)),
            job(seeds=Seeds(0).child("split", 1)),
            job(pairs=()),
            job(pairs=(dataclasses.replace(job().pairs[0], score=0.5),)),
            job(trials=2),
            job(train_rows=np.arange(11)),
            job(classes=("a", "b", "c")),
            with_config(epochs=5),
            with_config(pretrain_fraction=0.6),
            with_config(lr=0.01),
            with_config(threads=2),
            with_config(augment="none"),
            with_pixel(0),
            with_pixel(16),
        ],
    )
    def test_changes_with_all_that_matters(self, other):
        assert other.key() != job().key()

    @pytest.mark.parametrize(
        "other",
        [
            with_config(workers=2),
            with_config(mixup_alpha=0.5),
            with_config(seed=3),
            with_config(method="mixup"),
            with_config(test_fraction=0.3),
            with_pixel(17),  # an unused image
        ],
    )
    def test_does_not_change_with_the_rest(self, other):
        assert other.key() == job().key()

    def test_changes_with_the_kind_of_device(self, monkeypatch):
        first = job().key()
        monkeypatch.setattr("sit2.execution.job.pick_device", lambda _: "cuda")
        assert job().key() != first

    def test_a_method_without_pairs_does_not_depend_on_them(self):
        assert job(method="plain", pairs=()).key() == job(method="plain").key()

    def test_groups_matter_to_a_second_look_alone(self):
        names = tuple("aabbccddeeff")
        assert job(groups=names).key() == job().key()
        assert job(method="second-look", groups=names).key() != job(method="second-look").key()

    def test_what_trains_alike_has_one_training_key(self):
        looks = (job(method=f"second-look{pairs}", groups=tuple("aabbccddeeff")) for pairs in ("", "@all"))
        assert {look.training_key() for look in looks} == {job(method="plain").key()}
        smoothed = with_config(second_network="label-smoothing", label_smoothing=0.3)
        look, other = (dataclasses.replace(smoothed, method=m) for m in ("second-look", "label-smoothing"))
        assert look.training_key() == other.key() != job(method="label-smoothing").key()
        assert look.key() != dataclasses.replace(job(), method="second-look").key()
        assert job().training_key() == job().key()

    def test_weights_count_by_content(self, tmp_path):
        file = tmp_path / "w.safetensors"
        file.write_bytes(b"1")
        first = with_config(weights=file).key()
        other = tmp_path / "elsewhere.safetensors"
        other.write_bytes(b"1")
        assert with_config(weights=other).key() == first
        file.write_bytes(b"2")
        assert with_config(weights=file).key() != first


@pytest.fixture
def source(tmp_path):
    return Source(write_folder(tmp_path / "shapes", 12))


def grid(source, *methods, **more):
    return Grid((source,), methods, **more)


def count_runs(monkeypatch, *, stop_after=None):
    ran = []

    def counting(job, report=None):
        if stop_after is not None and len(ran) >= stop_after:
            raise KeyboardInterrupt
        ran.append((job.method, job.seeds))
        return run_job(job, report)

    monkeypatch.setattr(parallel, "run_job", counting)
    return ran


def rows(cells):
    return [{k: v for k, v in cell.row().items() if k != "seconds"} for cell in cells]


class TestGridRun:
    def test_interrupted_and_begun_again_gives_the_same(self, source, tmp_path, monkeypatch):
        asked = grid(source, "plain", "multi-label", splits=2)
        whole = GridRun(asked, CONFIG, tmp_path / "whole", QUIET).run()
        with monkeypatch.context() as patch:
            ran = count_runs(patch, stop_after=3)
            with pytest.raises(KeyboardInterrupt):
                GridRun(asked, CONFIG, tmp_path / "parts", QUIET).run()
            assert len(ran) == 3
        with monkeypatch.context() as patch:
            ran = count_runs(patch)
            again = GridRun(asked, CONFIG, tmp_path / "parts", QUIET).run()
            assert len(ran) == 1
        assert rows(again) == rows(whole)

    def test_more_methods_and_splits_train_only_what_is_new(self, source, tmp_path, monkeypatch):
        GridRun(grid(source, "plain", splits=1), CONFIG, tmp_path, QUIET).run()
        ran = count_runs(monkeypatch)
        cells = GridRun(grid(source, "plain", "mixup", splits=2), CONFIG, tmp_path, QUIET).run()
        assert [method for method, _ in ran] == ["mixup", "plain", "mixup"]
        assert [(c.method, c.split) for c in cells] == [
            ("plain", 0),
            ("mixup", 0),
            ("plain", 1),
            ("mixup", 1),
        ]

    def test_methods_share_the_split_and_the_pairs_and_repeats_do_not(self, source, tmp_path):
        asked = grid(source, "plain", "multi-label@all", splits=2, seeds=2)
        cells = GridRun(asked, dataclasses.replace(CONFIG, epochs=1), tmp_path, QUIET).run()
        tested = {(c.method, c.repeat): c.predictions.ids for c in cells}
        for repeat in {c.repeat for c in cells}:
            assert tested["plain", repeat] == tested["multi-label@all", repeat]
        assert tested["plain", (0, 0)] == tested["plain", (0, 1)]
        assert tested["plain", (0, 0)] != tested["plain", (1, 0)]
        probabilities = {c.repeat: c.predictions.probabilities for c in cells if c.method == "plain"}
        assert len({p.tobytes() for p in probabilities.values()}) == 4
        assert {c.outcome.samples_seen for c in cells} == {cells[0].outcome.samples_seen}

    def test_it_says_what_is_finished_as_it_goes(self, source, tmp_path):
        seen = []
        asked = grid(source, "plain", "mixup", splits=2)
        GridRun(
            asked, dataclasses.replace(CONFIG, epochs=1), tmp_path, QUIET, lambda c: seen.append(len(c))
        ).run()
        assert seen == [1, 2, 3, 4]

    def test_labels_are_nested_and_counted(self, source, tmp_path):
        asked = grid(source, "plain", splits=1, labels=(2, 4))
        cells = GridRun(asked, dataclasses.replace(CONFIG, epochs=1), tmp_path, QUIET).run()
        assert [(c.labels, c.train_images) for c in cells] == [(2, 6), (4, 12)]

    def test_a_source_has_settings_of_its_own(self, tmp_path):
        path = write_folder(tmp_path / "shapes", 8)
        sources = (Source(path, {"augment": "none"}),)
        config = dataclasses.replace(CONFIG, epochs=1)
        GridRun(Grid(sources, ("plain",), splits=1), config, tmp_path / "a", QUIET).run()
        GridRun(Grid((Source(path),), ("plain",), splits=1), config, tmp_path / "b", QUIET).run()
        keys = [{f.stem for f in (tmp_path / x / "cells").glob("*.json")} for x in "ab"]
        assert keys[0].isdisjoint(keys[1])

    def test_folds_are_kept_too(self, source, tmp_path, monkeypatch):
        config = make_config(SETTINGS, {"epochs": 1})
        ran = count_runs(monkeypatch)
        GridRun(grid(source, "plain", splits=1), config, tmp_path, QUIET).run()
        assert len(ran) == 3  # two folds and the cell
        GridRun(grid(source, "plain", "not-sure", splits=1), config, tmp_path, QUIET).run()
        assert [method for method, _ in ran[3:]] == ["not-sure"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": 0}, "splits is 0"),
        ({"trials": 0}, "tune is 0"),
        ({"methods": ("plain", "plain")}, "the method 'plain' is named twice"),
        ({"methods": ("plane",)}, "unknown method 'plane'"),
        ({"labels": (0,)}, "labels are"),
    ],
)
def test_a_grid_that_cannot_be(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        Grid((Source(tmp_path),), **{"methods": ("plain",), **settings})


def test_two_sets_of_one_name(tmp_path):
    with pytest.raises(ConfigError, match="the data set 'x' is named twice"):
        Grid((Source(tmp_path / "a" / "x"), Source(tmp_path / "b" / "x")), ("plain",))


def test_repeats_begin_at_the_configured_seeds():
    asked = Grid((), ("plain",), splits=2, seeds=2)
    assert asked.repeats(Config()) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert asked.repeats(Config(seed=7, split_seed=3))[0] == (3, 7)
