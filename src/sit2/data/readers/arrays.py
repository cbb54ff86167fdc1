"""Arrays: an ``.npz`` file with ``images,labels`` or MedMNIST's six, or arrays in memory.

Images are (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1 (gray), 3 (RGB) or 4 (RGBA), uint8 or floats in [0, 1];
labels are whole numbers or text, (N,) or (N, 1), or one-hot (N, K).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sit2.data.readers.missing import labels_of, none_missing
from sit2.data.readers.npz import check_claims
from sit2.data.readers.reader import Reader, class_indices, matched, no_groups, no_layout
from sit2.data.readers.validate import validate
from sit2.data.words import counted
from sit2.errors import DataError, did_you_mean, in_one_line
from sit2.records import SPLITS, ByteArray, Dataset

_CHANNELS = (1, 3, 4)


class Part(NamedTuple):
    """The images of one split, or all of them."""

    split: str  # "" where the file has no splits
    images: ByteArray  # (N, H, W) or (N, H, W, C) uint8
    labels: list[str]  # N, or none where the images come without labels
    numeric: bool  # the labels were whole numbers
    notes: tuple[str, ...]


def from_arrays(
    images: ArrayLike,
    labels: ArrayLike,
    name: str,
    *,
    splits: Sequence[str] | None = None,  # N, each "train", "val" or "test"
    groups: Sequence[object] | None = None,  # N
) -> Dataset:
    """Return images in memory as a dataset.

    Raises:
        DataError: for arrays of another shape or type, or that nothing could be trained on.
    """
    try:
        part = _part("", np.asarray(images), labels, name)
    except ValueError:  # what NumPy makes of images that differ in shape
        raise DataError(f"{name}: the images differ in shape\nexpected all of one size") from None
    split_words = _words(splits, "splits", part, name)
    for split in split_words:
        if split not in SPLITS[:3]:
            raise DataError(f"{name}: unknown split {split!r}\n{did_you_mean(split, SPLITS[:3])}")
    classes = _classes([part])
    dataset = Dataset(
        name=name,
        root=Path(),
        classes=classes,
        ids=tuple(f"{n:06d}" for n in range(len(part.images))),
        paths=tuple(f"{name}#{n}" for n in range(len(part.images))),
        labels=class_indices(part.labels, classes),
        groups=_words(groups, "groups", part, name),
        splits=split_words,
        arrays=tuple(part.images),
        notes=part.notes,
    )
    validate(dataset)
    return dataset


def _words(values: Sequence[object] | None, what: str, part: Part, name: str) -> tuple[str, ...]:
    """Return what was given for each image as text. Raise unless there is something for every image."""
    if values is None:
        return ()
    if len(values) != len(part.images):
        raise DataError(
            f"{name}: {counted(len(part.images), 'image')}, but {len(values):,} {what}\n"
            "expected one for each image"
        )
    return tuple(
        str(value) for value in none_missing(values, what.removesuffix("s"), f"{name}, {what}").tolist()
    )


def from_mapping(arrays: Mapping[str, ArrayLike], name: str) -> Dataset:
    """Return a mapping with the arrays of an ``.npz`` file as a dataset. Raises :class:`DataError`."""
    path = Path(name)
    parts = _parts_in({key: np.asarray(value) for key, value in arrays.items()}, path, need_labels=True)
    return _dataset(path, parts, _classes(parts))


def _read(path: Path, groups: str | None, layout: str) -> Dataset:
    no_layout(path, layout)
    no_groups(path, groups, "groups need a .csv or .parquet manifest, or sit2's Python interface")
    parts = _parts(path, need_labels=True)
    return _dataset(path, parts, _classes(parts))


def _images(path: Path, classes: tuple[str, ...], _layout: str, chosen: str) -> Dataset:
    no_layout(path, chosen)
    return _dataset(path, _parts(path, need_labels=False), classes)


def _dataset(path: Path, parts: Sequence[Part], classes: tuple[str, ...]) -> Dataset:
    places = [(part.split + "/" if part.split else "", n) for part in parts for n in range(len(part.images))]
    labels = [label for part in parts for label in part.labels or [""] * len(part.images)]
    return Dataset(
        name=path.stem,
        root=path.parent,
        classes=classes,
        ids=tuple(f"{folder}{n:06d}" for folder, n in places),
        paths=tuple(f"{path.name}#{folder}{n}" for folder, n in places),
        labels=class_indices(matched(labels, classes), classes),
        splits=tuple(part.split for part in parts for _ in part.images) if parts[0].split else (),
        arrays=tuple(image for part in parts for image in part.images),
        notes=tuple(note for part in parts for note in part.notes),
    )


def _parts(path: Path, *, need_labels: bool) -> list[Part]:
    """Read the arrays of an ``.npz`` file, in the order train, val, test."""
    try:
        check_claims(path)
        with path.open("rb") as handle:  # NumPy leaves a file that it opened itself open when it is damaged
            file = np.load(handle, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds one bare array\nexpected images and labels, by np.savez")
            with file:
                return _parts_in(file, path, need_labels)
    except DataError:
        raise
    except Exception as error:  # NumPy and zipfile raise nearly anything on a damaged file
        if "pickle" in str(error):
            raise DataError(
                f"{path} holds Python objects, which could run any code when they are read\n"
                "save plain arrays instead: uint8 images of one size, labels as numbers or text"
            ) from None
        reason = in_one_line(error)
        raise DataError(f"{path} cannot be read as .npz: {reason}") from None


def _parts_in(file: Mapping[str, NDArray[Any]], path: Path, need_labels: bool) -> list[Part]:
    splits = [split for split in ("train", "val", "test") if f"{split}_images" in file]
    prefixes = [""] if "images" in file else [f"{split}_" for split in splits]
    if not prefixes:
        raise DataError(
            f"{path} holds {', '.join(file) or 'no arrays'}\n"
            "expected images and labels, or train_images, train_labels, val_images, …"
        )
    parts = []
    for prefix in prefixes:
        labels = file.get(f"{prefix}labels")
        if labels is None and need_labels:
            raise DataError(
                f"{path} has {prefix}images, but no {prefix}labels\nexpected a label for each image"
            )
        parts.append(_part(prefix.rstrip("_"), file[f"{prefix}images"], labels, f"{path}, {prefix}images"))
    return parts


def _part(split: str, images: NDArray[Any], given: ArrayLike | None, where: str) -> Part:
    pixels, notes = pixels_of(images, where)
    if given is None:
        return Part(split, pixels, [], False, notes)
    labels = labels_of(given, f"{where}, labels")
    if labels.shape[:1] != pixels.shape[:1]:
        there = counted(labels.shape[0], "label") if labels.ndim else "a single label"
        raise DataError(
            f"{where}: {counted(len(pixels), 'image')}, but {there}\nexpected a label for each image"
        )
    names, numeric = label_names(labels, where)
    return Part(split, pixels, names, numeric, notes)


def pixels_of(images: NDArray[Any], where: str) -> tuple[ByteArray, tuple[str, ...]]:
    """Check the images' shape and type; return them as uint8, channels last, and what was done to them.

    Args:
        images: (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1, 3 or 4; uint8, bool, or floats in [0, 1], of which
            0 to 1 become 0 to 255.
        where: what the images are called in messages.

    Raises:
        DataError: for another shape, another type, or floats outside [0, 1].
    """
    shape = "×".join(str(n) for n in images.shape)
    if images.ndim not in (3, 4) or images.size == 0:
        raise DataError(f"{where}: the shape is {shape or 'a single number'}\n{_EXPECTED_SHAPE}")
    images, notes = _as_bytes(images, where)
    if images.ndim == 3:
        return images, notes
    first, last = images.shape[1] in _CHANNELS, images.shape[3] in _CHANNELS
    if first and last:
        raise DataError(
            f"{where}: the shape {shape} may have its channels first or last\n{_EXPECTED_SHAPE}, at least "
            "5 pixels high and wide"
        )
    if last:
        return images, notes
    if first:
        return np.moveaxis(images, 1, 3), (*notes, f"{where}: channels stand first ({shape}), moved last")
    raise DataError(f"{where}: the shape is {shape}\n{_EXPECTED_SHAPE}")


def _as_bytes(images: NDArray[Any], where: str) -> tuple[ByteArray, tuple[str, ...]]:
    """Return pixels as uint8, and what was done to them. Raises :class:`DataError` for what cannot be told."""
    if images.dtype == np.uint8:
        return images, ()
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * 255, ()
    if images.dtype.kind != "f":
        raise DataError(
            f"{where}: pixels are {images.dtype}\nexpected uint8 (0 to 255), or floats from 0 to 1: convert them "
            "first, for example images.astype('uint8') where they lie between 0 and 255"
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise DataError(
            f"{where}: pixels are {images.dtype} from {low:.6g} to {high:.6g}\nexpected floats from 0 to 1, or "
            "uint8: divide them, or use images.astype('uint8') where they lie between 0 and 255"
        )
    pixels = np.empty(images.shape, np.uint8)
    for n in range(len(images)):  # one by one: twice the memory is enough
        pixels[n] = np.rint(images[n].astype(np.float32) * 255)
    return pixels, (
        f"{where}: pixels are {images.dtype} from {low:.6g} to {high:.6g}, of which 1 becomes 255",
    )


_EXPECTED_SHAPE = "expected images × height × width, or images × height × width × channels (1, 3 or 4)"


def label_names(labels: NDArray[Any], where: str) -> tuple[list[str], bool]:
    """Return the labels as text, and whether they were whole numbers, such as 1 or 1.0, which is the same class."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        numbers = labels.dtype.kind in "biuf"
        if not (numbers and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise DataError(
                f"{where}: the labels have {labels.shape[1]} columns, but are not one-hot\n"
                "expected exactly one class for each image"
            )
        labels = labels.argmax(axis=1)
    if labels.ndim == 1 and labels.dtype.kind in "biuf":  # floats are whole, or `labels_of` had refused them
        return [str(int(label)) for label in labels], True
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    names = labels.tolist()
    if labels.ndim != 1 or not all(isinstance(label, str) for label in names):
        raise DataError(
            f"{where}: the labels are {labels.dtype} with {counted(labels.ndim, 'axis', 'axes')}\n"
            "expected one whole number or text for each image"
        )
    return names, False


def _classes(parts: Sequence[Part]) -> tuple[str, ...]:
    """Return the class names in order: 2 before 10 where they are numbers."""
    names = {label for part in parts for label in part.labels}
    return tuple(sorted(names, key=int) if all(part.numeric for part in parts) else sorted(names))


ARRAYS = Reader(
    expects="an .npz file with images and labels",
    accepts=lambda path: path.suffix.lower() == ".npz",
    read=_read,
    images=_images,
)
