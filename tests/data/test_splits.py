"""Splits and folds: what must hold for any labels and groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from sit2.data.splits import describe, draw_splits, folds, limit_labels, make_splits
from sit2.errors import DataError
from sit2.records import Dataset
from sit2.seeds import Seeds


def dataset_of(labels, groups=(), splits=()) -> Dataset:
    labels = np.asarray(labels, dtype=np.int64)
    names = tuple(f"{n:03d}" for n in range(len(labels)))
    classes = tuple(f"class{k}" for k in range(labels.max() + 1))
    return Dataset("set", Path(), classes, names, names, labels, tuple(groups), tuple(splits))


def split(dataset, seed=0, val=0.16, test=0.2):
    return make_splits(dataset, val_fraction=val, test_fraction=test, seeds=Seeds(seed))


def counts(splits, labels, name) -> np.ndarray:
    return np.bincount(labels[splits == name], minlength=labels.max() + 1)


@st.composite
def many_labels(draw, smallest=3):
    """Labels of 2 to 7 classes, in any order."""
    sizes = draw(st.lists(st.integers(smallest, 23), min_size=2, max_size=7))
    return np.array(draw(st.permutations(np.repeat(np.arange(len(sizes)), sizes).tolist())))


@st.composite
def grouped_labels(draw):
    """Labels and groups: a group may hold one class, or several."""
    labels = draw(many_labels(1))
    pure = draw(st.booleans())
    number = draw(st.integers(2, 13))
    rows = draw(st.lists(st.integers(0, number - 1), min_size=len(labels), max_size=len(labels)))
    return labels, tuple(f"{k}-{g}" if pure else f"{g}" for k, g in zip(labels, rows, strict=True))


@settings(deadline=None)
@given(
    many_labels(11), st.integers(0, 99), st.sampled_from([(0.16, 0.2), (0.01, 0.8), (0.5, 0.3), (0.3, 0.01)])
)
def test_splits_are_stratified(labels, seed, fractions):
    val, test = fractions
    splits = split(dataset_of(labels), seed, val, test)
    parts = {name: counts(splits, labels, name) for name in ("train", "val", "test")}
    sizes = np.bincount(labels)
    np.testing.assert_array_equal(sum(parts.values()), sizes)
    assert (parts["train"] >= 1).all()
    wanted = max(1, round(test * len(labels)))
    assert (np.abs(parts["test"] - sizes * wanted / len(labels)) < 1).all()
    assert parts["test"].sum() <= wanted
    assert parts["val"].sum() >= 1


@settings(deadline=None)
@given(many_labels(10))
def test_every_class_is_tested_and_validated_where_there_is_enough(labels):
    splits = split(dataset_of(labels))
    for name in ("val", "test"):
        assert (counts(splits, labels, name) >= 1).all()
        assert abs((splits == name).mean() - {"val": 0.16, "test": 0.2}[name]) <= 1 / len(labels)
    assert describe(splits, labels, [str(k) for k in range(7)][: labels.max() + 1]) == []


@settings(deadline=None)
@given(grouped_labels(), st.integers(0, 99))
def test_groups_are_never_torn(drawn, seed):
    labels, groups = drawn
    try:
        splits = split(dataset_of(labels, groups), seed)
    except DataError:  # each class would lose its last group
        return
    for group in set(groups):
        assert len(set(splits[np.array(groups) == group])) == 1
    assert (counts(splits, labels, "train") >= 1).all()
    assert {"train", "val", "test"} == set(splits)


def test_groups_of_one_class_are_parted_alike():
    labels = np.repeat(np.arange(3), 70)
    groups = [f"{k}-{n // 7}" for k in range(3) for n in range(70)]  # ten groups of seven in each class
    splits = split(dataset_of(labels, groups))
    assert counts(splits, labels, "test").tolist() == [14, 14, 14]
    assert all(7 <= count <= 14 for count in counts(splits, labels, "val"))


def test_the_only_group_of_a_class_trains():
    labels = np.array([0] * 40 + [1] * 60)
    groups = ["lone"] * 40 + [str(n // 3) for n in range(60)]
    for seed in range(5):
        splits = split(dataset_of(labels, groups), seed)
        assert set(splits[:40]) == {"train"}
        assert (splits == "test").sum() >= 6
        assert (splits == "val").sum() >= 6


def test_small_classes_keep_an_image_to_train_on():
    splits = split(dataset_of([0] * 30 + [1, 1, 1] + [2]))
    assert splits[-1] == "train"
    assert "train" in splits[30:33]


def test_uneven_fractions_with_groups():
    labels = np.arange(600) % 2
    groups = [str(n // 3) for n in range(600)]
    for test in (0.02, 0.06, 0.3, 0.4, 0.8):
        splits = split(dataset_of(labels, groups), val=0.1, test=test)
        assert (splits == "test").mean() == pytest.approx(test, abs=0.02)
        assert (splits == "val").mean() == pytest.approx(0.1, abs=0.02)


def test_splits_follow_the_seed():
    dataset = dataset_of(np.arange(60) % 3)
    assert (split(dataset, 1) == split(dataset, 1)).all()
    assert (split(dataset, 1) != split(dataset, 2)).any()
    dataset = dataset_of(np.arange(60) % 3, [str(n // 4) for n in range(60)])
    assert (split(dataset, 1) == split(dataset, 1)).all()
    assert (split(dataset, 1) != split(dataset, 2)).any()


@pytest.mark.parametrize("given", ["val", "test"])
def test_given_splits_are_kept_and_the_missing_one_is_made(given):
    labels = np.arange(100) % 2
    source = np.array(["train"] * 70 + [given] * 30)
    splits = split(dataset_of(labels, splits=source))
    made = {"val": "test", "test": "val"}[given]
    assert (splits[70:] == given).all()
    assert set(splits[:70]) == {"train", made}
    share = {"val": 0.16, "test": 0.2}[made]
    assert (splits == made).sum() == round(70 * share)
    both = np.array(["train"] * 60 + ["val"] * 20 + ["test"] * 20)
    assert (split(dataset_of(labels, splits=both)) == both).all()


def test_too_little_to_split():
    with pytest.raises(DataError) as caught:
        split(dataset_of([0, 1]))
    assert str(caught.value) == (
        "too few images in set to make a test split of them\n"
        "expected at least three images of some class: add images, or lower the fractions"
    )
    with pytest.raises(DataError, match="too few groups in set to make a test split"):
        split(dataset_of([0, 0, 0, 1, 1, 1], "aaabbb"))


def test_a_class_that_is_never_trained():
    with pytest.raises(DataError) as caught:
        split(dataset_of([0, 0, 1, 1], splits=["train", "val", "val", "test"]))
    assert str(caught.value) == (
        "no training image for 1 class: 'class1'\nexpected every class in 'train': move images into it"
    )


def test_validation_labels_can_be_counted_too():
    labels = np.arange(200) % 4
    how = {"val_fraction": 0.2, "test_fraction": 0.2, "seeds": Seeds(0)}
    plain = draw_splits(dataset_of(labels), **how)
    few, more = (draw_splits(dataset_of(labels), **how, labels_per_class=5, val_per_class=n) for n in (2, 4))
    for splits, number in ((few, 2), (more, 4)):
        assert counts(splits, labels, "train").tolist() == [5] * 4
        assert counts(splits, labels, "val").tolist() == [number] * 4
        assert (splits[splits != "unused"] == plain[splits != "unused"]).all()
        np.testing.assert_array_equal(splits == "test", plain == "test")
    assert ((few == "val") <= (more == "val")).all()
    np.testing.assert_array_equal(few == "train", more == "train")
    assert (
        counts(draw_splits(dataset_of(labels), **how, val_per_class=99), labels, "val").tolist() == [10] * 4
    )


@settings(deadline=None)
@given(many_labels(), st.integers(1, 13), st.integers(1, 13), st.integers(0, 99))
def test_fewer_labels_are_among_more_labels(labels, few, many, seed):
    few, many = sorted((few, many))
    splits = split(dataset_of(labels))
    small, large = (limit_labels(splits, labels, n, Seeds(seed)) for n in (few, many))
    for limited, number in ((small, few), (large, many)):
        before = counts(splits, labels, "train")
        np.testing.assert_array_equal(counts(limited, labels, "train"), np.minimum(before, number))
        np.testing.assert_array_equal(limited == "test", splits == "test")
        np.testing.assert_array_equal(limited == "val", splits == "val")
    assert ((large == "train") | (small != "train")).all()


def test_fewer_labels_follow_the_seed():
    labels = np.arange(60) % 3
    splits = np.full(60, "train")
    one, same, other = (limit_labels(splits, labels, 5, Seeds(seed)) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    assert (splits == "train").all()


@settings(deadline=None)
@given(many_labels(1), st.integers(2, 7), st.integers(0, 99))
def test_folds_hold_every_sample_out_once(labels, count, seed):
    parts = folds(labels, (), count, Seeds(seed))
    held = np.concatenate([out for _, out in parts])
    np.testing.assert_array_equal(np.sort(held), np.arange(len(labels)))
    sizes = np.bincount(labels)
    assert len(parts) == max(2, min(count, sizes.min()))
    for train, out in parts:
        np.testing.assert_array_equal(np.union1d(train, out), np.arange(len(labels)))
        assert not np.intersect1d(train, out).size
        share = np.bincount(labels[out], minlength=len(sizes))
        assert (np.abs(share - sizes / len(parts)) < 1).all()
        assert abs(len(out) - len(labels) / len(parts)) < 1


def test_folds_have_the_class_counts_of_scikit_learn():
    labels = np.repeat(np.arange(4), [7, 11, 13, 29])
    ours = [np.bincount(labels[out]) for _, out in folds(labels, (), 5, Seeds(3))]
    theirs = [np.bincount(labels[out]) for _, out in StratifiedKFold(5).split(labels, labels)]
    for k in range(4):
        assert sorted(c[k] for c in ours) == sorted(c[k] for c in theirs)


@settings(deadline=None)
@given(grouped_labels(), st.integers(2, 7), st.integers(0, 99))
def test_grouped_folds(drawn, count, seed):
    labels, groups = drawn
    names = np.array(groups)
    if len(set(groups)) < 2:
        with pytest.raises(DataError):
            folds(labels, groups, count, Seeds(seed))
        return
    parts = folds(labels, groups, count, Seeds(seed))
    held = np.concatenate([out for _, out in parts])
    np.testing.assert_array_equal(np.sort(held), np.arange(len(labels)))
    smallest = min(len(set(names[labels == k])) for k in range(labels.max() + 1))
    assert 2 <= len(parts) <= max(2, min(count, smallest))
    for train, out in parts:
        assert len(train)
        assert len(out)
        assert not set(names[train]) & set(names[out])


def test_folds_follow_the_seed():
    labels = np.arange(60) % 3
    for groups in ((), [str(n // 4) for n in range(60)]):
        one, same, other = (
            [out.tolist() for _, out in folds(labels, groups, 5, Seeds(s))] for s in (1, 1, 2)
        )
        assert one == same
        assert one != other


def test_one_group_cannot_be_parted():
    with pytest.raises(DataError) as caught:
        folds(np.array([0, 1, 0]), "aaa", 5, Seeds(0))
    assert str(caught.value) == (
        "cannot part 3 training images of 1 group into folds\n"
        "expected at least two groups; --groups none ignores them"
    )


def test_describe_names_the_classes_that_are_missing():
    splits = np.array(["train", "train", "train", "val", "val"])
    sentences = describe(splits, np.array([0, 1, 2, 0, 1]), ["ant", "bee", "cow"])
    assert sentences == [
        "No validation image for 1 class of 3: cow.",
        "No test image for 3 classes of 3: ant, bee, cow.",
    ]
