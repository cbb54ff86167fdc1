"""What every dataset must have before anything is trained on it, whichever reader it came from."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np

from sit2.data.readers.reader import plain_name
from sit2.data.words import counted, listed
from sit2.errors import DataError
from sit2.records import Dataset


def validate(dataset: Dataset) -> None:
    """Raise :class:`DataError` unless a classifier could be trained on this.

    That takes two classes, two images of each, and, where the source gives splits, an image of each class
    to train on.
    """
    if len(dataset) == 0:
        raise DataError(f"{dataset.name} has no images\nexpected at least two classes of images")
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    if len(dataset.classes) == 1:
        raise DataError(
            f"{dataset.name} has only one class, {dataset.classes[0]!r}\n"
            "a classifier needs at least two: check the folders or labels"
        )
    single = [name for name, count in zip(dataset.classes, counts, strict=True) if count < 2]
    if single:
        what = f"class {single[0]!r} has" if len(single) == 1 else f"classes {listed(single)} have each"
        raise DataError(
            f"{what} only one image\nexpected at least two of each class: add images, or move the class away"
        )
    if dataset.splits:
        _validate_splits(dataset)


def refuse_missing(dataset: Dataset) -> None:
    """Raise :class:`DataError` where none of a dataset's files is there: its paths are not what was meant.

    Only a manifest, or a list in Python, can name such files.
    """
    root, paths = dataset.root, dataset.paths
    if dataset.arrays or not paths or any(_is_there(root / path) for path in paths):
        return
    hint = "expected paths relative to the folder of the manifest, or absolute ones"
    if any(_is_there(Path(path)) for path in paths):
        hint = "they are there as seen from the current folder: move the manifest into it"
    elif any(_is_there(root / PurePath(path).name) for path in paths):
        hint = "files of these names lie right there: take the folders out of the paths"
    raise DataError(
        f"none of the {counted(len(paths), 'image')} that {dataset.name} lists is there: {listed(paths)}\n"
        f"looked for below {root.absolute()}; {hint}"
    )


def _is_there(path: Path) -> bool:
    """Say whether there is anything, be it a link to nothing."""
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):  # a path may hold what no system allows
        return False


def alike(classes: Sequence[str]) -> list[str]:
    """Return a sentence for each set of classes whose names a person would take for one."""
    sets: dict[str, list[str]] = {}
    for name in classes:
        sets.setdefault(plain_name(name), []).append(name)
    return [
        f"classes {', '.join(repr(name) for name in names)} differ only in {_difference(names)}: "
        "if they are one, merge them"
        for names in sets.values()
        if len(names) > 1
    ]


def _difference(names: Sequence[str]) -> str:
    if len({unicodedata.normalize("NFKC", name) for name in names}) == 1:
        return "how Unicode spells their characters"
    if len({name.casefold() for name in names}) == 1:
        return "capitals"
    return "capitals, blanks or spelling in Unicode"


def _validate_splits(dataset: Dataset) -> None:
    in_train = np.array(dataset.splits) == "train"
    if not in_train.any():
        raise DataError(
            f"{dataset.name} gives splits, but none of its images is for training: all are in "
            f"{listed(sorted(set(dataset.splits)))}\nexpected some in 'train'; --resplit makes new splits, which "
            "the samples.csv of a run with --cv needs"
        )
    trained = set(dataset.labels[in_train].tolist())
    missing = [name for k, name in enumerate(dataset.classes) if k not in trained]
    if missing:
        what = f"class {missing[0]!r} has" if len(missing) == 1 else f"classes {listed(missing)} have"
        raise DataError(
            f"{what} no image in 'train'\n"
            "expected every class there: move images into it, or take the class out of the other splits"
        )
