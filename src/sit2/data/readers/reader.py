"""What a reader is, and the few things that all readers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sit2.errors import DataError
from sit2.records import Dataset, IntArray, Split

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}  # what a source may call its splits, in small letters


class Reader(NamedTuple):
    """One kind of source: how to recognise it, and how to read it.

    ``read`` takes the source and the name of the column of groups, for training. ``images`` takes the source,
    the classes of a trained model and the layout that it was trained with, for predicting: a sample whose label
    is not among the classes has label -1. Both give the same ids.
    """

    expects: str  # the source in words, for error messages
    accepts: Callable[[Path], bool]
    read: Callable[[Path, str | None], Dataset]
    images: Callable[[Path, tuple[str, ...], str], Dataset]


def class_indices(labels: Sequence[str], classes: Sequence[str]) -> IntArray:
    """(N,) int64: the place of each label among the classes, -1 where it is not one of them."""
    place = {name: k for k, name in enumerate(classes)}
    return np.array([place.get(label, -1) for label in labels], dtype=np.int64)


def no_groups(path: Path, groups: str | None, hint: str) -> None:
    """Raise :class:`DataError` if groups are asked of a source that has none."""
    if groups is not None:
        raise DataError(f"no column {groups!r} for groups: {path} has no columns\n{hint}")
