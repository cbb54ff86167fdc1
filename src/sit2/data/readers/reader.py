"""What a reader is, and the few things that all readers share."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sit2.errors import DataError
from sit2.records import Dataset, IntArray, Split

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}  # what a source may call its splits, in small letters
NO_GROUPS = "none"  # instead of a column: groups that the source names are ignored


class Reader(NamedTuple):
    """One kind of source: how to recognise it, and how to read it.

    ``read`` takes the source, the name of the column of groups and the layout of its folders ("auto" to find
    out), for training. ``images`` takes the source, the classes of a trained model, the layout that it was
    trained with and the one of this source, "" to find out, for predicting: a sample whose label is not among
    the classes has label -1. Both give the same ids.
    """

    expects: str  # the source in words, for error messages; "" for one that is named by who knows it
    accepts: Callable[[Path], bool]
    read: Callable[[Path, str | None, str], Dataset]
    images: Callable[[Path, tuple[str, ...], str, str], Dataset]
    scheme: str = ""  # of a collection: ``scheme://name`` is a source that no folder need hold


def name_of(path: Path, scheme: str) -> str | None:
    """Return what follows ``scheme://``; None for another path. A path keeps one of the slashes."""
    found = re.search(rf"(?:^|/){scheme}:/+(.+)$", path.as_posix())
    return found[1] if found else None


def holds_files_alone(folder: Path, *others: str) -> bool:
    """Tell a folder of files from one of class folders, beside which a file may lie: it has no visible folders."""
    return not any(
        entry.is_dir() and entry.name not in others and not entry.name.startswith(".")
        for entry in folder.iterdir()
    )


def split_of_file(name: str) -> str | None:
    """Return the split that a file's name begins with, as ``train-00000-of-00002.parquet``; None without one."""
    found = re.match(r"([a-z]+)(?![a-z])", name.lower())
    return SPLIT_NAMES.get(found[1]) if found else None


def class_indices(labels: Sequence[str], classes: Sequence[str]) -> IntArray:
    """(N,) int64: the place of each label among the classes, -1 where it is not one of them."""
    place = {name: k for k, name in enumerate(classes)}
    return np.array([place.get(label, -1) for label in labels], dtype=np.int64)


def plain_name(name: str) -> str:
    """Return a name without what a person overlooks: capitals, blanks, and how Unicode spells it."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())


def matched(names: Iterable[str], classes: Sequence[str]) -> list[str]:
    """Return for each name the class that is called so, in whatever normal form of Unicode; "" for none."""
    spelled = {unicodedata.normalize("NFC", name): name for name in classes}
    spelled |= {name: name for name in classes}  # two classes may differ in nothing else
    return [spelled.get(name) or spelled.get(unicodedata.normalize("NFC", name), "") for name in names]


def no_groups(path: Path, groups: str | None, hint: str) -> None:
    """Raise :class:`DataError` if groups are asked of a source that has none."""
    if groups not in (None, NO_GROUPS):
        raise DataError(f"no column {groups!r} for groups: {path} has no columns\n{hint}")


def no_layout(path: Path | str, layout: str) -> None:
    """Raise :class:`DataError` if a layout is given for what is not read by its folders."""
    if layout not in ("", "auto"):
        raise DataError(
            f"--layout {layout} says what folders mean, but {path} is not read by its folders\nleave it out"
        )
