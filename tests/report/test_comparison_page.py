"""The page of a comparison says what its files say, finished or not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_comparison import RECIPES, made_comparison
from made_run import change_json, write_json
from test_report_page import Page, check_page

from sit2.errors import RunFolderError
from sit2.report.comparison_page import (
    answer,
    budgets,
    comparison_context,
    critical_difference,
    differences,
    ranks_sentence,
    score_rows,
    trust,
    what_next,
    with_more_splits,
)
from sit2.report.data import load_comparison
from sit2.report.page import render, write_report
from sit2.report.tables import comparison_tables


def page_of(folder: Path) -> Page:
    path = folder / "page.html"
    path.write_text(render("compare.html", comparison_context(load_comparison(folder))), encoding="utf-8")
    return Page(path)


def test_every_mean_and_verdict_is_on_the_page(tmp_path):
    page = page_of(made_comparison(tmp_path, datasets=2))
    check_page(page)
    rows = (tmp_path / "results.csv").read_text().splitlines()
    header = rows[0].split(",")
    cells = [dict(zip(header, row.split(","), strict=True)) for row in rows[1:]]
    for dataset in ("set1", "set2"):
        for recipe in RECIPES:
            scores = [float(c["accuracy"]) for c in cells if (c["dataset"], c["method"]) == (dataset, recipe)]
            assert f"{100 * np.mean(scores):.1f} ± {100 * np.std(scores, ddof=1):.1f}" in page.text
    for entry in json.loads((tmp_path / "comparison.json").read_text()):
        assert entry["sentence"] in page.text
    assert "1.234 ± 0.000" in page.text or "1.235 ± 0.000" in page.text  # log-loss is no percentage


def test_the_answer_counts_verdicts(tmp_path):
    data = load_comparison(made_comparison(tmp_path / "gain", datasets=2, splits=6, gain=0.2))
    verdicts = [entry["verdict"] for entry in json.loads((data.folder / "comparison.json").read_text())]
    assert verdicts == ["better"] * 4
    assert answer(data) == (
        "Yes: of 4 comparisons with a control in accuracy, 4 showed that the method is better and 0 that it is "
        "worse; 0 gave no evidence of a difference."
    )
    assert what_next(data)[0] == ("Train mixup on all of set1 and use it.", "")
    none = load_comparison(made_comparison(tmp_path / "none", datasets=2))
    assert answer(none).startswith("No method was shown to be better: of 4 comparisons")
    assert what_next(none)[0][1] == "sit2 compare set1 set2 -o out --splits 6"


def test_more_splits_is_another_command_than_the_one_that_was_run(tmp_path):
    data = load_comparison(made_comparison(tmp_path, splits=2))

    def more(command: str) -> str:
        return with_more_splits(command, data)

    assert (
        more("sit2 compare a 'b c' --splits 2 -o out --overwrite") == "sit2 compare a 'b c' -o out --splits 5"
    )
    assert more("sit2 compare a --splits=8 -o out") == "sit2 compare a -o out --splits 16"
    assert more("sit2") == ""  # from Python
    same = replace(data, results=tuple(replace(r, test=replace(r.test, n=1)) for r in data.results))
    assert with_more_splits("sit2 compare a", same) == "sit2 compare a --resplit --splits 5"


def test_differences_share_an_axis_that_holds_them(tmp_path):
    data = load_comparison(made_comparison(tmp_path, datasets=3, labels=(10, 50)))
    charts = differences(data)
    assert [chart.title for chart in charts] == ["set1", "set2", "set3"]
    assert {chart.ticks for chart in charts} == {charts[0].ticks}
    for chart in charts:
        names = [f"{m} − plain, {n} labels a class" for n in (10, 50) for m in ("mixup", "not-sure")]
        assert [row.name for row in chart.rows] == names
        for row in chart.rows:
            assert chart.ticks[0] <= row.lower <= row.value <= row.upper <= chart.ticks[-1]
    entry = json.loads((data.folder / "comparison.json").read_text())[0]
    first = charts[0].rows[0]
    drawn = [first.value, first.lower, first.upper]
    assert drawn == pytest.approx([100 * entry["difference"], *(100 * end for end in entry["interval"])])


def test_one_split_has_points_and_no_intervals(tmp_path):
    data = load_comparison(made_comparison(tmp_path, datasets=1, splits=1))
    (chart,) = differences(data)
    assert all(row.lower == row.value == row.upper and "no interval" in row.text for row in chart.rows)
    assert any("fewer than three repeats" in sentence for sentence in trust(data))
    assert "±" not in score_rows(data.summaries, ["accuracy"])[0].cells[0].text


def test_more_labels_have_a_curve(tmp_path):
    data = load_comparison(made_comparison(tmp_path, datasets=1, labels=(10, 50, 200)))
    (plot,) = budgets(data)
    assert [line.name for line in plot.lines] == list(RECIPES)
    means = {(s.method, s.labels): s.scores["accuracy"] for s in data.summaries}
    for line in plot.lines:
        assert line.x == (10, 50, 200)
        assert line.y == pytest.approx([100 * means[line.name, n].mean for n in (10, 50, 200)])
        assert line.upper == pytest.approx([100 * sum(means[line.name, n]) for n in (10, 50, 200)])
    assert budgets(load_comparison(made_comparison(tmp_path / "all", datasets=1))) == []


def test_the_best_mean_is_bold_and_less_is_better_for_errors(tmp_path):
    data = load_comparison(made_comparison(tmp_path, datasets=1))
    rows = score_rows(data.summaries, ["accuracy", "ece"])
    means = [summary.scores["accuracy"].mean for summary in data.summaries]
    assert [row.cells[0].best for row in rows] == [mean == max(means) for mean in means]
    assert [row.cells[1].best for row in rows] == [mean == min(means) for mean in means]
    assert score_rows(data.summaries[:1], ["accuracy"])[0].cells[0].best is False
    assert score_rows(data.summaries, ["pair_error"])[0].cells[0].text == "–"


def test_ranks(tmp_path):
    data = load_comparison(made_comparison(tmp_path, datasets=4))
    content = json.loads((tmp_path / "ranks.json").read_text())
    chart = critical_difference(data.ranks)
    assert {row.name: row.value for row in chart.rows} == pytest.approx(content["mean_ranks"])
    assert [row.value for row in chart.rows] == sorted(row.value for row in chart.rows)
    spread = max(content["mean_ranks"].values()) - min(content["mean_ranks"].values())
    sentence = ranks_sentence(data.ranks)
    assert ("No two methods differ" in sentence) == (spread <= content["critical_difference"])
    assert "over 4 data sets" in sentence


class TestEveryState:
    @pytest.mark.parametrize("status", ["beginning", "running", "failed"])
    @pytest.mark.parametrize("missing", [0, 1, 2, 3, 4])
    def test_what_is_there_is_shown(self, tmp_path, status, missing):
        folder = made_comparison(tmp_path, status=status, error="no room is left\nfree some")
        for name in ("ranks.json", "comparison.json", "summary.csv", "results.csv")[:missing]:
            (folder / name).unlink()
        page = page_of(folder)
        check_page(page)
        told = "This comparison failed: no room is left" if status == "failed" else "is not finished"
        assert told in page.text
        assert ("18 results so far." in page.text) == (missing < 4)
        assert "Finish the comparison with the same command" in page.text
        assert ("Tests follow when the comparison is finished" in page.text) == (missing > 1)

    def test_before_the_first_cell_it_is_a_comparison_already(self, tmp_path):
        folder = made_comparison(tmp_path, status="running")
        for name in ("ranks.json", "comparison.json", "summary.csv", "results.csv"):
            (folder / name).unlink()
        assert "This comparison is not finished: 0 results so far." in Page(write_report(folder)).text

    def test_recipes_without_a_control_have_no_test(self, tmp_path):
        folder = made_comparison(tmp_path)
        write_json(folder / "comparison.json", [])
        assert "No method was compared with a control" in page_of(folder).text

    @pytest.mark.parametrize("name", ["results.csv", "summary.csv", "comparison.json", "ranks.json"])
    def test_a_damaged_file_is_named(self, tmp_path, name):
        folder = made_comparison(tmp_path)
        (folder / name).write_text('{"a": 1}' if name != "comparison.json" else '[{"a": 1}]')
        with pytest.raises(RunFolderError, match=rf"^cannot read .*{name}: "):
            write_report(folder)

    def test_another_format_is_refused(self, tmp_path):
        change_json(made_comparison(tmp_path) / "run.json", format_version=1)
        with pytest.raises(RunFolderError, match="has format version 1, and this sit2 reads version 2 only"):
            write_report(tmp_path)


def test_tables_for_papers(tmp_path):
    data = load_comparison(made_comparison(tmp_path, datasets=2, labels=(10, 50)))
    summary, tests = comparison_tables(data)
    assert (len(summary.rows), len(tests.rows)) == (2 * 2 * 3, 2 * 2 * 2)
    assert [row[:4] for row in summary.rows][:2] == [
        ["set1", "10", "plain", "3"],
        ["set1", "10", "mixup", "3"],
    ]
    assert "pair_error" not in summary.columns  # which was not measured
