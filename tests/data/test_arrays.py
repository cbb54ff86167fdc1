"""Images that come as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from sit2.data.decoding.decode import decode
from sit2.data.decoding.image import Decoding
from sit2.data.readers import read_dataset
from sit2.data.readers.arrays import from_arrays
from sit2.errors import DataError


def images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "set.npz", **arrays)
        return tmp_path / "set.npz"

    return save


def error(path) -> str:
    with pytest.raises(DataError) as caught:
        read_dataset(path)
    return str(caught.value)


@pytest.mark.parametrize("shape", [(7, 11), (7, 11, 1), (7, 11, 3), (7, 11, 4)])
def test_images_and_labels(save, shape):
    pixels = images(5, *shape)
    dataset = read_dataset(save(images=pixels, labels=np.array([10, 2, 2, 10, 2])))
    assert dataset.name == "set"
    assert dataset.classes == ("2", "10")
    assert dataset.labels.tolist() == [1, 0, 0, 1, 0]
    assert dataset.ids[3] == "000003"
    assert dataset.paths[3] == "set.npz#3"
    np.testing.assert_array_equal(np.stack(dataset.arrays), pixels)
    assert decode(dataset.arrays[0], Decoding(size=5, channels=3, resize="crop")).shape == (3, 5, 5)


def test_medmnist(save):
    counts = {"train": 5, "val": 3, "test": 2}
    arrays = {f"{split}_images": images(n, 7, 11, 3) for split, n in counts.items()}
    labels = {f"{split}_labels": (np.arange(n) % 2)[:, None].astype(np.uint8) for split, n in counts.items()}
    dataset = read_dataset(save(**arrays, **labels))
    assert len(dataset) == 10
    assert dataset.classes == ("0", "1")
    assert dataset.splits == ("train",) * 5 + ("val",) * 3 + ("test",) * 2
    assert dataset.ids[5] == "val/000000"
    assert dataset.paths[9] == "set.npz#test/1"
    np.testing.assert_array_equal(dataset.arrays[9], arrays["test_images"][1])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array(["b", "a", "a", "b"]), ("a", "b")),
        (np.array([b"b", b"a", b"a", b"b"]), ("a", "b")),
        (np.array([True, False, False, True]), ("0", "1")),
        (np.eye(3, dtype=np.uint8)[[2, 1, 1, 2]], ("1", "2")),
        (np.eye(3)[[2, 1, 1, 2]], ("1", "2")),
    ],
)
def test_labels_of_other_types(save, labels, classes):
    dataset = read_dataset(save(images=images(4, 5, 7), labels=labels))
    assert dataset.classes == classes
    assert dataset.labels.tolist() == [1, 0, 0, 1]


def test_black_and_white(save):
    pixels = images(4, 5, 7) > 127
    dataset = read_dataset(save(images=pixels, labels=[0, 0, 1, 1]))
    np.testing.assert_array_equal(np.stack(dataset.arrays), np.where(pixels, 255, 0))


def test_channels_first_are_moved_and_said():
    pixels = images(4, 3, 7, 11)
    dataset = from_arrays(pixels, [0, 0, 1, 1], "set")
    np.testing.assert_array_equal(dataset.arrays[0], pixels[0].transpose(1, 2, 0))
    assert dataset.notes == ("set: channels stand first (4×3×7×11), moved last",)


def test_from_arrays_with_groups_and_splits():
    dataset = from_arrays(
        images(4, 5, 7),
        np.array(["x", "x", "y", "y"], dtype=object),
        "digits",
        splits=["train", "test"] * 2,
        groups=np.array([3, 5, 3, 5]),
    )
    assert dataset.ids == ("000000", "000001", "000002", "000003")
    assert dataset.paths[2] == "digits#2"
    assert dataset.groups == ("3", "5", "3", "5")
    assert dataset.splits == ("train", "test", "train", "test")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 5, 7), (4, 5, 7, 3), (4, 3, 5, 7)])
def test_floats_from_0_to_1_become_0_to_255(kind, shape):
    pixels = images(*shape)
    dataset = from_arrays(pixels.astype(kind) / kind(255), [0, 0, 1, 1], "set")
    expected = from_arrays(pixels, [0, 0, 1, 1], "set")
    np.testing.assert_array_equal(np.stack(dataset.arrays), np.stack(expected.arrays))
    assert "of which 1 becomes 255" in dataset.notes[0]


@pytest.mark.parametrize("bad", [-0.1, 1.01, np.nan, np.inf])
def test_floats_of_another_range_are_refused(bad):
    pixels = np.full((4, 5, 7), 0.5)
    pixels[2, 3, 3] = bad
    with pytest.raises(DataError, match="expected floats from 0 to 1, or uint8"):
        from_arrays(pixels, [0, 0, 1, 1], "set")


MISSING = "missing (None, NaN or empty), in"
FILL_IN = "counted from 0\nexpected a {} for each image: fill them in, or leave the images out"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"groups": [1, 2]}, "set: 4 images, but 2 groups\nexpected one for each image"),
        (
            {"groups": [1, 2, None, 4]},
            f"set, groups: 1 group of 4 is {MISSING} row 2, {FILL_IN.format('group')}",
        ),
        (
            {"groups": [1, float("nan"), float("nan"), 4]},
            f"set, groups: 2 groups of 4 are {MISSING} rows 1, 2, {FILL_IN.format('group')}",
        ),
        ({"splits": ["train", "tests"] * 2}, "set: unknown split 'tests'\ndid you mean 'test'?"),
        ({"labels": [0, 0, 1]}, "set: 4 images, but 3 labels\nexpected a label for each image"),
        ({"labels": 0}, "set: 4 images, but a single label\nexpected a label for each image"),
        (
            {"labels": ["a", "", "b", "b"]},
            f"set, labels: 1 label of 4 is {MISSING} row 1, {FILL_IN.format('label')}",
        ),
        (
            {"labels": [0.5, 1.5, 0.5, 1.5]},
            (
                "set, labels holds 0.5, which names no class\nexpected whole numbers or texts; of measurements "
                "make classes first, for example with pandas.cut"
            ),
        ),
        (
            {"labels": [[0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]},
            "set: the labels have 3 columns, but are not one-hot\nexpected exactly one class for each image",
        ),
        (
            {"images": np.full((4, 5, 7), 1.5)},
            (
                "set: pixels are float64 from 1.5 to 1.5\nexpected floats from 0 to 1, or uint8: divide them, "
                "or use images.astype('uint8') where they lie between 0 and 255"
            ),
        ),
        (
            {"images": images(4, 5, 7).astype(np.int64)},
            (
                "set: pixels are int64\nexpected uint8 (0 to 255), or floats from 0 to 1: convert them first, for "
                "example images.astype('uint8') where they lie between 0 and 255"
            ),
        ),
        (
            {"images": images(4, 5, 7, 2)},
            (
                "set: the shape is 4×5×7×2\n"
                "expected images × height × width, or images × height × width × channels (1, 3 or 4)"
            ),
        ),
        (
            {"images": images(4, 3, 7, 3)},
            (
                "set: the shape 4×3×7×3 may have its channels first or last\nexpected images × height × "
                "width, or images × height × width × channels (1, 3 or 4), at least 5 pixels high and wide"
            ),
        ),
        (
            {"images": [np.zeros((5, 7)), np.zeros((7, 5))] * 2},
            "set: the images differ in shape\nexpected all of one size",
        ),
        (
            {"labels": [0, 0, 0, 0]},
            "set has only one class, '0'\na classifier needs at least two: check the folders or labels",
        ),
    ],
)
def test_what_is_refused(settings, text):
    settings = {"images": images(4, 5, 7), "labels": [0, 0, 1, 1]} | settings
    with pytest.raises(DataError) as caught:
        from_arrays(settings.pop("images"), settings.pop("labels"), "set", **settings)
    assert str(caught.value) == text


def test_files_that_are_refused(save, tmp_path):
    path = save(pictures=images(4, 5, 7))
    assert error(path) == (
        f"{path} holds pictures\nexpected images and labels, or train_images, train_labels, val_images, …"
    )
    assert error(save(images=images(4, 5, 7))) == (
        f"{path} has images, but no labels\nexpected a label for each image"
    )
    assert "holds Python objects" in error(
        save(images=np.array([images(1, 5, 7), None], dtype=object), labels=[0, 1])
    )
    path.write_bytes(b"not a zip")
    assert "set.npz" in error(path)
    with (tmp_path / "bare.npz").open("wb") as file:
        np.save(file, images(4, 5, 7))
    assert "holds one bare array" in error(tmp_path / "bare.npz")
    with pytest.raises(DataError, match="no column 'patient' for groups"):
        read_dataset(save(images=images(4, 5, 7), labels=[0, 0, 1, 1]), groups="patient")


def test_a_truncated_file(save):
    path = save(images=images(40, 5, 7), labels=np.arange(40) % 2)
    data = path.read_bytes()
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        assert str(path) in error(path)
