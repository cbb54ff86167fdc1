"""Folders of classes, with and without splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sit2.data.readers import read_dataset
from sit2.errors import DataError


def test_classes_are_folders_and_ids_are_relative_paths(save_image, tmp_path):
    for place in ("DATA/newt/b.png", "DATA/newt/old/a.JPG", "DATA/ant/2.png", "DATA/ant/1.png"):
        save_image(place)
    dataset = read_dataset(tmp_path / "DATA")
    assert dataset.name == "DATA"
    assert dataset.classes == ("ant", "newt")
    assert dataset.ids == ("ant/1.png", "ant/2.png", "newt/b.png", "newt/old/a.JPG")
    assert dataset.paths == dataset.ids
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.labels.dtype == np.int64
    assert (dataset.splits, dataset.groups, dataset.notes) == ((), (), ())
    assert all((dataset.root / path).is_file() for path in dataset.paths)


def test_what_sit2_wrote_is_no_data(save_image, tmp_path):
    for place in (
        "ant/1.png",
        "ant/2.png",
        "newt/1.png",
        "newt/2.png",
        "runs/mine/batches/3.png",
        "ant/run/4.png",
    ):
        save_image(f"DATA/{place}")
    for run in ("DATA/runs/mine", "DATA/ant/run"):
        for name in ("run.json", "config.yaml"):
            (tmp_path / run / name).write_text("{}")
    dataset = read_dataset(tmp_path / "DATA")
    assert dataset.ids == ("ant/1.png", "ant/2.png", "newt/1.png", "newt/2.png")
    assert dataset.notes == (
        "ignored 2 folders that sit2 wrote: ant/run, runs/mine",
        "ignored 1 folder without images: runs",
    )


def test_split_folders_in_any_writing(save_image, tmp_path):
    for split in ("Train", "VALID", "test"):
        for name in ("ant", "bee"):
            save_image(f"{split}/{name}/1.png")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("ant", "bee")
    given = dict(zip(dataset.ids, dataset.splits, strict=True))
    assert given["Train/ant/1.png"] == "train"
    assert given["VALID/bee/1.png"] == "val"
    assert given["test/ant/1.png"] == "test"


def test_train_alone_is_a_split(save_image, tmp_path):
    for n in range(2):
        save_image(f"train/ant/{n}.png")
        save_image(f"train/bee/{n}.png")
    assert set(read_dataset(tmp_path).splits) == {"train"}


def test_a_class_may_be_called_train(save_image, tmp_path):
    for n in range(2):
        save_image(f"train/{n}.png")
        save_image(f"bus/{n}.png")
    assert read_dataset(tmp_path).classes == ("bus", "train")


def test_what_is_ignored_is_said(save_image, tmp_path):
    for n in range(2):
        save_image(f"ant/{n}.png")
        save_image(f"bee/{n}.png")
    save_image(".hidden/1.png")
    save_image("__MACOSX/ant/1.png")
    save_image("loose.png")
    (tmp_path / "newt" / "deep").mkdir(parents=True)
    (tmp_path / "ant" / "Thumbs.db").write_bytes(b"x")
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).write_text("x")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("ant", "bee")
    assert len(dataset) == 4
    assert dataset.notes == (
        "ignored 3 hidden or system files or folders: .hidden, __MACOSX, ant/Thumbs.db",
        "ignored 4 files that are not images: a.txt, b.txt, c.txt and 1 more",
        "ignored 1 folder without images: newt",
        "ignored 1 image outside the class folders: loose.png",
    )


def test_links_are_followed_but_not_in_circles(save_image, tmp_path):
    for n in range(2):
        save_image(f"DATA/ant/{n}.png")
        save_image(f"elsewhere/{n}.png")
    (tmp_path / "DATA" / "bee").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "DATA" / "ant" / "up").symlink_to(tmp_path / "DATA")
    dataset = read_dataset(tmp_path / "DATA")
    assert dataset.ids == ("ant/0.png", "ant/1.png", "bee/0.png", "bee/1.png")
    assert dataset.notes == ("ignored 1 link back to a folder around it: ant/up",)


def test_a_broken_link_is_kept_for_decoding_to_name(save_image, tmp_path):
    for n in range(2):
        save_image(f"ant/{n}.png")
        save_image(f"bee/{n}.png")
    (tmp_path / "ant" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert "ant/gone.png" in read_dataset(tmp_path).ids


def error(path: Path, **settings: str) -> str:
    with pytest.raises(DataError) as caught:
        read_dataset(path, **settings)
    return str(caught.value)


def test_no_such_folder(save_image, tmp_path):
    save_image("photos/ant/1.png")
    gone = tmp_path / "photo"
    assert error(gone) == f"no such file or folder: {gone}\ndid you mean 'photos'?"
    gone = tmp_path / "zzz"
    assert error(gone) == (
        f"no such file or folder: {gone}\n"
        "expected a folder with one folder of images for each class; an .npz file with images and labels; a .csv "
        "or .parquet manifest with the columns path,label; a .parquet file with images in it, as Hugging Face "
        "writes them"
    )


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    assert error(tmp_path / "a.txt").startswith(
        f"cannot read {tmp_path / 'a.txt'} as a set of images\nexpected"
    )


def test_images_without_class_folders(save_image, tmp_path):
    save_image("1.png")
    assert error(tmp_path) == (
        f"the images lie directly in {tmp_path}, so they have no class\n"
        f"expected one folder for each class, such as {tmp_path}/cat/1.png"
    )


def test_split_folders_without_class_folders(save_image, tmp_path):
    save_image("train/1.png")
    save_image("test/1.png")
    assert error(tmp_path).startswith(f"the images lie directly in {tmp_path}/test, so they have no class\n")


def test_no_images(tmp_path):
    (tmp_path / "ant").mkdir()
    assert error(tmp_path) == (
        f"{tmp_path} holds no images\nexpected one folder for each class, such as {tmp_path}/cat/1.jpg"
    )


def test_one_class(save_image, tmp_path):
    save_image("DATA/ant/1.png")
    save_image("DATA/ant/2.png")
    assert error(tmp_path / "DATA") == (
        "DATA has only one class, 'ant'\na classifier needs at least two: check the folders or labels"
    )


def test_one_folder_too_high(save_image, tmp_path):
    save_image("unpacked/ant/1.png")
    save_image("unpacked/bee/1.png")
    assert error(tmp_path) == (
        f"{tmp_path} holds only one folder of images, 'unpacked'\n"
        f"expected one for each class, at least two; did you mean {tmp_path}/unpacked?"
    )


def test_a_class_with_one_image(save_image, tmp_path):
    for place in ("ant/1.png", "ant/2.png", "newt/1.png"):
        save_image(place)
    assert error(tmp_path) == (
        "class 'newt' has only one image\n"
        "expected at least two of each class: add images, or move the class away"
    )


def test_a_class_that_is_never_trained(save_image, tmp_path):
    for place in ("train/ant/1.png", "train/bee/1.png", "test/ant/2.png", "test/bee/2.png"):
        save_image(place)
    save_image("test/newt/1.png")
    save_image("test/newt/2.png")
    assert error(tmp_path) == (
        "class 'newt' has no image in 'train'\n"
        "expected every class there: move images into it, or take the class out of the other splits"
    )


def test_splits_without_train(save_image, tmp_path):
    for place in ("val/ant/1.png", "val/bee/1.png", "test/ant/1.png", "test/bee/1.png"):
        save_image(place)
    assert "none of its images is for training: all are in test, val\n" in error(tmp_path)
    assert "--resplit makes new splits" in error(tmp_path)
    for layout in ("auto", "split/class"):
        assert len(read_dataset(tmp_path, layout=layout, resplit=True)) == 4


def test_splits_beside_other_folders(save_image, tmp_path):
    for top in ("train", "test", "unlabelled"):
        save_image(f"{top}/ant/1.png")
    assert error(tmp_path) == (
        f"{tmp_path} mixes splits (test, train) with other folders (unlabelled)\n"
        "expected only splits or only classes at the top: move the others away, or say --layout class "
        "if all of them are classes"
    )


def test_groups_of_a_folder(save_image, tmp_path):
    save_image("ant/1.png")
    assert error(tmp_path, groups="patient") == (
        f"no column 'patient' for groups: {tmp_path} has no columns\n"
        f"list the images in {tmp_path}/samples.csv with columns path,label,patient"
    )
