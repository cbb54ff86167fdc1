"""Folds of a whole folder: every image is left out once, with its group and its copies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sit2.data.cross_validation import check_free, draw_folds, fold_splits
from sit2.errors import DataError
from sit2.records import Dataset
from sit2.seeds import Seeds


def dataset_of(labels, groups=(), duplicates=()) -> Dataset:
    labels = np.asarray(labels, dtype=np.int64)
    names = tuple(f"{n:03d}" for n in range(len(labels)))
    classes = tuple(f"class{k}" for k in range(labels.max() + 1))
    return Dataset(
        "set", Path(), classes, names, names, labels, tuple(groups), duplicates=tuple(map(str, duplicates))
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(4, 15), min_size=2, max_size=4), st.integers(2, 6), st.integers(0, 99))
def test_a_fold_tests_its_images_and_trains_on_the_others(sizes, count, seed):
    dataset = dataset_of(np.repeat(np.arange(len(sizes)), sizes))
    fold = draw_folds(dataset, count, Seeds(seed))
    assert len(np.unique(fold)) == count
    assert np.ptp(np.bincount(fold)) <= 1
    for k, size in enumerate(sizes):  # alike in every fold, as far as can be
        assert np.ptp(np.bincount(fold[dataset.labels == k], minlength=count)) <= 1, size
    for number in range(count):
        splits = fold_splits(dataset, fold, number, val_fraction=0.2, seeds=Seeds(seed))
        assert ((splits == "test") == (fold == number)).all()
        assert (splits == "val").any()
        assert set(dataset.labels[splits == "train"]) == set(range(len(sizes)))


def test_groups_and_copies_stay_together():
    labels = np.arange(40) % 2
    copies = [0, *range(39)]  # the first two are one image, of two groups
    dataset = dataset_of(labels, [f"g{n // 4}" for n in range(40)], copies)
    fold = draw_folds(dataset, 5, Seeds(0))
    assert all(len(set(fold[n : n + 4])) == 1 for n in range(0, 40, 4))
    one = replace(dataset, groups=(), duplicates=(*["same"] * 8, *map(str, range(32))))
    assert len(set(draw_folds(one, 5, Seeds(0))[:8])) == 1


def test_a_small_class_does_not_make_the_folds_fewer():
    labels = [0] * 20 + [1] * 2
    fold = draw_folds(dataset_of(labels), 5, Seeds(0))
    assert len(np.unique(fold)) == 5
    assert len(set(fold[-2:])) == 2


def test_at_most_as_many_folds_as_groups():
    fold = draw_folds(dataset_of([0, 1] * 6, [f"g{n // 4}" for n in range(12)]), 9, Seeds(0))
    assert len(np.unique(fold)) == 3


@pytest.mark.parametrize(
    ("given", "why", "expected"),
    [
        (
            {"groups": [*"abababab", "lone", "lone"]},
            "all their images are of one group, or copies",
            "two groups of every class",
        ),
        (
            {"duplicates": [*range(8), "same", "same"]},
            "all are copies of one image",
            "two different images of every class",
        ),
    ],
)
def test_a_class_that_would_be_left_out_whole_is_refused(given, why, expected):
    with pytest.raises(DataError) as error:
        draw_folds(dataset_of([0] * 8 + [1, 1], **given), 3, Seeds(0))
    assert str(error.value) == (
        f"no fold can leave out images of 'class1' and still train on some: {why}\nexpected at least {expected}"
    )


def test_given_splits_are_refused():
    dataset = replace(dataset_of([0, 1, 0, 1]), splits=("train", "train", "val", "test"))
    with pytest.raises(DataError, match="comes with test and validation images of its own"):
        check_free(dataset)
    check_free(replace(dataset, splits=()))
