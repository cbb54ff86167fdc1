"""Figures of sets and decisions, and the risk–coverage curve, by hand and by counting."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sit2.errors import RunFolderError
from sit2.evaluation.selective import Said, SetReport, read_set_reports, risk_coverage
from sit2.records import ClassPair, Predictions


def predictions(chances: list[list[float]], labels: list[int]) -> Predictions:
    names = tuple(f"{n}" for n in range(len(labels)))
    return Predictions(names, np.array(labels, np.int64), np.array(chances))


def of_two(first: list[float], right: list[int]) -> Predictions:
    """Images that are taken for class 0 with so much confidence; 1 where that is right."""
    return predictions([[p, 1 - p] for p in first], [1 - r for r in right])


def test_risk_falls_as_fewer_images_are_answered() -> None:
    answered, risk, area = risk_coverage(of_two([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1]))
    np.testing.assert_allclose(answered, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 0, 1 / 3, 1 / 4])
    assert area == pytest.approx((1 / 3 + 1 / 4) / 4)


def test_images_of_equal_confidence_count_alike_in_any_order() -> None:
    areas = {round(risk_coverage(of_two([0.8] * 4, right))[2], 12) for right in ([1, 1, 0, 0], [0, 1, 0, 1])}
    assert areas == {0.5}


def report(coverage: float | None = 0.9) -> SetReport:
    chances = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]]
    inside = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    said = Said(
        np.array([1, 0, 1, 1, 0], bool), inside if coverage else None, np.array([0, 0, 0, 0, 1], bool)
    )
    pair = ClassPair(0, 1, "a", "b", 0.3, 0.1, 0.5, 2.0, 10, chosen=True)
    return SetReport.of(
        predictions(chances, [0, 1, 1, 0, 2]), said, "abc", [pair], coverage=coverage, guarantee="so"
    )


def test_figures_by_hand() -> None:
    found = report()
    assert (found.all.covered.hits, found.all.covered.n) == (3, 5)
    assert found.all.size == pytest.approx(1.0)
    assert (found.all.decided.hits, found.all.right.hits, found.all.right.n) == (3, 2, 3)
    assert [one.name for one in found.rows] == ["all images", "a", "b", "c", "a – b"]
    assert (found.classes[1].covered.hits, found.classes[1].covered.n, found.classes[1].size) == (2, 2, 1.5)
    assert (found.pairs[0].covered.hits, found.pairs[0].covered.n) == (3, 4)
    assert found.unlike is not None
    assert (found.unlike.hits, found.unlike.n) == (1, 5)


def test_without_sets_nothing_is_covered_and_decisions_are_counted() -> None:
    found = report(coverage=None)
    assert found.all.covered.n == 0
    assert math.isnan(found.all.size)
    assert found.all.decided.hits == 3


@pytest.mark.parametrize("coverage", [0.9, None])
def test_what_is_written_is_read(tmp_path: Path, coverage: float | None) -> None:
    path = tmp_path / "sets.json"
    path.write_text(json.dumps({"plain+conformal": report(coverage).to_json()}, allow_nan=False))
    (found,) = read_set_reports(path).values()
    assert found.to_json() == report(coverage).to_json()
    path.write_text('{"plain+conformal": {"coverage": 0.9}}')
    with pytest.raises(RunFolderError):
        read_set_reports(path)
    assert read_set_reports(tmp_path / "none.json") == {}
