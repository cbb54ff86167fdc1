"""Charts show the run's figures, and tables print every letter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import epochs, write_run

from sit2.evaluation.bootstrap import Difference
from sit2.records import Predictions
from sit2.report.charts import (
    HIGH,
    WIDE,
    Line,
    Plot,
    Span,
    calibration,
    difference_text,
    differences,
    losses,
    tick_text,
    ticks,
    validation_accuracy,
)
from sit2.report.data import load_run
from sit2.report.figures import write_figures
from sit2.report.tables import Table, latex, run_tables
from sit2.storage.run_folder import RunFolder
from sit2.training.history import history_table

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
CONTROL = np.array([0, 1, 1, 2, 1, 1, 0, 1, 2, 2])
METHOD = np.array([0, 0, 1, 2, 1, 0, 0, 1, 2, 1])


@pytest.fixture(name="run")
def _run(tmp_path: Path):
    return load_run(write_run(tmp_path / "run", CLASSES, LABELS, CONTROL, METHOD))


class TestTicks:
    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (0, 1, {0, 0.5, 1}),
            (-5.5, 0, {-6, -4, -2, 0}),
            (3, 3, {2.5, 3, 3.5}),
            (0, 40000, {0, 10000, 20000, 30000, 40000}),
        ],
    )
    def test_round_and_around(self, low, high, expected):
        assert expected <= set(ticks(low, high))

    @given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
    def test_they_hold_what_is_drawn_and_are_few(self, low, width):
        made = ticks(low, low + width)
        steps = np.diff(made)
        room = 1e-9 * (abs(low) + width)
        assert made[0] - room <= low < low + width <= made[-1] + room
        assert 2 <= len(made) <= 7
        assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-6)

    def test_tick_text(self):
        assert [tick_text(v) for v in (40000, -2.5, 0.2, 3e6)] == ["40k", "−2.5", "0.2", "3M"]


class TestCharts:
    def test_the_difference_is_comparison_jsons(self, run):
        entry = json.loads((run.folder / "comparison.json").read_text())["multi-label"]
        chart = differences(run)
        assert chart.rows[0].value == pytest.approx(100 * entry["difference"])
        ends = [chart.rows[0].lower, chart.rows[0].upper]
        assert ends == pytest.approx([100 * v for v in entry["interval"]])
        whole = chart.ticks[-1] - chart.ticks[0]
        assert chart.left(0.0) == pytest.approx(100 * -chart.ticks[0] / whole, abs=1e-3)

    def test_a_difference_without_an_interval_is_a_point(self):
        gap = Difference(0.01, -np.inf, np.inf)
        row = Span.of("a − b", gap, difference_text(gap), "no evidence")
        assert (row.value, row.lower, row.upper, row.text) == (1.0, 1.0, 1.0, "1.0 (no interval)")

    def test_calibration_by_hand(self, run):
        plain = calibration(run).lines[0]
        assert plain.x == (80.0,)  # every image was predicted with confidence 0.8
        assert plain.y == (60.0,)
        assert plain.images == (10,)

    def test_calibration_dots_grow_with_their_images(self, run):
        sure = np.repeat([0.55, 0.91, 0.97], [4, 100, 300])
        labels = np.zeros(len(sure), dtype=np.int64)
        one = Predictions(tuple(map(str, range(len(sure)))), labels, np.stack([sure, 1 - sure], axis=1))
        chart = calibration(replace(run, predictions={"plain": one}))
        (line,) = chart.lines
        assert line.images == (4, 400)
        (_, small), (_, large) = chart.points(line)
        assert small < large / 3
        assert (large / 2) ** 2 * np.pi == pytest.approx(201, abs=1)  # square pixels
        plain_line = Line("no images", (1.0, 2.0), (1.0, 2.0))
        assert {width for _, width in chart.points(plain_line)} == {8.0}

    def test_losses_have_a_line_for_each_phase(self, run):
        given = [("pretrain", 1, 1.0, None, None), ("pretrain", 2, 2.0, None, None)]
        given += [("fine-tune", 3, 3.0, 0.75, 0.5)]
        folder = RunFolder(run.folder)
        history = [("plain", [epochs("plain")]), ("multi-label", [epochs("multi-label", *given)])]
        folder.write_table("history.csv", history_table(history))
        again = load_run(run.folder)
        (plot,) = losses(again)
        assert plot.title == "Training loss of multi-label"
        assert [(line.name, line.x, line.y) for line in plot.lines] == [
            ("pretrain", (1, 2), (1.0, 2.0)),
            ("fine-tune", (3,), (3.0,)),
            ("fine-tune: validation log-loss", (3,), (0.5,)),
        ]
        (line,) = validation_accuracy(again).lines
        assert (line.name, line.x, line.y) == ("multi-label", (3,), (75.0,))

    def test_of_several_members_the_first_is_drawn(self, run):
        members = [epochs("plain*2", ("train", 10, loss, None, None)) for loss in (0.5, 0.7)]
        RunFolder(run.folder).write_table("history.csv", history_table([("plain*2", members)]))
        again = load_run(run.folder)
        (plot,) = losses(again)
        assert (plot.title, plot.lines[0].y) == ("Training loss of plain*2 (first member)", (0.5,))
        assert validation_accuracy(again) is None

    def test_a_loss_that_is_no_number_has_no_point(self, run):
        rows = epochs(
            "plain", ("train", 10, float("nan"), None, None), ("train", 20, float("inf"), None, None)
        )
        RunFolder(run.folder).write_table("history.csv", history_table([("plain", [rows])]))
        again = load_run(run.folder)
        assert len(again.history) == 2
        assert losses(again) == []

    def test_a_plot_puts_the_first_tick_at_the_bottom_left(self):
        plot = Plot("n", "t", "x", "y", (), (0.0, 10.0), (0.0, 2.0))
        assert (plot.x(0), plot.y(0), plot.x(10), plot.y(2)) == (0, HIGH, WIDE, 0)


class TestTables:
    def test_latex_prints_every_letter(self):
        text = latex(Table("t", "t", ("class & co",), [("50 % of $x_1$ {\\~^}",)]))
        assert r"class \& co \\" in text
        assert r"50 \% of \$x\_1\$ \{\textbackslash{}\textasciitilde{}\textasciicircum{}\}" in text

    def test_the_tables_of_a_run(self, run):
        tables = {table.name: table for table in run_tables(run)}
        assert list(tables) == ["metrics", "differences", "classes", "pairs"]
        assert [row[1] for row in tables["metrics"].rows] == ["0.6000", "0.5000"]
        assert tables["classes"].rows[0][:2] == ["a", "4"]
        assert list(tables["pairs"].columns)[-4:] == [
            "plain errors",
            "multi-label errors",
            "fixed",
            "introduced",
        ]
        first = dict(zip(tables["pairs"].columns, tables["pairs"].rows[0], strict=True))
        assert [first[name] for name in list(first)[-5:]] == ["8", "3", "3", "1", "1"]

    def test_without_a_control_there_is_nothing_that_changed(self, tmp_path):
        run = load_run(write_run(tmp_path / "one", CLASSES, LABELS, None, METHOD, recipes=("", "plain")))
        tables = {table.name: table for table in run_tables(run)}
        assert list(tables) == ["metrics", "classes", "pairs"]
        assert list(tables["pairs"].columns)[-2:] == ["images", "plain errors"]
        assert {len(row) for table in tables.values() for row in table.rows} <= {10, 12, 7}


@pytest.mark.parametrize("lines", [1, 18, 40])
def test_a_plot_has_room_for_a_legend_of_many_recipes(tmp_path, lines):
    names = [f"confusion-smoothing@random+tta+ensemble+temperature {n}" for n in range(lines)]
    plot = Plot(
        "many", "t", "x", "y", tuple(Line(name, (0.0, 1.0), (0.0, 1.0)) for name in names), (0, 1), (0, 1)
    )
    for path in write_figures(tmp_path, [plot]):  # a warning of matplotlib's would be an error
        assert path.stat().st_size
