"""metrics.json, comparison.json, ranks.json, results.csv and summary.csv are read as they were written."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_comparison import cell_rows, made_comparison, paired

from sit2.errors import RunFolderError
from sit2.evaluation.metrics import MEASURED, compute_metrics, read_metrics
from sit2.evaluation.ranks import rank_methods, read_ranks
from sit2.evaluation.results import (
    SUMMARISED,
    read_results,
    read_summary,
    results_table,
    summarise,
    summary_table,
)
from sit2.evaluation.statistics import compare_all, read_tests
from sit2.evaluation.verdicts import judge, read_verdicts
from sit2.records import Predictions
from sit2.seeds import Seeds
from sit2.storage.run_folder import RunFolder


def drawn(count: int, seed: int, *, groups: bool = False) -> dict[str, Predictions]:
    """Draw predictions of three methods."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, count)
    names = tuple(f"g{n}" for n in draw.integers(0, 5, count)) if groups else ()
    return {
        method: Predictions(
            tuple(map(str, range(count))),
            labels,
            draw.dirichlet(np.ones(3) + 3 * np.eye(3)[labels[0]], count),
            names,
        )
        for method in ("plain", "mixup", "not-sure@random+tta")
    }


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 30), st.integers(0, 99), st.booleans())
def test_tests_and_metrics_of_a_run_come_back(tmp_path_factory: pytest.TempPathFactory, count, seed, groups):
    predictions = drawn(count, seed, groups=groups)
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    controls = {"mixup": "plain", "not-sure@random+tta": "plain"}
    tests = compare_all(predictions, controls, seeds=Seeds(0), resamples=20)
    folder.write_json("comparison.json", {name: test.to_json() for name, test in tests.items()})
    again = read_tests(folder.path / "comparison.json")
    assert again == tests
    assert [test.sentence for test in again.values()] == [test.sentence for test in tests.values()]
    metrics = {name: {"test": compute_metrics(one, [])} for name, one in predictions.items()}
    folder.write_json("metrics.json", metrics)
    assert read_metrics(folder.path / "metrics.json") == metrics


@pytest.mark.parametrize("splits", [1, 2, 4])
@pytest.mark.parametrize("gain", [0.0, 0.2])
def test_verdicts_of_a_comparison_come_back(tmp_path: Path, splits: int, gain: float):
    rows = cell_rows(2, (None, 10), splits, gain=gain)
    results = judge(paired(rows), seeds=Seeds(0), resamples=20)
    RunFolder(tmp_path).write_json("comparison.json", [result.to_json() for result in results])
    again = read_verdicts(tmp_path / "comparison.json")
    assert list(again) == results
    assert [result.sentence for result in again] == [result.sentence for result in results]


def test_ranks_come_back(tmp_path: Path):
    ranks = rank_methods(np.random.default_rng(0).random((5, 4)), ["d", "c", "b", "a"], metric="macro_f1")
    RunFolder(tmp_path).write_json("ranks.json", ranks.to_json())
    again = read_ranks(tmp_path / "ranks.json")
    assert again.to_json() == ranks.to_json()
    order = [ranks.methods.index(name) for name in again.methods]
    np.testing.assert_array_equal(again.mean_ranks, ranks.mean_ranks[order])
    np.testing.assert_array_equal(again.nemenyi_p, ranks.nemenyi_p[np.ix_(order, order)])


def test_results_come_back(tmp_path: Path):
    rows = cell_rows(2, (None,), 3)
    RunFolder(tmp_path).write_table("results.csv", results_table(rows))
    again = read_results(tmp_path / "results.csv")
    assert len(again) == len(rows)
    for row, cell in zip(rows, again, strict=True):
        assert (cell.dataset, cell.method, cell.split, cell.seed, cell.budget) == tuple(
            row[name] for name in ("dataset", "method", "split", "seed", "budget")
        )
        assert cell.metrics == {name: row[name] for name in MEASURED}
        assert cell.seconds == row["seconds"]


def test_the_summary_is_pandas_and_comes_back(tmp_path: Path):
    rows = cell_rows(2, (None, 10), 3)
    summaries = summarise(rows)
    table = pd.DataFrame(rows)
    groups = table.groupby(["dataset", "labels_per_class", "method"], dropna=False)
    for one in summaries:
        own = groups.get_group((one.dataset, math.nan if one.labels is None else one.labels, one.method))
        assert one.repeats == len(own)
        for name in ("accuracy", "ece", "seconds"):
            assert one.scores[name] == pytest.approx((own[name].mean(), own[name].std()))
        assert "pair_error" not in one.scores
    RunFolder(tmp_path).write_table("summary.csv", summary_table(summaries))
    again = read_summary(tmp_path / "summary.csv")
    assert [(s.dataset, s.labels, s.method, s.repeats) for s in again] == [
        (s.dataset, s.labels, s.method, s.repeats) for s in summaries
    ]
    for read, written in zip(again, summaries, strict=True):
        assert read.scores.keys() == written.scores.keys()
        for name in written.scores:
            assert read.scores[name] == pytest.approx(written.scores[name], abs=1e-6)


def test_one_repeat_has_no_deviation(tmp_path: Path):
    summaries = summarise(cell_rows(1, (None,), 1))
    assert all(math.isnan(one.scores[name].sd) for one in summaries for name in one.scores)
    RunFolder(tmp_path).write_table("summary.csv", summary_table(summaries))
    read = read_summary(tmp_path / "summary.csv")
    assert all(math.isnan(one.scores["accuracy"].sd) for one in read)
    columns = (tmp_path / "summary.csv").read_text().splitlines()[0].split(",")
    assert columns[:4] == ["dataset", "labels_per_class", "method", "n"]
    assert columns[4:] == [f"{name}_{what}" for name in SUMMARISED for what in ("mean", "sd")]


def test_no_file_is_nothing(tmp_path: Path):
    path = tmp_path / "absent"
    assert (read_tests(path), read_metrics(path), read_verdicts(path), read_ranks(path)) == ({}, {}, (), None)
    assert (read_results(path), read_summary(path)) == ((), ())


@pytest.mark.parametrize(
    ("name", "read", "old", "new"),
    [
        ("results.csv", read_results, ",plain,0,", ",plain,first,"),
        ("summary.csv", read_summary, ",plain,3,", ",plain,some,"),
        ("comparison.json", read_verdicts, '"sd"', '"deviation"'),
        ("comparison.json", read_verdicts, '"n": 3', '"n": "many"'),
        ("ranks.json", read_ranks, '"friedman_p": ', '"friedman_p": [], "was": '),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name, read, old, new):
    path = made_comparison(tmp_path) / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RunFolderError, match=rf"^cannot read .*{name}: "):
        read(path)
