"""What is said of an image: a class, between which classes it is not sure, or that it is unlike the others."""

from __future__ import annotations

import numpy as np
import pytest

from sit2.errors import ConfigError
from sit2.inference.decisions import Answers, decide, decided, joined, level

CLASSES = ("A", "B", "C")
CHANCES = np.array([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4], [0.4, 0.35, 0.25], [0.45, 0.44, 0.11], [0.2, 0.6, 0.2]])
P_VALUES = np.array(
    [[0.9, 0.05, 0.01], [0.6, 0.01, 0.3], [0.5, 0.4, 0.2], [0.04, 0.03, 0.01], [0.01, 0.5, 0.01]]
)


def test_every_kind_of_decision() -> None:
    found = decide(Answers(CHANCES, P_VALUES, np.array([0, 0, 0, 0, 1], bool)), CLASSES, 0.9)
    assert [one.decision for one in found] == [
        "A",
        "not sure: A or C",
        "not sure: A, B or C",
        "not sure: A or B",  # no class is possible: its two first ones
        "unlike the training images",
    ]
    assert [one.set for one in found] == [("A",), ("A", "C"), ("A", "B", "C"), (), ("B",)]
    assert [one.predicted for one in found] == ["A", "A", "A", "A", "B"]
    assert [one.confidence for one in found] == [0.7, 0.5, 0.4, 0.45, 0.6]
    assert [one.decision == one.predicted for one in found] == [True, False, False, False, False]


def test_a_single_possible_class_that_is_not_the_first_is_no_decision() -> None:
    (one,) = decide(Answers(np.array([[0.5, 0.4, 0.1]]), np.array([[0.01, 0.5, 0.01]])), CLASSES, 0.9)
    assert (one.decision, one.set) == ("not sure: A or B", ("B",))


def test_without_sets_it_is_the_first_class() -> None:
    found = decide(Answers(CHANCES), CLASSES, None)
    assert [one.decision for one in found] == ["A", "A", "A", "A", "B"]
    assert {one.set for one in found} == {()}


def test_what_is_counted_as_decided_is_what_is_said() -> None:
    draw = np.random.default_rng(0)
    chances = draw.dirichlet(np.ones(3), 300)
    for answers, coverage in (
        (Answers(chances, draw.random((300, 3)), draw.random(300) < 0.1), 0.6),
        (Answers(chances, None, draw.random(300) < 0.1), None),
        (Answers(chances), None),
    ):
        said = [one.decision == one.predicted for one in decide(answers, CLASSES, coverage)]
        assert np.array_equal(decided(answers, coverage), said)


def test_lots_of_images_are_joined() -> None:
    parts = [Answers(CHANCES[rows], P_VALUES[rows], np.ones(len(rows), bool)) for rows in ([0, 1], [], [2])]
    whole = joined(parts)
    assert np.array_equal(whole.probabilities, CHANCES[:3])
    assert whole.p_values is not None
    assert np.array_equal(whole.p_values, P_VALUES[:3])
    assert joined([Answers(CHANCES)]).p_values is None


@pytest.mark.parametrize("asked", ["0.8", [0.8], float("nan"), 0, 1.0, True])
def test_a_coverage_that_is_none(asked: object) -> None:
    with pytest.raises(ConfigError, match="expected a number between 0 and 1"):
        level(None, asked, CLASSES, "plain")  # type: ignore[arg-type]
