"""The benchmark runs a suite, goes on with it, and adds splits to results that were made elsewhere."""

import shutil

import pandas as pd
import pytest
import yaml
from benchmarks.datasets import BY_NAME, ImageSet
from benchmarks.method import __main__ as benchmark
from benchmarks.method import suite
from benchmarks.method.results import MORE
from synthetic import SETTINGS, write_folder

from sit2.evaluation.results import COLUMNS

SUITE = {
    "sets": ["shapes"],
    "labels": [4],
    "splits": 3,
    "methods": ["plain", "second-look@all"],
    "settings": {
        **SETTINGS,
        "confusion": "probe",
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
    names = ["plain", "second-look@all", "multi-label+rare"]
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


def test_a_split_that_the_suite_does_not_have_is_refused(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run("--out", str(tmp_path / "cells"), "--from-split", "10")
    assert stop.value.code == 2
    assert "expected at least 1" in capsys.readouterr().err
    assert not (tmp_path / "small.csv").exists()
