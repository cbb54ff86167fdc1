"""Cells are known by what determines them, and never trained twice."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from synthetic import SETTINGS, arrays, write_folder

from sit2.config.recipe import Recipe, parse_all
from sit2.config.schema import Config, changed, make_config
from sit2.data.pixels import PixelStore
from sit2.errors import ConfigError
from sit2.events import DataPrepared, nobody
from sit2.execution.parts import Part
from sit2.experiments.design import Grid, Source, make_grid, sources_of
from sit2.experiments.grid import GridRun
from sit2.experiments.planning import plan
from sit2.records import ClassPair
from sit2.seeds import Seeds
from sit2.training.loop import Training
from sit2.training.start import Start

CONFIG = make_config(SETTINGS, {"confusion": "closed-form"})
PAIR = ClassPair(1, 2, "disc", "oval", 0.4, 0.1, 0.6, 3.0, 12, True)
PIXELS, NAMES = arrays(6)
LABELS = np.unique(NAMES, return_inverse=True)[1].astype(np.int64)


def part(start, end, groups=()):
    return Part(np.arange(start, end), LABELS[start:end], groups)


def job(method="multi-label", *, pixel=None, config=CONFIG, chosen=(PAIR,), **more):
    images = PIXELS.transpose(0, 3, 1, 2).copy()
    if pixel is not None:
        images[pixel, 0, 0, 0] ^= 255
    return plan(
        Recipe.parse(method),
        **{
            "config": config,
            "start": Start(),
            "seeds": Seeds(0),
            "classes": ("cross", "disc", "oval"),
            "store": PixelStore.of(images),
            "train": part(0, 12),
            "val": part(12, 14),
            "predict": part(14, 17),
            "chosen": chosen,
            **more,
        },
    )


def network_key(one):
    return one.trainings[0].key


def with_config(method="multi-label", **settings):
    return job(method, config=changed(CONFIG, **settings))


CHANGES_BOTH = {
    "method": lambda: job("not-sure"),
    "seed": lambda: job(seeds=Seeds(1)),
    "split": lambda: job(seeds=Seeds(0).child("split", 1)),
    "no pairs": lambda: job(chosen=()),
    "score": lambda: job(chosen=(dataclasses.replace(PAIR, score=0.5),)),
    "trials": lambda: job(trials=2),
    "images": lambda: job(train=part(0, 11)),
    "classes": lambda: job(classes=("a", "b", "c")),
    "epochs": lambda: with_config(epochs=5),
    "the method's own setting": lambda: with_config(pretrain_fraction=0.6),
    "lr": lambda: with_config(lr=0.01),
    "threads": lambda: with_config(threads=2),
    "augment": lambda: with_config(augment="none"),
    "a training pixel": lambda: job(pixel=0),
    "a validation pixel": lambda: job(pixel=13),
}
CHANGES_ANSWERS = {
    "a pixel to predict": lambda: job(pixel=16),
    "predictors": lambda: job("multi-label+tta"),
    "more to predict": lambda: job(predict=part(14, 18)),
}
CHANGES_NOTHING = {
    "workers": lambda: with_config(workers=2),
    "executor": lambda: with_config(executor="serial"),
    "another method's setting": lambda: with_config(mixup_alpha=0.5),
    "a predictor's setting": lambda: with_config(ensemble_weight=0.5),
    "the configured seed": lambda: with_config(seed=3),
    "the configured method": lambda: job(config=changed(CONFIG, method="mixup")),
    "fractions": lambda: with_config(test_fraction=0.3),
    "an unused image": lambda: job(pixel=17),
    "its name": lambda: job(name="fold 7: "),
    "where the model goes": lambda: job(save_to=Path("elsewhere")),
}


class TestKey:
    def test_is_the_same_for_the_same(self):
        assert job().key == job().key
        assert network_key(job()) == network_key(job())
        assert len(job().key) == len(network_key(job())) == 40
        assert job().key != network_key(job())

    @pytest.mark.parametrize("what", CHANGES_BOTH)
    def test_changes_with_all_that_matters(self, what):
        other = CHANGES_BOTH[what]()
        assert other.key != job().key
        assert network_key(other) != network_key(job())

    @pytest.mark.parametrize("what", CHANGES_ANSWERS)
    def test_what_comes_after_training_changes_no_network(self, what):
        other = CHANGES_ANSWERS[what]()
        assert other.key != job().key
        assert network_key(other) == network_key(job())

    @pytest.mark.parametrize("what", CHANGES_NOTHING)
    def test_does_not_change_with_the_rest(self, what):
        other = CHANGES_NOTHING[what]()
        assert other.key == job().key
        assert network_key(other) == network_key(job())

    def test_a_predictors_own_setting_counts_where_it_is_used(self):
        one, other = job("plain+ensemble"), with_config("plain+ensemble", ensemble_weight=0.5)
        assert one.key != other.key
        assert network_key(one) == network_key(other)

    def test_changes_with_the_kind_of_device(self, monkeypatch):
        first, other = job(), job()
        keys = first.key, network_key(first)
        monkeypatch.setattr("sit2.execution.training_job.pick_device", lambda _: "cuda")
        assert other.key != keys[0]
        assert network_key(other) != keys[1]

    def test_what_has_no_use_for_pairs_does_not_depend_on_them(self):
        for recipe in ("plain", "plain+tta+ensemble"):
            assert job(recipe, chosen=()).key == job(recipe).key
        assert job("plain+tta+ensemble+pairwise", chosen=()).key != job("plain+tta+ensemble+pairwise").key

    def test_groups_matter_to_predictors_alone(self):
        grouped = part(0, 12, tuple("aabbccddeeff"))
        assert job(train=grouped).key == job().key
        assert job("plain+temperature", train=grouped).key != job("plain+temperature").key

    def test_what_trains_alike_has_one_network(self):
        recipes = ("plain", "plain+tta", "plain+tta+ensemble", "plain+tta+ensemble+pairwise")
        jobs = [job(recipe) for recipe in recipes] + [job("plain@random+pairwise"), job("plain*3")]
        assert len({network_key(one) for one in jobs}) == 1
        assert len({one.key for one in jobs}) == len(jobs)
        members = [training.key for training in job("plain*3+tta").trainings]
        assert len(set(members)) == 3
        assert members[:2] == [training.key for training in job("plain*2").trainings]
        assert network_key(job("label-smoothing")) != network_key(jobs[0])

    def test_weights_count_by_content(self):
        first = network_key(job(start=Start("w.pth", "1")))
        assert network_key(job(start=Start("elsewhere.pth", "1"))) == first
        assert network_key(job(start=Start("w.pth", "2"))) != first


@pytest.fixture
def source(tmp_path):
    return Source(write_folder(tmp_path / "shapes", 12))


def grid(source, *methods, **more):
    return Grid((source,), parse_all(methods), **more)


def run(asked, folder, config=CONFIG, grown=lambda _cells: None):
    """Run a grid; return its cells."""
    work = GridRun(asked, config, folder / "cells", folder / "networks", nobody)
    cells = []
    for places in work.rounds():
        cells += work.answer(work.measure(places), grown=grown)
    return cells


def count_trainings(monkeypatch, *, stop_after=None):
    ran = []
    train = Training.run

    def counting(training):
        if stop_after is not None and len(ran) >= stop_after:
            raise KeyboardInterrupt
        ran.append(training.method if "fold" not in training.name else "fold")
        return train(training)

    monkeypatch.setattr(Training, "run", counting)
    return ran


def rows(cells):
    return [{k: v for k, v in cell.row().items() if k != "seconds"} for cell in cells]


class TestGridRun:
    def test_interrupted_and_begun_again_gives_the_same(self, source, tmp_path, monkeypatch):
        asked = grid(source, "plain", "multi-label", splits=2)
        whole = run(asked, tmp_path / "whole")
        with monkeypatch.context() as patch:
            ran = count_trainings(patch, stop_after=3)
            with pytest.raises(KeyboardInterrupt):
                run(asked, tmp_path / "parts")
            assert len(ran) == 3
        with monkeypatch.context() as patch:
            ran = count_trainings(patch)
            again = run(asked, tmp_path / "parts")
            assert len(ran) == 1
        assert rows(again) == rows(whole)

    def test_more_methods_and_splits_train_only_what_is_new(self, source, tmp_path, monkeypatch):
        run(grid(source, "plain", splits=1), tmp_path)
        ran = count_trainings(monkeypatch)
        cells = run(grid(source, "plain", "mixup", splits=2), tmp_path)
        assert ran == ["mixup", "plain", "mixup"]
        assert [(c.method, c.split) for c in cells] == [
            ("plain", 0),
            ("mixup", 0),
            ("plain", 1),
            ("mixup", 1),
        ]

    def test_recipes_that_train_alike_share_one_network(self, source, tmp_path, monkeypatch):
        ran = count_trainings(monkeypatch)
        recipes = ("plain", "plain+tta", "plain+tta+ensemble+temperature", "plain*2+tta")
        cells = run(grid(source, *recipes, splits=1), tmp_path)
        assert ran == ["plain", "plain*2"]
        assert [cell.outcome.budget for cell in cells] == [96, 96, 96, 192]
        assert len({cell.predictions.probabilities.tobytes() for cell in cells}) == 4
        later = run(grid(source, "plain+ensemble", splits=1), tmp_path)
        assert ran == ["plain", "plain*2"]
        assert later[0].outcome.budget == 96

    def test_methods_share_the_split_and_the_pairs_and_repeats_do_not(self, source, tmp_path):
        asked = grid(source, "plain", "multi-label@all", splits=2, seeds=2)
        cells = run(asked, tmp_path, changed(CONFIG, epochs=1))
        tested = {(c.method, c.repeat): c.predictions.ids for c in cells}
        for repeat in {c.repeat for c in cells}:
            assert tested["plain", repeat] == tested["multi-label@all", repeat]
        assert tested["plain", (0, 0)] == tested["plain", (0, 1)]
        assert tested["plain", (0, 0)] != tested["plain", (1, 0)]
        probabilities = {c.repeat: c.predictions.probabilities for c in cells if c.method == "plain"}
        assert len({p.tobytes() for p in probabilities.values()}) == 4
        assert {c.outcome.budget for c in cells} == {cells[0].outcome.budget}

    def test_it_says_what_is_finished_as_it_goes(self, source, tmp_path):
        seen = []
        asked = grid(source, "plain", "mixup", splits=2)
        run(asked, tmp_path, changed(CONFIG, epochs=1), lambda cells: seen.append(rows(cells)))
        assert [len(cells) for cells in seen] == [1, 2, 1, 2]  # of each round
        assert seen[1][:1] == seen[0]

    def test_sets_of_one_name_are_told_by_the_names_they_are_compared_under(self, tmp_path):
        folders = [write_folder(tmp_path / above / "images", 8) for above in "ab"]
        heard = []
        asked = make_grid(folders, ("plain",), splits=1)
        next(GridRun(asked, CONFIG, tmp_path, tmp_path, heard.append).rounds())
        assert [event.name for event in heard if isinstance(event, DataPrepared)] == ["a", "b"]

    def test_labels_are_nested_and_counted(self, source, tmp_path):
        asked = grid(source, "plain", splits=1, labels=(2, 4))
        cells = run(asked, tmp_path, changed(CONFIG, epochs=1, val_per_class=1))
        assert [(c.labels, c.train_images, c.val_images) for c in cells] == [(2, 6, 3), (4, 12, 3)]

    def test_a_source_has_settings_of_its_own(self, tmp_path):
        path = write_folder(tmp_path / "shapes", 8)
        sources = (Source(path, {"augment": "none"}),)
        config = changed(CONFIG, epochs=1)
        run(Grid(sources, parse_all(["plain"]), splits=1), tmp_path / "a", config)
        run(Grid((Source(path),), parse_all(["plain"]), splits=1), tmp_path / "b", config)
        keys = [{f.stem for f in (tmp_path / x / "cells").glob("*.json")} for x in "ab"]
        assert all(keys)
        assert keys[0].isdisjoint(keys[1])

    def test_folds_are_kept_too(self, source, tmp_path, monkeypatch):
        config = make_config(SETTINGS, {"epochs": 1})
        ran = count_trainings(monkeypatch)
        run(grid(source, "not-sure", splits=1), tmp_path, config)
        assert ran == ["fold", "fold", "not-sure"]
        run(grid(source, "not-sure", "multi-label", splits=1), tmp_path, config)
        assert ran[3:] == ["multi-label"]

    @pytest.mark.parametrize("recipe", ["plain", "multi-label@all", "plain+tta+ensemble"])
    def test_no_fold_is_trained_where_no_recipe_needs_confusion(self, recipe, source, tmp_path, monkeypatch):
        ran = count_trainings(monkeypatch)
        cells = run(grid(source, recipe, splits=1), tmp_path, make_config(SETTINGS, {"epochs": 1}))
        assert "fold" not in ran
        assert cells[0].pairs == ()
        cells = run(grid(source, recipe, splits=1), tmp_path / "free", changed(CONFIG, epochs=1))
        assert len(cells[0].pairs) == 3  # in closed form confusion is measured for everybody

    def test_two_sets_of_the_same_images_are_trained_on_once(self, tmp_path, monkeypatch):
        sources = tuple(Source(write_folder(tmp_path / name / "shapes")) for name in "ab")
        copy = tmp_path / "copy"
        sources[1].data.rename(copy)
        ran = count_trainings(monkeypatch)
        asked = Grid((sources[0], Source(copy)), parse_all(["plain", "plain+tta"]), splits=1)
        cells = run(asked, tmp_path, changed(CONFIG, epochs=1))
        assert ran == ["plain"]
        assert [(c.dataset, c.method) for c in cells] == [
            ("shapes", "plain"), ("shapes", "plain+tta"), ("copy", "plain"), ("copy", "plain+tta"),
        ]  # fmt: skip
        for one, other in zip(cells[:2], cells[2:], strict=True):
            assert np.array_equal(one.predictions.probabilities, other.predictions.probabilities)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": 0}, "splits is 0"),
        ({"seeds": 0}, "seeds is 0"),
        ({"trials": 0}, "tune is 0"),
        ({"methods": ("mixup", "mixup")}, "the method 'mixup' is named twice"),
        ({"methods": ("plain+tta+ensemble", "plain+ensemble+tta")}, "'plain.tta.ensemble' is named twice"),
        ({"methods": ("plane",)}, "unknown method 'plane'"),
        ({"methods": ()}, "there is no method to compare"),
        ({"labels": (0,)}, "labels are"),
        ({"labels": (3, 3)}, "expected each number once"),
    ],
)
def test_a_grid_that_cannot_be(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_grid([tmp_path], **{"methods": ("mixup",), **settings})


def test_the_control_of_each_recipe_takes_part(tmp_path):
    def names(*methods, **more):
        return [str(recipe) for recipe in make_grid([tmp_path], methods, **more).recipes]

    assert names("mixup", "not-sure+tta") == ["plain", "plain+tta", "mixup", "not-sure+tta"]
    assert names("mixup", "plain") == ["plain", "mixup"]
    assert names("plain+tta") == ["plain+tta"]
    assert names("mixup", control="cutmix") == ["cutmix", "mixup"]
    assert names("mixup", control="none") == ["mixup"]


def test_two_sets_of_one_name(tmp_path):
    with pytest.raises(ConfigError, match="the data set 'x' is named twice"):
        Grid((Source(tmp_path / "a" / "x"), Source(tmp_path / "b" / "x")), parse_all(["plain"]))


class TestNamesOfSets:
    @staticmethod
    def names(*texts):
        return [source.name for source in sources_of(texts)]

    def test_paths_that_end_alike_are_told_apart_by_the_folders_above(self):
        assert self.names("A/samples.csv", "B/samples.csv", "C/cats") == ["A", "B", "cats"]
        assert self.names("x/2020/images", "y/2020/images") == ["x", "y"]
        assert self.names("a/x", Path("b/x")) == ["a", "b"]
        assert self.names("one", "two") == ["one", "two"]

    def test_a_name_of_ones_own(self, tmp_path):
        found = sources_of(["first=a/images", "images"])
        assert [(s.name, str(s.data)) for s in found] == [("first", "a/images"), ("images", "images")]
        (tmp_path / "a=b").mkdir()
        assert self.names(tmp_path / "a=b") == ["a=b"]
        assert self.names("some/where=else") == ["where=else"]
        with pytest.raises(ConfigError, match="cannot read the data set '=x'\nexpected a path, or name=path"):
            sources_of(["=x"])

    def test_what_cannot_be_told_apart_is_refused_with_the_way_out(self, tmp_path):
        for texts in (("x", "x"), ("x=a", "x=b")):
            with pytest.raises(
                ConfigError, match="'x' is named twice\nexpected each name once; write name=path"
            ):
                make_grid(texts, ("mixup",))


def test_repeats_begin_at_the_configured_seeds():
    asked = Grid((), parse_all(["plain"]), splits=2, seeds=2)
    assert asked.repeats(Config()) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert asked.repeats(Config(seed=7, split_seed=3))[0] == (3, 7)
    assert Grid((), parse_all(["plain"]), splits=1).repeats(Config(seed=7)) == [(7, 7)]


def test_a_run_has_the_splits_that_its_settings_say():
    one = Grid((), parse_all(["plain"]), splits=1, is_run=True)
    assert one.repeats(Config(seed=7)) == [(None, 7)]
    assert one.repeats(Config(seed=7, split_seed=3)) == [(3, 7)]
