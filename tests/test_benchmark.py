"""The benchmark runs a suite, goes on with it, and adds splits to results that were made elsewhere."""

import shutil

import pandas as pd
import pytest
import yaml
from benchmarks.datasets import BY_NAME, ImageSet
from benchmarks.method import __main__ as benchmark
from benchmarks.method import page, suite
from benchmarks.method.results import MORE, RESULTS
from benchmarks.method.tables import load
from synthetic import SETTINGS, write_folder

from sit2.config.schema import make_config
from sit2.evaluation.results import COLUMNS
from sit2.training.augmentations import PRESETS

SUITE = {
    "sets": ["shapes"],
    "labels": [4],
    "splits": 3,
    "methods": ["plain", "plain+tta+ensemble"],
    "settings": {
        **SETTINGS,
        "confusion": "closed-form",
        "split_seed": 7,
        "test_fraction": 0.3,
        "val_fraction": 0.1,
    },
    "variants": {"multi-label+rare": {"method": "multi-label", "pretrain_fraction": 0.25}},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the benchmark with these words, and return the rows of its results."""
    write_folder(tmp_path / "shapes")
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/small.yaml").write_text(yaml.safe_dump(SUITE), encoding="utf-8")
    monkeypatch.setenv("SIT2_DATASETS", str(tmp_path))
    monkeypatch.setitem(BY_NAME, "shapes", ImageSet("shapes", "flip"))
    monkeypatch.setattr(suite, "SUITES", tmp_path / "suites")

    def run(*words):
        shown = ["benchmarks.method", "small", "--results", str(tmp_path), "--workers", "1", *words]
        monkeypatch.setattr("sys.argv", shown)
        benchmark.main()
        return pd.read_csv(tmp_path / "small.csv", dtype=str)

    return run


def test_splits_are_added_to_results_whose_cells_are_gone(run, tmp_path):
    whole = run("--out", str(tmp_path / "cells"))
    names = ["plain", "plain+tta+ensemble", "multi-label+rare"]
    assert [*whole] == [*COLUMNS, *MORE]
    assert sorted(zip(whole["split"], whole["method"], strict=True)) == sorted(
        (split, name) for split in "789" for name in names
    )
    text = (tmp_path / "small.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in text if line.split(",")[2] in ("split", "7")]
    (tmp_path / "small.csv").write_text("".join(kept), encoding="utf-8")
    shutil.rmtree(tmp_path / "cells")

    added = run("--out", str(tmp_path / "other"), "--from-split", "8")
    assert (tmp_path / "small.csv").read_text(encoding="utf-8").startswith("".join(kept))
    key = ["split", "method"]
    pd.testing.assert_frame_equal(
        added.drop(columns="seconds").sort_values(key, ignore_index=True),
        whole.drop(columns="seconds").sort_values(key, ignore_index=True),
    )


@pytest.mark.parametrize("name", suite.names())
def test_every_suite_is_one_that_can_be_run(name, tmp_path, monkeypatch):
    """Its methods are recipes and its settings are settings, whatever its committed rows call them."""
    monkeypatch.setenv("SIT2_DATASETS", str(tmp_path))
    monkeypatch.setattr(suite, "train_source", lambda *_: tmp_path / "weights")
    parts = suite.read(name, tmp_path)
    assert parts[0].grid.recipes
    for part in parts:
        assert part.config.confusion in ("folds", "closed-form")
        assert (part.variant is None) == (part is parts[0])
        for source in part.grid.sources:
            assert make_config(part.config.as_dict(), source.settings).augment in PRESETS


def test_old_names_in_results_are_told_in_the_suites_comment():
    """Rows stay as they were written; where a name in them is no recipe any more, the page says what it was."""
    for file in RESULTS.glob("*.csv"):
        names = {name for name in pd.read_csv(file)["method"] if name.startswith("second-look")}
        about = page.load(file).about
        assert all(f"`{name}`" in about for name in names), file.name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Precision loss occurred")  # of SciPy, about methods that always agree
def test_the_committed_page_is_what_the_committed_results_give(tmp_path, monkeypatch):
    here, front = tmp_path / "method", tmp_path / "benchmark.md"
    shutil.copytree(page.HERE, here, ignore=shutil.ignore_patterns("__pycache__", "figures"))
    shutil.copy(page.FRONT, front)
    expected = (page.HERE / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr(page, "HERE", here)
    monkeypatch.setattr(page, "FRONT", front)
    monkeypatch.setattr(page, "draw_ranks", lambda *_, **__: None)
    page.write(here / "results")
    assert (here / "README.md").read_text(encoding="utf-8") == expected
    assert "| second-look |" in expected  # as the rows say


def test_what_is_compared_with_its_own_random_pairs():
    methods = ["plain", "not-sure", "not-sure@random", "not-sure+smooth@random", "plain@random+tta+pairwise"]
    assert page.with_random_pairs("not-sure", methods) == "not-sure@random"
    assert page.with_random_pairs("not-sure+smooth", methods) == "not-sure+smooth@random"
    assert page.with_random_pairs("plain+tta+pairwise", methods) == "plain@random+tta+pairwise"
    assert page.with_random_pairs("multi-label", methods) is None


def test_a_split_that_the_suite_does_not_have_is_refused(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run("--out", str(tmp_path / "cells"), "--from-split", "10")
    assert stop.value.code == 2
    assert "expected at least 1" in capsys.readouterr().err
    assert not (tmp_path / "small.csv").exists()


def test_methods_are_ranked_by_how_well_they_know_which_answers_are_right(tmp_path):
    rows = [
        {"dataset": name, "method": method, "split": 0, "seed": 0, "labels_per_class": 40} | measured
        for name, shift in (("a", 0.0), ("b", 0.01), ("c", 0.02))
        for method, measured in (
            ("plain", {"balanced_accuracy": 0.8, "aurc": 0.10 + shift, "accuracy_at_80": 0.90}),
            ("mixup", {"balanced_accuracy": 0.8, "aurc": 0.05 + 2 * shift, "accuracy_at_80": 0.95}),
        )
    ]
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / "new.csv", index=False)
    (best, area, sure, test), (control, *_, untested) = load(tmp_path / "new.csv").risks()
    assert (best, control, untested) == ("mixup", "plain", None)
    assert (area, sure, test.difference) == pytest.approx((0.07, 0.95, -0.04))
    assert test.lower < -0.04 < test.upper
    table.drop(columns="aurc").to_csv(tmp_path / "old.csv", index=False)
    assert load(tmp_path / "old.csv").risks() is None
