"""What the report computes, against cases computed by hand and an independent reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_run import random_run, write_run
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from sit2.evaluation.statistics import holm, mcnemar_exact
from sit2.report.classes import class_rows
from sit2.report.data import load_run
from sit2.report.images import Album
from sit2.report.matrix import (
    clustered,
    graph,
    matrix_of,
    matrix_view,
    mutual,
    offered,
    order_of,
    rates,
    shown_rows,
)
from sit2.report.pairs import ErrorRate, pair_rows

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
CONTROL = np.array([0, 1, 1, 2, 1, 1, 0, 1, 2, 2])
METHOD = np.array([0, 0, 1, 2, 1, 0, 0, 1, 2, 1])


@pytest.fixture(name="run")
def _run(tmp_path: Path):
    return load_run(write_run(tmp_path / "run", CLASSES, LABELS, CONTROL, METHOD))


@pytest.fixture(name="alone")
def _alone(tmp_path: Path):
    return load_run(write_run(tmp_path / "alone", CLASSES, LABELS, None, METHOD, recipes=("", "plain+tta")))


class TestClasses:
    def test_matrices_are_scikit_learns(self, run):
        for method, predicted in (("plain", CONTROL), ("multi-label", METHOD)):
            assert np.array_equal(matrix_of(run.predictions[method]), confusion_matrix(LABELS, predicted))

    def test_scores_by_class_are_scikit_learns(self, run, alone):
        for one, shown in ((run, (CONTROL, METHOD)), (alone, (METHOD,))):
            rows = class_rows(one)
            for n, predicted in enumerate(shown):
                precision, recall, f1, images = precision_recall_fscore_support(LABELS, predicted)
                scores = [row.scores[n] for row in rows]
                assert [s.precision for s in scores] == pytest.approx(precision)
                assert [s.recall for s in scores] == pytest.approx(recall)
                assert [s.f1 for s in scores] == pytest.approx(f1)
                assert [row.images for row in rows] == images.tolist()

    def test_what_a_class_gained_and_lost(self, run):
        rows = class_rows(run)
        assert [(r.change.gained, r.change.lost) for r in rows] == [(1, 0), (0, 1), (0, 1)]
        p = [
            mcnemar_exact((CONTROL == LABELS)[k == LABELS], (METHOD == LABELS)[k == LABELS]) for k in range(3)
        ]
        assert [r.p_adjusted for r in rows] == pytest.approx(holm(p))

    def test_nothing_changed_without_a_control(self, alone):
        assert {(row.change, row.p_adjusted) for row in class_rows(alone)} == {(None, None)}

    def test_groups_count_once(self, tmp_path):
        """Ten images of one patient tell no more than one."""
        labels = np.repeat([0, 1], 10)
        groups = ["p"] * 10 + [f"q{n}" for n in range(10)]
        run = write_run(tmp_path, ("a", "b"), labels, 1 - labels, labels, groups=groups)
        one, ten = class_rows(load_run(run))
        assert (one.change.gained, ten.change.gained) == (10, 10)
        assert one.p_adjusted == 1
        assert ten.p_adjusted == pytest.approx(2 * 2 / 2**10)


class TestPairs:
    def test_a_pair_by_hand(self, run):
        row = next(r for r in pair_rows(run) if (r.pair.class_a, r.pair.class_b) == ("a", "b"))
        assert [(one.errors, one.images) for one in row.errors] == [(3, 8), (3, 8)]
        assert (row.fixed.tolist(), row.introduced.tolist()) == ([1], [5])

    def test_without_a_control_the_errors_that_there_are(self, alone):
        row = next(r for r in pair_rows(alone) if (r.pair.class_a, r.pair.class_b) == ("a", "b"))
        assert [(one.errors, one.images) for one in row.errors] == [(3, 8)]
        assert row.remaining.tolist() == [2, 5, 6]
        assert (len(row.fixed), len(row.introduced)) == (0, 0)

    def test_an_error_rate_has_wilsons_interval(self):
        assert ErrorRate(3, 8).interval == pytest.approx((0.1368, 0.6943), abs=1e-4)  # by the formula
        assert np.isnan(ErrorRate(0, 0).rate)


class TestConfusion:
    def test_confused_classes_are_neighbours(self):
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
        shown = shown_rows(run.predictions["plain"])
        assert shown[0, 1] == [1, 2]
        assert shown[2, 2] == [8, 9]
        assert sum(map(len, shown.values())) == 10

    def test_the_images_behind_a_cell_are_those_in_it(self, run):
        view = matrix_view(run, Album.of(run, 10**6))
        for m, method in enumerate(view["methods"]):
            predictions = run.predictions[method]
            for key, places in view["cells"][m].items():
                i, j = map(int, key.split(","))
                for place in places:
                    image = view["images"][place]
                    n = predictions.ids.index(image["id"])
                    of_image = (predictions.labels[n], predictions.predicted[n])
                    assert of_image == (i, j) == (image["label"], image["by"][m][0])
                    assert image["by"][m][1] == pytest.approx(0.8)
                    assert image["by"][m][2] == pytest.approx(0.8 if i == j else 0.1)

    def test_each_method_has_its_control(self, run, alone):
        view = matrix_view(run, Album.of(run, 10**6))
        assert (view["methods"], view["controls"]) == (["plain", "multi-label"], [-1, 0])
        assert offered(view) == [1]
        view = matrix_view(alone, Album.of(alone, 10**6))
        assert (view["methods"], view["controls"], offered(view)) == (["plain+tta"], [-1], [0])

    def test_what_can_be_chosen_is_everything_but_controls(self):
        assert offered({"methods": list("pqrs"), "controls": [-1, 0, 1, -1]}) == [1, 2, 3]

    def test_the_graph_has_each_class_once_and_the_strongest_links_last(self, tmp_path):
        run = load_run(random_run(tmp_path, 40, 800))
        matrix = matrix_of(run.predictions["plain"])
        drawn = graph(matrix, run.classes, order_of(run))
        assert sorted(node.name for node in drawn.nodes) == list(run.classes)
        widths = [link.width for link in drawn.links]
        assert widths == sorted(widths)
        place = {name: k for k, name in enumerate(run.classes)}
        for link in drawn.links:
            a, b = place[link.a], place[link.b]
            assert link.images == matrix[a, b] + matrix[b, a] > 0
