"""More labelled images from a table: for training alone, whatever the splits are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import CLASSES, write_folder

from sit2.config.schema import make_config
from sit2.data.readers import read_dataset
from sit2.data.readers.added_labels import split_added, with_added
from sit2.data.readers.arrays import from_arrays
from sit2.errors import DataError
from sit2.events import nobody
from sit2.experiments.prepare import load_images, prepare
from sit2.records import Dataset

SETTINGS = {"backbone": "small-cnn", "image_size": 16, "cache": "off"}


@pytest.fixture(name="data")
def _data(tmp_path: Path) -> Path:
    write_folder(tmp_path / "new", 3, seed=4)
    return write_folder(tmp_path / "shapes", 12)


def table(place: Path, *rows: str, header: str = "path,label") -> Path:
    place.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return place


def test_added_images_train_and_the_others_stay_where_they_were(data: Path) -> None:
    added = table(
        data.parent / "more.csv", *(f"new/{c}/{c}_{n:02d}.png,{c}" for c in CLASSES for n in range(3))
    )
    before = prepare(data, make_config(SETTINGS), nobody)
    after = prepare(data, make_config({**SETTINGS, "add": added}), nobody)
    assert len(after.dataset) == len(before.dataset) + 9
    assert after.splits[: len(before.splits)].tolist() == before.splits.tolist()
    assert after.splits[len(before.splits) :].tolist() == ["train"] * 9
    assert [after.dataset.classes[k] for k in after.dataset.labels[-9:]] == [
        c for c in CLASSES for _ in range(3)
    ]
    assert all(Path(path).is_file() for path in after.samples.paths[-9:])
    few = prepare(data, make_config({**SETTINGS, "add": added, "labels_per_class": 2}), nobody)
    assert (few.splits == "train").sum() == 3 * 2 + 9  # a budget of the data's own labels


@pytest.mark.parametrize("in_arrays", [False, True])
def test_of_several_tables_an_image_counts_once(data: Path, in_arrays: bool) -> None:
    first = table(data.parent / "first, second.csv", "new/disc/disc_00.png,disc", "new/disc/disc_01.png,disc")
    second = table(data.parent / "third.csv", "new/disc/disc_01.png,disc", "new/disc/disc_02.png,disc")
    config = make_config({"add": f"{first}"}), make_config({"add": f"{second},{second}"})
    assert [one.add for one in config] == [(first,), (second, second)]
    base = read_dataset(data)
    if in_arrays:
        base = read_dataset((np.zeros((6, 8, 8), np.uint8), np.array(["disc", "ring", "bar"] * 2)))
    found = with_added(base, [first, second])
    assert [Path(path).name for path in found.paths[len(base) :]] == [f"disc_0{n}.png" for n in range(3)]
    assert found.added == (False,) * len(base) + (True,) * 3
    assert any(note.startswith(f"{second}: 1 image left out") for note in found.notes)


def test_what_is_there_already_and_what_has_no_label_is_left_out(data: Path) -> None:
    rows = ["new/disc/disc_00.png,", "new/disc/disc_01.png,disc", "shapes/disc/disc_01.png,disc"]
    found = with_added(read_dataset(data), [table(data.parent / "more.csv", *rows)])
    assert len(found) == 37
    assert found.added == (False,) * 36 + (True,)
    assert any("1 row without a label left out" in note for note in found.notes)
    assert any("1 image added, for training alone" in note for note in found.notes)
    assert any("1 image left out: shapes has them already" in note for note in found.notes)


def test_copies_of_test_images_and_their_groups_do_not_train(data: Path) -> None:
    (data.parent / "copies").mkdir()
    for path in data.rglob("*.png"):
        (data.parent / "copies" / path.name).write_bytes(path.read_bytes())
    names = sorted(path.name for path in (data.parent / "copies").iterdir())
    added = table(data.parent / "more.csv", *(f"copies/{name},{name.split('_')[0]}" for name in names))
    found = prepare(data, make_config({**SETTINGS, "add": added}), nobody)
    own, copies = found.splits[:36], dict(zip(names, found.splits[36:], strict=True))
    for path, split in zip(found.dataset.paths[:36], own, strict=True):
        assert copies[Path(path).name] == ("train" if split in ("train", "unused") else "unused")
    assert {"train", "unused"} <= set(copies.values())
    grouped = Dataset(
        "x", Path(), ("a", "b"), tuple("1234"), tuple("1234"), np.zeros(4, np.int64), ("p", "q", "p", "q")
    )
    several = Dataset(**{**vars(grouped), "added": (False, False, True, True)})
    assert split_added(several, lambda _: np.array(["train", "test"])).tolist() == [
        "train",
        "test",
        "train",
        "unused",
    ]


def test_files_are_added_to_arrays(data: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    base = from_arrays(images, np.array(["disc", "oval"] * 6), "arrays")
    found = with_added(base, [table(data.parent / "more.csv", "new/disc/disc_00.png,disc")])
    pixels = load_images(found, make_config(SETTINGS), nobody).store.images
    assert pixels.shape == (13, 3, 16, 16)
    assert pixels[12].any()


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (["new/disc/disc_00.png,disk"], "path,label", "'disk' is no class of shapes\ndid you mean 'disc'"),
        (["new/disc/disc_00.png"], "path", "no column 'label'"),
        (["disc"], "label", "no column 'path'"),
        (["new/disc/disc_00.png,disc"] * 2, "path,label", "twice"),
        (["new/disc/disc_00.png,"], "path,label", "holds no labelled image\nwrite the classes"),
        ([], "path,label", "holds no labelled image"),
    ],
)
def test_tables_that_do_not_fit(data: Path, rows: list[str], header: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        with_added(read_dataset(data), [table(data.parent / "more.csv", *rows, header=header)])


def test_a_folder_is_no_table(data: Path) -> None:
    with pytest.raises(DataError, match=r"new is a folder\nexpected a \.csv"):
        with_added(read_dataset(data), [data.parent / "new"])


def test_folds_have_no_place_for_them(data: Path) -> None:
    added = table(data.parent / "more.csv", "new/disc/disc_00.png,disc")
    with pytest.raises(DataError, match="leave out --cv"):
        load_images(data, make_config({**SETTINGS, "add": added, "cv": 3}), nobody)
