"""`sit2 compare`: from folders to verdicts."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from synthetic import MEASURED, command, contents, listing, save, write_folder, write_manifest

from sit2.errors import ConfigError, RunFolderError
from sit2.evaluation.results import COLUMNS
from sit2.events import CellEnded, Note, Planned, StageBegan, TrainingEnded
from sit2.experiments import keep_best
from sit2.experiments.comparison import compare, rank_cells
from sit2.training.loop import Training

CONTRACT = (
    "dataset,method,split,seed,budget,accuracy,macro_f1,balanced_accuracy,log_loss,ece,pair_error,"
    "other_error,seconds"
)
SETTINGS = {
    "image_size": 16,
    "backbone": "small-cnn",
    "epochs": 1,
    "folds": 2,
    "batch_size": 8,
    "workers": 1,
    "confusion": "closed-form",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return [write_folder(root / name, 12, seed=n) for n, name in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def finished(folders, tmp_path_factory):
    """A comparison of three methods on two sets over two splits, by the command."""
    out = tmp_path_factory.mktemp("out") / "compared"
    words = (
        "compare",
        *folders,
        "-o",
        out,
        *MEASURED,
        "--confusion",
        "closed-form",
        "--methods",
        "mixup,multi-label",
    )
    assert command((*words, "--splits", 2, "--epochs", 1)) == 0
    return out


def without_seconds(folder):
    return pd.read_csv(folder / "results.csv").drop(columns="seconds")


class TestTheCommand:
    def test_results_have_the_contracts_columns_and_a_row_a_cell(self, finished):
        assert ",".join(COLUMNS) == CONTRACT
        lines = (finished / "results.csv").read_text().splitlines()
        assert lines[0] == CONTRACT
        table = pd.read_csv(finished / "results.csv")
        assert len(table) == 2 * 3 * 2
        assert list(table.groupby("method", sort=False).size().index) == ["plain", "mixup", "multi-label"]
        assert (table.accuracy + table.pair_error.fillna(0) + table.other_error).to_numpy() == pytest.approx(
            1
        )
        assert table.budget.nunique() == 1

    def test_everything_is_written(self, finished):
        assert {
            "run.json",
            "config.yaml",
            "results.csv",
            "summary.csv",
            "comparison.json",
            "ranks.json",
        } <= set(listing(finished))
        assert json.loads((finished / "run.json").read_text())["status"] == "complete"
        assert (finished / "figures/critical-difference.png").read_bytes()[:4] == b"\x89PNG"
        assert (finished / "figures/critical-difference.svg").read_text().startswith("<?xml")
        assert len(list((finished / "pairs").glob("*.csv"))) == 4

    def test_the_summary_is_pandas_mean_and_deviation(self, finished):
        table, summary = pd.read_csv(finished / "results.csv"), pd.read_csv(finished / "summary.csv")
        row = summary[(summary.dataset == "two") & (summary.method == "mixup")].iloc[0]
        values = table[(table.dataset == "two") & (table.method == "mixup")].accuracy
        assert row.n == 2
        assert row.accuracy_mean == pytest.approx(values.mean(), abs=2e-6)
        assert row.accuracy_sd == pytest.approx(values.std(), abs=2e-6)

    def test_each_method_is_judged_on_each_set(self, finished):
        results = json.loads((finished / "comparison.json").read_text())
        assert [(r["dataset"], r["method"]) for r in results] == [
            (name, method) for name in ("one", "two") for method in ("mixup", "multi-label")
        ]
        table = (
            pd.read_csv(finished / "results.csv")
            .set_index(["dataset", "method", "split"])
            .sort_index()
            .accuracy
        )
        for result in results:
            ours = table[result["dataset"], result["method"]] - table[result["dataset"], "plain"]
            assert result["difference"] == pytest.approx(ours.mean(), abs=2e-6)
            assert result["test_fraction"] == pytest.approx(7 / 36, abs=0.03)

    def test_ranks_are_over_data_sets(self, finished):
        ranks = json.loads((finished / "ranks.json").read_text())
        table = pd.read_csv(finished / "results.csv")
        means = table.pivot_table(index="dataset", columns="method", values="accuracy")
        expected = means.rank(axis=1, ascending=False).mean()
        assert ranks["mean_ranks"] == pytest.approx(expected.to_dict())
        assert ranks["datasets"] == 2

    @pytest.mark.parametrize("flags", [(), ("--resume",)])
    def test_again_trains_nothing_and_gives_the_same(self, folders, finished, monkeypatch, flags):
        before = without_seconds(finished)

        def never(*_):
            raise AssertionError("a finished cell was trained again")

        monkeypatch.setattr(Training, "run", never)
        methods = ("--methods", "mixup,multi-label", "--splits", 2, "--epochs", 1)
        words = (
            "compare",
            *folders,
            "-o",
            finished,
            *MEASURED,
            "--confusion",
            "closed-form",
            *methods,
            "--quiet",
        )
        assert command((*words, *flags)) == 0
        pd.testing.assert_frame_equal(without_seconds(finished), before)

    def test_what_it_says(self, folders, tmp_path, capsys):
        words = (
            "compare",
            folders[0],
            "-o",
            tmp_path / "c",
            *MEASURED,
            "--confusion",
            "closed-form",
            "--splits",
            1,
        )
        assert command((*words, "--methods", "mixup", "--epochs", 1)) == 0
        said, told = capsys.readouterr()
        assert "note: one: 1 split of 7 test images shows, of differences between methods, none;" in told
        assert "one: mean ± standard deviation of 1 repeat, in percent" in said
        assert "one repeat cannot show whether it would come again" in said
        assert said.endswith(f"The report, for a browser: {tmp_path / 'c' / 'report.html'}\n")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--methods", "plane"), "unknown method 'plane'"),
            (("--labels", "ten"), "--labels is 'ten'"),
            (("--metric", "acuracy"), "unknown metric 'acuracy'\ndid you mean 'accuracy'?"),
            (("--splits", "0"), "splits is 0\nexpected at least 1"),
            (("--resume", "--overwrite"), "--resume and --overwrite contradict each other"),
        ],
    )
    def test_bad_words(self, folders, tmp_path, capsys, words, message):
        assert command(("compare", folders[0], "-o", tmp_path / "c", *words)) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "c").exists()

    def test_a_folder_of_something_else_is_left_alone(self, folders, tmp_path, capsys):
        (tmp_path / "mine.txt").write_text("mine")
        assert command(("compare", folders[0], "-o", tmp_path, *MEASURED)) == 2
        assert "is not empty" in capsys.readouterr().err
        assert listing(tmp_path) == ["mine.txt"]


class TestFromPython:
    def test_the_same_in_parallel_processes(self, folders, finished, tmp_path):
        found = compare(
            folders,
            out=tmp_path / "c",
            methods=["mixup", "multi-label"],
            splits=2,
            **{**SETTINGS, "workers": 2},
        )
        pd.testing.assert_frame_equal(without_seconds(found.folder), without_seconds(finished))

    def test_a_copy_of_a_set_is_trained_on_once(self, folders, tmp_path, monkeypatch):
        copy, ran = shutil.copytree(folders[0], tmp_path / "copy"), []
        run = Training.run
        monkeypatch.setattr(Training, "run", lambda self: ran.append(self.method) or run(self))
        found = compare([folders[0], copy], out=tmp_path / "c", methods=["mixup"], splits=1, **SETTINGS)
        assert ran == ["plain", "mixup"]
        assert [cell.dataset for cell in found.cells] == ["one", "one", "copy", "copy"]
        one, other = found.results
        assert one.test.difference == other.test.difference

    def test_the_control_takes_part(self, folders, tmp_path):
        found = compare(
            folders[0], out=tmp_path / "c", methods=["mixup"], splits=1, control="cutmix", **SETTINGS
        )
        assert [cell.method for cell in found.cells] == ["cutmix", "mixup"]
        assert found.ranks is None

    def test_numbers_of_labels_are_places_of_their_own(self, folders, tmp_path):
        found = compare(
            folders[0], out=tmp_path / "c", methods=["mixup"], splits=1, labels=[2, 4], **SETTINGS
        )
        assert [(r.labels, r.method) for r in found.results] == [
            (2, "mixup"),
            (4, "mixup"),
        ]

    def test_overwrite_trains_anew(self, folders, tmp_path):
        first = compare(folders[0], out=tmp_path / "c", methods=["plain"], splits=1, **SETTINGS)
        again = compare(
            folders[0], out=tmp_path / "c", methods=["plain"], splits=1, overwrite=True, **SETTINGS
        )
        assert np.array_equal(
            first.cells[0].predictions.probabilities, again.cells[0].predictions.probabilities
        )

    @pytest.mark.parametrize("flags", [(), ("--overwrite",)])
    def test_a_mistake_loses_nothing(self, flags, finished, folders, tmp_path, capsys):
        out = shutil.copytree(finished, tmp_path / "c")
        before = contents(out)
        words = ("compare", folders[0].with_name("onee"), "-o", out, *MEASURED, "--splits", 2, *flags)
        assert command(words) == 2
        assert "onee" in capsys.readouterr().err
        assert contents(out) == before

    def test_a_folder_of_another_program(self, folders, tmp_path):
        out = tmp_path / "project"
        out.mkdir()
        (out / "run.json").write_text('{"mine": 1}')
        (out / "cells").mkdir()
        with pytest.raises(RunFolderError, match="is not a folder that sit2 made"):
            compare(folders[0], out=out, overwrite=True, **SETTINGS)
        assert (out / "run.json").read_text() == '{"mine": 1}'

    def test_a_number_of_labels_twice(self, folders, tmp_path):
        with pytest.raises(ConfigError, match="expected each number once"):
            compare(folders[0], out=tmp_path / "c", labels=[3, 3], **SETTINGS)

    def test_a_file_in_the_way(self, folders, tmp_path):
        (tmp_path / "c").write_text("")
        with pytest.raises(RunFolderError, match="is a file"):
            compare(folders[0], out=tmp_path / "c", **SETTINGS)


class TestTuning:
    def test_every_method_gets_its_trials_and_validation_decides(self, folders, tmp_path):
        found = compare(folders[0], out=tmp_path / "c", methods=["mixup"], splits=1, trials=3, **SETTINGS)
        for cell in found.cells:
            chosen = cell.outcome.chosen
            assert {"lr", "weight_decay"} <= set(chosen)
            assert ("mixup_alpha" in chosen) == (cell.method == "mixup")
            single = compare(
                folders[0],
                out=tmp_path / cell.method,
                methods=[cell.method],
                splits=1,
                control=cell.method,
                **{**SETTINGS, **chosen},
            )
            assert np.array_equal(single.cells[0].predictions.probabilities, cell.predictions.probabilities)
            assert cell.outcome.budget == 3 * single.cells[0].outcome.budget

    def test_a_setting_may_be_nothing(self, folders, tmp_path):
        methods, more = ["label-smoothing", "soft-label"], {**SETTINGS, "label_smoothing": 0.0}
        found = compare(folders[0], out=tmp_path / "c", methods=methods, splits=1, trials=2, **more)
        own = next(set(cell.outcome.chosen) for cell in found.cells if cell.method == "soft-label")
        assert {"soft_alpha", "soft_emphasis", "soft_originals", "soft_cut"} <= own

    @pytest.mark.parametrize("part", ["test", "val"])
    def test_validation_images_decide_and_test_images_do_not(self, part, tmp_path):
        found = []
        for name in ("clean", "changed"):
            manifest = write_manifest(tmp_path / name / "shapes")
            table = pd.read_csv(manifest)
            for n, path in enumerate(table["path"][table["split"] == part] if name == "changed" else ()):
                pixels = np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)
                save(manifest.parent / path, pixels)
            more = {"methods": ["plain+temperature"], "splits": 1, "trials": 4, **SETTINGS, "epochs": 3}
            found.append(compare(manifest, out=tmp_path / name / "c", **more).cells[0])
        clean, changed = found
        networks = [cell.outcome.chosen for cell in found]
        alike = np.array_equal(clean.validation.probabilities, changed.validation.probabilities)
        assert alike == (part == "test")
        assert networks[0] == networks[1] or part == "val"
        assert not np.array_equal(clean.predictions.probabilities, changed.predictions.probabilities)


def test_a_number_of_labels_is_no_data_set(folders, tmp_path):
    methods, labels = ["mixup", "multi-label"], [3, 5]
    one = compare(folders[0], out=tmp_path / "one", methods=methods, splits=1, labels=labels, **SETTINGS)
    assert one.ranks is None
    two = compare(folders, out=tmp_path / "two", methods=methods, splits=1, labels=labels, **SETTINGS)
    assert two.ranks.datasets == 2


def test_given_test_images_are_no_repeats(tmp_path):
    folder, heard = write_manifest(tmp_path / "given"), []
    more = {"methods": ["mixup"], "splits": 2, "listener": heard.append}

    def warned():
        warning = "manifest comes with test images of its own: every split tests the same ones"
        return any(isinstance(event, Note) and event.text.startswith(warning) for event in heard)

    found = compare(folder, out=tmp_path / "c", **more, **SETTINGS)
    assert warned()
    assert any("all repeats test the same images" in e.text for e in heard if isinstance(e, Note))
    assert (found.results[0].test.n, found.results[0].verdict) == (1, "no evidence")
    heard.clear()
    again = compare(folder, out=tmp_path / "d", resplit=True, **more, **SETTINGS)
    assert not warned()
    assert again.results[0].test.n == 2


def test_ranks_leave_out_repeats_that_are_not_complete(finished, folders, tmp_path):
    found = compare(folders, out=finished, methods=["mixup", "multi-label"], splits=2, **SETTINGS)
    assert rank_cells(found.cells[:-1], "accuracy").mean_ranks.sum() == pytest.approx(6)
    assert rank_cells(found.cells[:5], "accuracy") is None


def test_every_cell_is_told_once_and_no_training_beside_it(folders, tmp_path):
    heard = []
    more = {"methods": ["mixup"], "splits": 2, "listener": heard.append}
    found = compare(folders[0], out=tmp_path / "c", **more, **SETTINGS)
    told = [event for event in heard if isinstance(event, CellEnded)]
    assert [(one.number, one.count) for one in told] == [(n, 4) for n in (1, 2, 3, 4)]
    assert [one.accuracy for one in told] == [cell.metrics["accuracy"] for cell in found.cells]
    assert told[3].name == "one, split 1, seed 0: mixup"
    assert not any(isinstance(event, TrainingEnded) for event in heard)
    (costs,) = [event.costs for event in heard if isinstance(event, Planned)]
    assert [event.name for event in heard if isinstance(event, StageBegan)] == [cost.stage for cost in costs]
    assert costs[1].samples == costs[3].samples == sum(cell.outcome.budget for cell in found.cells) / 2


def test_the_best_by_validation_is_kept_as_a_run(folders, tmp_path, monkeypatch, capsys):
    ran, run = [], Training.run
    monkeypatch.setattr(Training, "run", lambda self: ran.append(self.method) or run(self))
    words = (
        "compare",
        folders[0],
        "-o",
        tmp_path / "c",
        *MEASURED,
        "--confusion",
        "closed-form",
        "--epochs",
        1,
    )
    assert command((*words, "--methods", "mixup", "--splits", 2, "--keep-best")) == 0
    assert sorted(ran) == ["mixup", "mixup", "plain", "plain"]  # its network was there
    tables = {name: [] for name in ("plain", "mixup")}
    found = compare(folders[0], out=tmp_path / "again", methods=["mixup"], splits=2, **SETTINGS)
    for cell in found.cells:
        chance = cell.validation.probabilities[np.arange(len(cell.validation.ids)), cell.validation.labels]
        tables[cell.method].append(-np.log(chance).mean())
    best = min(tables, key=lambda name: np.mean(tables[name]))
    kept = tmp_path / "c" / "best"
    info = json.loads((kept / "run.json").read_text())
    assert (info["status"], info["methods"]) == ("complete", [best])
    assert f"Kept: {best} on one, which has the lowest log-loss" in capsys.readouterr().out
    assert command(("predict", folders[1], "--model", kept, "--quiet")) == 0
    own = json.loads((kept / "metrics.json").read_text())[best]["test"]["accuracy"]
    assert own == next(c.metrics["accuracy"] for c in found.cells if c.method == best and c.split == 0)


def test_what_is_kept_is_tuned_like_what_won(folders, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(keep_best, "run_grid", lambda work, *_: kept.append(work.grid.trials))
    compare(folders[0], out=tmp_path / "c", methods=["plain"], splits=1, trials=2, keep_best=True, **SETTINGS)
    assert kept == [2]


def test_unknown_metric(folders, tmp_path):
    with pytest.raises(ConfigError, match="unknown metric 'f1'"):
        compare(folders[0], out=tmp_path / "c", metric="f1", **SETTINGS)
