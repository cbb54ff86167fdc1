"""Images that are equal to the byte, and what keeps them together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sit2.data.duplicates import duplicate_sets, find_duplicates, name_duplicates
from sit2.data.pixels import load_pixels
from sit2.data.readers import read_dataset
from sit2.data.readers.arrays import from_arrays
from sit2.data.splits import connected_groups, draw_splits, folds, limit_labels, make_splits, unite_duplicates
from sit2.errors import DataError
from sit2.records import Dataset
from sit2.seeds import Seeds


def dataset_of(labels, *, duplicates=(), groups=(), splits=()) -> Dataset:
    labels = np.asarray(labels, dtype=np.int64)
    ids = tuple(f"{n:03d}" for n in range(len(labels)))
    classes = tuple(f"class{k}" for k in range(labels.max() + 1))
    return Dataset(
        "set", Path(), classes, ids, ids, labels, tuple(groups), tuple(splits), duplicates=tuple(duplicates)
    )


def drawn_and_united(dataset, seed=0):
    drawn = make_splits(dataset, val_fraction=0.2, test_fraction=0.3, seeds=Seeds(seed))
    return drawn, unite_duplicates(drawn, dataset)


class TestFinding:
    def test_files(self, save_image, tmp_path):
        for name in ("ant", "bee"):
            for n in range(4):
                save_image(f"DATA/{name}/{n}.png")
        data = tmp_path / "DATA"
        shutil.copy(data / "ant/1.png", data / "bee/8.png")
        shutil.copy(data / "ant/1.png", data / "ant/9.png")
        (data / "bee/2.png").write_bytes(b"")
        (data / "bee/3.png").write_bytes(b"")  # two empty files are no image that stands twice
        dataset = read_dataset(data)
        named = name_duplicates(dataset, load_pixels(dataset, size=8))
        assert [[named.ids[n] for n in rows] for rows in duplicate_sets(named)] == [
            ["ant/1.png", "ant/9.png", "bee/8.png"]
        ]
        assert {named.duplicates[n] for n in duplicate_sets(named)[0]} == {"ant/1.png"}

    def test_files_that_only_look_alike_are_no_copies(self, save_image, tmp_path):
        """Two pictures that become the same few pixels when they are made small, in files of one size."""
        for name in ("ant", "bee"):
            for n in range(2):
                path = save_image(f"DATA/{name}/{n}.ppm", height=16, width=16)
                pixels = bytearray(path.read_bytes())
                pixels[-768:] = bytes([128 + n, 128 - n] * 384)  # gone at one pixel
                path.write_bytes(pixels)
        dataset = read_dataset(tmp_path / "DATA")
        pixels = load_pixels(dataset, size=1)
        assert len(np.unique(pixels.images.reshape(4, -1), axis=0)) < 4
        expected = [[0, 2], [1, 3]]  # ant/0 = bee/0, ant/1 = bee/1
        assert find_duplicates(dataset, pixels) == expected

    def test_arrays(self):
        images = np.random.default_rng(1).integers(0, 256, (6, 7, 7), dtype=np.uint8)
        images[4] = images[1]
        dataset = from_arrays(images, [0, 0, 0, 1, 1, 1], "set")
        assert find_duplicates(dataset, load_pixels(dataset, size=8)) == [[1, 4]]

    def test_without_copies_the_dataset_stays_as_it_is(self):
        images = np.random.default_rng(1).integers(0, 256, (6, 7, 7), dtype=np.uint8)
        dataset = from_arrays(images, [0, 0, 0, 1, 1, 1], "set")
        assert name_duplicates(dataset, load_pixels(dataset, size=8)) is dataset

    def test_taking_rows_takes_their_names(self):
        dataset = dataset_of([0, 0, 1], duplicates="aba")
        assert dataset.take(np.array([2, 0])).duplicates == ("a", "a")


class TestConnectedGroups:
    def test_without_copies_these_are_the_groups(self):
        assert connected_groups(("p", "q"), ()) == ("p", "q")
        assert connected_groups((), ()) == ()

    def test_copies_alone(self):
        names = connected_groups((), tuple("xyxz"))
        assert names[0] == names[2]
        assert len(set(names)) == 3

    def test_a_copy_links_two_groups(self):
        names = connected_groups(tuple("ppqqr"), tuple("abacd"))  # the first image of p is the first of q
        assert len(set(names[:4])) == 1
        assert names[4] != names[0]


@st.composite
def sets_with_copies(draw):
    """Labels of 2 to 4 classes, each of at least four images, some of which stand twice or more."""
    sizes = draw(st.lists(st.integers(6, 15), min_size=2, max_size=4))
    labels = np.array(draw(st.permutations(np.repeat(np.arange(len(sizes)), sizes).tolist())))
    twins = draw(
        st.lists(st.tuples(st.integers(0, len(labels) - 1), st.integers(0, len(labels) - 1)), max_size=4)
    )
    copies = [str(n) for n in range(len(labels))]
    for one, other in twins:
        copies = [copies[one] if name == copies[other] else name for name in copies]
    return labels, copies


class TestSplits:
    @settings(deadline=None)
    @given(sets_with_copies(), st.integers(0, 99))
    def test_copies_share_a_split_and_nothing_else_moves(self, case, seed):
        labels, copies = case
        dataset = dataset_of(labels, duplicates=copies)
        drawn, united = drawn_and_united(dataset, seed)
        for rows in duplicate_sets(dataset):
            assert len(set(united[rows])) == 1
        alone = [n for n, name in enumerate(copies) if copies.count(name) == 1]
        np.testing.assert_array_equal(united[alone], drawn[alone])
        assert set(labels[united == "train"]) == set(labels)

    def test_groups_that_a_copy_links_go_together(self):
        dataset = dataset_of([0, 1] * 20, groups=[str(n // 4) for n in range(40)], duplicates=[*range(39), 0])
        dataset = dataset_of(
            dataset.labels, groups=dataset.groups, duplicates=[str(c) for c in dataset.duplicates]
        )
        for seed in range(20):
            _, united = drawn_and_united(dataset, seed)
            for part in ([*range(4), *range(36, 40)], range(4, 8)):
                assert len(set(united[list(part)])) == 1

    def test_what_the_source_gives_is_not_moved(self):
        given = ["train"] * 20 + ["test"] * 4
        dataset = dataset_of([0, 1] * 12, splits=given, duplicates=[str(n % 23) for n in range(24)])  # 0 = 23
        _, united = drawn_and_united(dataset)
        assert united[20:].tolist() == ["test"] * 4

    def test_a_class_keeps_an_image_to_train_on(self):
        dataset = dataset_of([0] * 10 + [1] * 2, duplicates=[*"abcdefghij", "x", "x"])
        for seed in range(20):
            _, united = drawn_and_united(dataset, seed)
            assert united[10:].tolist() == ["train"] * 2

    def test_too_few_different_images(self):
        dataset = dataset_of([0, 0, 1, 1], duplicates="abaa")
        splits = np.array(["train", "val", "train", "test"])
        with pytest.raises(DataError, match=r"^too few different images in set for a test split"):
            unite_duplicates(splits, dataset)

    def test_without_copies_the_splits_are_those_of_make_splits(self):
        dataset = dataset_of([0, 1, 2] * 20)
        for seed in range(5):
            kwargs = {"val_fraction": 0.16, "test_fraction": 0.2}
            plain = make_splits(dataset, **kwargs, seeds=Seeds(seed).child("splits"))
            np.testing.assert_array_equal(draw_splits(dataset, **kwargs, seeds=Seeds(seed)), plain)
            limited = limit_labels(plain, dataset.labels, 5, Seeds(seed).child("labels"))
            drawn = draw_splits(dataset, **kwargs, labels_per_class=5, seeds=Seeds(seed))
            np.testing.assert_array_equal(drawn, limited)

    def test_limited_labels_are_the_same_but_for_what_moved(self):
        labels = np.zeros(40, dtype=np.int64)
        labels[20:] = 1
        drawn = np.array((["train"] * 14 + ["test"] * 6) * 2)
        moved = drawn.copy()
        moved[0] = "test"
        before = limit_labels(drawn, labels, 6, Seeds(0))
        after = limit_labels(moved, labels, 6, Seeds(0), drawn=drawn)
        assert (after[:20] == "train").sum() == 6
        assert ((before == "train") & (after != "train")).sum() <= 1
        np.testing.assert_array_equal(before[20:], after[20:])


class TestFolds:
    @settings(deadline=None)
    @given(sets_with_copies(), st.integers(2, 5), st.integers(0, 99))
    def test_copies_are_held_out_together(self, case, count, seed):
        labels, copies = case
        for train, out in folds(labels, (), count, Seeds(seed), duplicates=copies):
            assert not {copies[n] for n in train} & {copies[n] for n in out}

    def test_others_stay_in_their_fold(self):
        labels, copies = np.arange(30) % 3, [str(n % 29) for n in range(30)]  # 0 = 29
        plain, united = (
            np.concatenate([np.full(len(out), f) for f, (_, out) in enumerate(parts)])[
                np.argsort(np.concatenate([out for _, out in parts]))
            ]
            for parts in (folds(labels, (), 5, Seeds(1)), folds(labels, (), 5, Seeds(1), duplicates=copies))
        )
        np.testing.assert_array_equal(plain[:29], united[:29])
        assert united[29] == united[0]

    def test_nothing_but_copies(self):
        with pytest.raises(DataError, match=r"^cannot part training images into folds"):
            folds(np.array([0, 1, 0, 1]), (), 2, Seeds(0), duplicates=tuple("aaaa"))
