"""What the report computes, against cases computed by hand and an independent reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_run import random_run, write_json, write_run
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from sit2.errors import RunFolderError
from sit2.evaluation.statistics import holm, mcnemar_exact
from sit2.report.charts import Plot, calibration, differences, losses, tick_text, ticks
from sit2.report.classes import class_rows
from sit2.report.confusion import clustered, graph, heat_map, mutual, order_of, rates, shown_rows
from sit2.report.data import load_run
from sit2.report.images import Album
from sit2.report.page import write_report
from sit2.report.pairs import Share, pair_rows
from sit2.report.tables import Table, latex, run_tables
from sit2.report.wording import headline, on_which_classes, trust, verdict, what_next

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
CONTROL = np.array([0, 1, 1, 2, 1, 1, 0, 1, 2, 2])
METHOD = np.array([0, 0, 1, 2, 1, 0, 0, 1, 2, 1])


@pytest.fixture(name="run")
def _run(tmp_path: Path):
    return load_run(write_run(tmp_path / "run", CLASSES, LABELS, CONTROL, METHOD))


class TestNumbers:
    def test_matrices_are_scikit_learns(self, run):
        for method, predicted in (("plain", CONTROL), ("multi-label", METHOD)):
            assert np.array_equal(run.answers[method].matrix, confusion_matrix(LABELS, predicted))

    def test_only_test_images_count(self, run):
        assert len(run.answers["plain"].ids) == 10
        assert run.labels_of("train").tolist() == [4, 4, 2]
        assert run.labels_of("unused").tolist() == [1, 0, 0]

    def test_scores_by_class_are_scikit_learns(self, run):
        rows = class_rows(run)
        for which, predicted in (("before", CONTROL), ("after", METHOD)):
            precision, recall, f1, n = precision_recall_fscore_support(LABELS, predicted)
            scores = [getattr(row, which) for row in rows]
            assert [s.precision for s in scores] == pytest.approx(precision)
            assert [s.recall for s in scores] == pytest.approx(recall)
            assert [s.f1 for s in scores] == pytest.approx(f1)
            assert [row.images for row in rows] == n.tolist()

    def test_what_a_class_gained_and_lost(self, run):
        rows = class_rows(run)
        assert [(r.gained, r.lost) for r in rows] == [(1, 0), (0, 1), (0, 1)]
        p = [
            mcnemar_exact((CONTROL == LABELS)[k == LABELS], (METHOD == LABELS)[k == LABELS]) for k in range(3)
        ]
        assert [r.p_adjusted for r in rows] == pytest.approx(holm(p))

    def test_groups_count_once(self, tmp_path):
        """Ten images of one patient tell no more than one."""
        labels = np.repeat([0, 1], 10)
        right = write_run(
            tmp_path, ("a", "b"), labels, 1 - labels, labels, groups=["p"] * 10 + [f"q{n}" for n in range(10)]
        )
        one, ten = class_rows(load_run(right))
        assert (one.gained, ten.gained) == (10, 10)
        assert one.p_adjusted == 1
        assert ten.p_adjusted == pytest.approx(2 * 2 / 2**10)

    def test_a_pair_by_hand(self, run):
        row = next(r for r in pair_rows(run) if (r.pair.class_a, r.pair.class_b) == ("a", "b"))
        assert (row.before.errors, row.after.errors, row.before.images) == (3, 3, 8)
        assert row.mended.tolist() == [1]
        assert row.made.tolist() == [5]

    def test_a_share_has_wilsons_interval(self):
        assert Share(3, 8).interval == pytest.approx((0.1368, 0.6943), abs=1e-4)  # by the formula
        assert np.isnan(Share(0, 0).share)

    def test_the_difference_is_comparison_jsons(self, run):
        entry = json.loads((run.folder / "comparison.json").read_text())["multi-label"]
        chart = differences(run)
        assert chart.rows[0].value == pytest.approx(100 * entry["difference"])
        assert [chart.rows[0].lower, chart.rows[0].upper] == pytest.approx(
            [100 * v for v in entry["interval"]]
        )
        assert chart.place(0.0) == pytest.approx(
            100 * -chart.ticks[0] / (chart.ticks[-1] - chart.ticks[0]), abs=1e-3
        )

    def test_calibration_by_hand(self, run):
        plain = calibration(run).lines[0]
        assert plain.x == (80.0,)  # every image was answered with 0.8
        assert plain.y == (60.0,)


class TestConfusion:
    def test_confused_classes_stand_together(self):
        matrix = np.diag([10, 10, 10, 10, 10, 10])
        matrix[0, 3] = matrix[3, 0] = matrix[1, 5] = matrix[2, 4] = 5
        order = clustered(matrix)
        place = {k: n for n, k in enumerate(order)}
        assert sorted(order) == list(range(6))
        assert all(abs(place[i] - place[j]) == 1 for i, j in ((0, 3), (1, 5), (2, 4)))

    def test_rates_of_a_class_without_images_are_zero(self):
        assert rates(np.array([[3, 1], [0, 0]])).tolist() == [[0.75, 0.25], [0, 0]]
        assert mutual(np.array([[3, 1], [1, 1]]))[0, 1] == 0.75

    def test_every_cell_keeps_its_images(self, run):
        shown = shown_rows(run.answers["plain"])
        assert shown[0, 1] == [1, 2]
        assert shown[2, 2] == [8, 9]
        assert sum(map(len, shown.values())) == 10

    def test_the_images_behind_a_cell_are_those_in_it(self, run):
        seen = heat_map(run, Album.of(run, 10**6))
        for m, method in enumerate(seen["methods"]):
            answers = run.answers[method]
            for key, places in seen["cells"][m].items():
                i, j = map(int, key.split(","))
                for place in places:
                    image = seen["images"][place]
                    n = answers.ids.index(image["id"])
                    assert (
                        (answers.labels[n], answers.predicted[n])
                        == (i, j)
                        == (image["label"], image["by"][m][0])
                    )
                    assert image["by"][m][1] == pytest.approx(0.8)
                    assert image["by"][m][2] == pytest.approx(0.8 if i == j else 0.1)

    def test_the_graph_has_each_class_once_and_the_strongest_links_last(self, tmp_path):
        run = load_run(random_run(tmp_path, 40, 800))
        matrix = run.answers["plain"].matrix
        drawn = graph(matrix, run.classes, order_of(run))
        assert sorted(node.name for node in drawn.nodes) == list(run.classes)
        widths = [link.width for link in drawn.links]
        assert widths == sorted(widths)
        place = {name: k for k, name in enumerate(run.classes)}
        for link in drawn.links:
            a, b = place[link.a], place[link.b]
            assert link.images == matrix[a, b] + matrix[b, a] > 0


class TestWords:
    def outcome(self, tmp_path, wrong_before, wrong_after, n=400):
        labels = np.arange(n) % 2
        before, after = labels.copy(), labels.copy()
        before[:wrong_before] = 1 - before[:wrong_before]
        after[:wrong_after] = 1 - after[:wrong_after]
        return load_run(write_run(tmp_path, ("a", "b"), labels, before, after))

    def test_a_gain(self, tmp_path):
        run = self.outcome(tmp_path, 120, 40)
        assert headline(run.test) == "Yes, it helped."
        text = verdict(run, run.test)
        assert text.startswith("multi-label named 90.0 % of the 400 test images correctly, plain 70.0 %: ")
        assert "the gain is 20.0 images in a hundred" in text
        low, high = (f"{100 * v:.1f}" for v in (run.test.gap.lower, run.test.gap.upper))
        assert text.endswith(f"would very likely lie between {low} and {high}.")

    def test_a_loss_is_told_as_plainly(self, tmp_path):
        run = self.outcome(tmp_path, 40, 120)
        assert headline(run.test) == "No, it made things worse."
        assert "the loss is 20.0 images in a hundred" in verdict(run, run.test)
        assert "model/plain" in what_next(run, [])[1][1]
        assert "Beyond chance" in on_which_classes(class_rows(run), "plain", "multi-label")[-1]

    def test_no_evidence(self, tmp_path):
        run = self.outcome(tmp_path, 40, 39)
        assert headline(run.test) == "Not that anyone can tell."
        assert "chance alone can make" in verdict(run, run.test)
        assert "none of these changes is beyond chance" in on_which_classes(class_rows(run), "plain", "m")[-1]

    def test_few_test_images_are_said_to_be_few(self, run):
        assert any("few" in sentence for sentence in trust(run))

    def test_a_leak_comes_first(self, run, tmp_path):
        write_json(
            run.folder / "check.json",
            {"findings": [{"severity": "wrong", "text": "A leak.", "hint": "Mend."}]},
        )
        again = load_run(run.folder)
        assert what_next(again, [])[0][1] == "sit2 check /data/set"
        assert any("would make results wrong" in sentence for sentence in trust(again))


class TestTolerance:
    def test_a_run_that_only_measured_confusion(self, run):
        for name in (
            "metrics.json",
            "comparison.json",
            "predictions/plain.csv",
            "predictions/multi-label.csv",
        ):
            (run.folder / name).unlink()
        again = load_run(run.folder)
        assert again.methods == ()
        assert again.test is None
        assert again.pairs
        assert again.measured is not None

    def test_not_a_run_folder(self, tmp_path):
        with pytest.raises(RunFolderError, match="not a folder that sit2 made"):
            load_run(tmp_path)

    @pytest.mark.parametrize("name", ["run.json", "metrics.json", "comparison.json", "samples.csv"])
    def test_a_damaged_file_is_named(self, run, name):
        (run.folder / name).write_bytes(b"\xff\xfe{")
        with pytest.raises(RunFolderError, match=name):
            load_run(run.folder)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("history/plain.json", {"progress": [{"loss": 1}]}),
            ("metrics.json", {"plain": 3}),
            ("metrics.json", {"plain": {"test": {}}}),
            ("comparison.json", {"multi-label": 3}),
            ("run.json", {"format_version": 1, "seconds": []}),
        ],
    )
    def test_json_of_another_kind(self, run, name, content):
        write_json(run.folder / name, content)
        with pytest.raises(RunFolderError, match=r"^cannot read "):
            load_run(run.folder)

    def test_a_loss_that_is_no_number_has_no_point(self, run):
        path = run.folder / "history" / "plain.json"
        path.write_text('{"progress": [{"phase": "train", "samples_seen": 10, "loss": NaN}]}')
        assert load_run(run.folder).history["plain"] == ()

    def test_a_score_that_is_no_number(self, run):
        path = run.folder / "confusion" / "pairs.csv"
        header, first, *_ = path.read_text().splitlines()
        path.write_text(f"{header}\n{first.replace(first.split(',')[2], 'abc')}\n")
        with pytest.raises(RunFolderError, match="abc"):
            load_run(run.folder)

    @pytest.mark.parametrize("change", [lambda lines: lines[:-1], lambda lines: [*lines[1:], lines[0]]])
    def test_predictions_of_other_images_or_in_another_order(self, run, change):
        path = run.folder / "predictions" / "plain.csv"
        header, *lines = path.read_text().splitlines()
        path.write_text("\n".join([header, *change(lines)]) + "\n")
        with pytest.raises(RunFolderError, match="not of the same images in the same order"):
            load_run(run.folder)

    def test_damaged_thumbnails(self, run):
        (run.folder / "thumbnails.npz").write_bytes(b"x")
        with pytest.raises(RunFolderError, match=r"thumbnails\.npz"):
            Album.of(run, 10**6)

    @pytest.mark.parametrize("kind", ["EPS", "huge", "noise"])
    def test_a_sheet_is_a_png_of_common_size(self, run, kind, monkeypatch):
        def never(*_):
            raise AssertionError("another program would run")

        monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", never)
        place, picture = run.folder / "sheet.png", Image.new("RGB", (64, 64))
        if kind == "EPS":
            picture.save(place, format="EPS")
        elif kind == "huge":
            Image.new("1", (8000, 8000)).save(place)
        else:
            place.write_bytes(b"\x89PNG\r\n\x1a\n" + b"noise")
        album = Album.of(run, 10**6)
        assert album.sheet(place) is None
        assert album.gone == 1

    def test_a_path_that_is_not_utf8(self, run):
        info = json.loads((run.folder / "run.json").read_text())
        write_json(
            run.folder / "run.json", info | {"root": "/data/par\udcfc", "command": "sit2 train par\udcfc"}
        )
        assert "par\\udcfc" in write_report(run.folder).read_text(encoding="utf-8")

    def test_confusion_of_a_file_of_predictions(self, run):
        for name in ("metrics.json", "comparison.json", "samples.csv"):
            (run.folder / name).unlink()
        info = json.loads((run.folder / "run.json").read_text())
        write_json(
            run.folder / "run.json", {k: v for k, v in info.items() if k not in ("dataset", "methods")}
        )
        again = load_run(run.folder)
        assert again.classes == CLASSES
        assert again.pairs == run.pairs
        page = write_report(run.folder).read_text(encoding="utf-8")
        assert 'aria-label="Measured confusion"' in page
        first = run.measured.mass[0] / run.measured.mass[0].sum()
        assert "".join(f"<td>{100 * share:.1f} %</td>" for share in first) in page

    def test_a_prediction_of_an_unknown_class(self, run):
        path = run.folder / "predictions" / "plain.csv"
        path.write_text(path.read_text().replace(",a,", ",zebra,"))
        with pytest.raises(RunFolderError, match=r"plain\.csv is damaged"):
            load_run(run.folder)

    @pytest.mark.parametrize(
        "classes", [("NA", "nan"), ("1.0", "2"), ("label", "samples"), ("predicted", "")]
    )
    def test_names_that_pandas_would_read_otherwise(self, tmp_path, classes):
        labels = np.array([0, 0, 1, 1])
        run = load_run(write_run(tmp_path, classes, labels, np.array([0, 1, 1, 0]), labels))
        assert run.classes == classes
        assert run.answers["plain"].matrix.tolist() == [[1, 1], [1, 1]]
        assert run.measured is not None
        assert run.measured.mass.sum() == pytest.approx(4)


class TestCharts:
    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (0, 1, {0, 0.5, 1}),
            (-5.5, 0, {-6, -4, -2, 0}),
            (3, 3, {2.5, 3, 3.5}),
            (0, 40000, {0, 10000, 20000, 30000, 40000}),
        ],
    )
    def test_ticks_are_round_and_around(self, low, high, expected):
        made = ticks(low, high)
        assert expected <= set(made)
        assert made[0] <= low <= high <= made[-1]

    def test_tick_text(self):
        assert [tick_text(v) for v in (40000, -2.5, 0.2, 3e6)] == ["40k", "−2.5", "0.2", "3M"]

    def test_losses_have_a_line_for_each_phase(self, run):
        steps = [{"phase": p, "samples_seen": n, "loss": n, "validation": 0.5 if p == "fine-tune" else None}
                 for n, p in ((1, "pretrain"), (2, "pretrain"), (3, "fine-tune"))]  # fmt: skip
        write_json(run.folder / "history" / "multi-label.json", {"progress": steps})
        plot = losses(load_run(run.folder))[1]
        assert [(line.name, line.x, line.y) for line in plot.lines] == [
            ("pretrain", (1, 2), (1.0, 2.0)),
            ("fine-tune", (3,), (3.0,)),
            ("fine-tune, validation", (3,), (0.5,)),
        ]

    def test_a_plot_puts_the_first_tick_at_the_bottom_left(self):
        plot = Plot("n", "t", "x", "y", (), (0.0, 10.0), (0.0, 2.0))
        assert (plot.x(0), plot.y(0), plot.x(10), plot.y(2)) == (0, 400, 1000, 0)


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
