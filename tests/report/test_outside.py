"""Test errors outside of the chosen pairs are shown, with the reason why those pairs were not chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from made_run import change_json, page_text, write_run

from sit2.confusion.pairs import choose_pairs, measure, rank_pairs, why_not_chosen
from sit2.report.data import load_run
from sit2.report.outside import errors_outside, outside_sentence

CLASSES = ("ant", "bee", "cow", "dog")


def made(folder: Path) -> Path:
    """A run whose pair was chosen by other confusion than its test shows: cow and dog are confused there."""
    labels = np.repeat(np.arange(4), 10)
    before, after = labels.copy(), labels.copy()
    before[:9] = 1  # ants taken for bees
    after[:2] = 1
    after[20:27] = 3  # cows taken for dogs
    after[30] = 0
    write_run(folder, CLASSES, labels, before, after)
    return folder


def test_errors_inside_and_outside_are_counted_and_explained(tmp_path: Path) -> None:
    run = load_run(made(tmp_path))
    assert [(pair.class_a, pair.class_b) for pair in run.chosen] == [("ant", "bee")]
    found = errors_outside(run)
    assert found is not None
    assert (found.inside, found.outside) == (2, 8)
    assert [(row.class_a, row.class_b, row.errors, row.images) for row in found.rows] == [
        ("cow", "dog", 7, 20),
        ("ant", "dog", 1, 20),
    ]
    assert outside_sentence(run).startswith(
        "Of 10 test errors, 2 lie in the chosen pairs and 8 outside, 7 of these between cow and dog (not "
        "chosen: "
    )
    page = page_text(tmp_path)
    assert "Of the 10 test errors of multi-label, 2 lie in the chosen pairs and 8 outside." in page
    assert found.rows[0].why in page


def test_nothing_to_say(tmp_path: Path) -> None:
    run = load_run(made(tmp_path))
    assert errors_outside(replace(run, pairs=())) is None
    assert outside_sentence(replace(run, pairs=())) == ""


def test_each_reason_is_that_of_the_rule() -> None:
    """Whatever is not chosen is left out for one of the rule's three reasons, in this order."""
    table = np.eye(4) * 0.0 + np.array(
        [[0.6, 0.4, 0.0, 0.0], [0.3, 0.68, 0.02, 0.0], [0.0, 0.2, 0.8, 0.0], [0.0, 0.0, 0.0, 1.0]]
    )
    confusion = measure(
        np.repeat(table, [10, 10, 2, 10], axis=0), np.repeat(np.arange(4), [10, 10, 2, 10]), CLASSES
    )
    ranked = rank_pairs(confusion)
    by_names = {(pair.class_a, pair.class_b): pair for pair in ranked}
    bee_cow, ant_dog = by_names["bee", "cow"], by_names["ant", "dog"]
    assert "rank 2 by score" in why_not_chosen(bee_cow, ranked)
    assert "only 0.6 images confused" in why_not_chosen(bee_cow, ranked, coverage=1.0)
    assert "as many pairs as may be" in why_not_chosen(bee_cow, ranked, coverage=1.0, min_confused=0.0)
    assert why_not_chosen(ant_dog, ranked) == "not confused at all before training"
    assert why_not_chosen(ant_dog, []) == "its confusion was not measured"
    chosen = choose_pairs(ranked, num_classes=4, coverage=1.0, min_confused=0.0, max_pairs=1)
    assert [pair.chosen for pair in chosen[:2]] == [True, False]


def test_how_good_what_measured_the_confusion_is_stands_by_the_pairs(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert "Confusion is that of" not in page_text(folder)
    change_json(
        folder / "run.json",
        confusion={"by": "a classifier", "correct": 30, "images": 40, "interval": [0.6, 0.86]},
    )
    assert "Confusion is that of a classifier: 75.0 % of 40 images classified correctly" in page_text(folder)
