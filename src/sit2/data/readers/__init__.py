"""One file per source of labelled images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sit2.data.decoding.unsupported import CONVERT, is_foreign
from sit2.data.readers.arrays import ARRAYS
from sit2.data.readers.embedded import EMBEDDED
from sit2.data.readers.folder import FOLDER
from sit2.data.readers.groups import groups_from_names, groups_from_table, side_table
from sit2.data.readers.hub import HUB
from sit2.data.readers.layout import label_notes, labels_in
from sit2.data.readers.manifest import MANIFEST
from sit2.data.readers.medmnist import MEDMNIST
from sit2.data.readers.reader import Reader, class_indices, name_of, no_layout
from sit2.data.readers.shards import SHARDS
from sit2.data.readers.validate import alike, validate
from sit2.data.readers.walk import is_dicom_by_content, is_image
from sit2.errors import ConfigError, DataError, not_found
from sit2.records import Dataset

READERS: dict[str, Reader] = {
    "medmnist": MEDMNIST,
    "hub": HUB,
    "shards": SHARDS,
    "embedded": EMBEDDED,
    "manifest": MANIFEST,  # before the folder: a folder with a samples.csv is read by it
    "arrays": ARRAYS,
    "folder": FOLDER,
}  # in the order tried
_USUAL = [reader.expects for reader in reversed(READERS.values()) if reader.expects]
EXPECTED = "expected " + "; ".join(_USUAL)
ANY = "expected image files, or a folder that holds some"  # where labels are not needed


def is_remote(path: Path) -> bool:
    """Tell whether a path is a name in a collection, which no folder need hold."""
    schemes = [reader.scheme for reader in READERS.values() if reader.scheme]
    return any(name_of(path, scheme) is not None for scheme in schemes)


def read_dataset(
    source: Any,
    *,
    groups: str | None = None,
    group_pattern: str | None = None,
    layout: str = "auto",
    resplit: bool = False,
) -> Dataset:
    """Read a labelled set of images for training.

    Args:
        source: a folder of classes or splits, a manifest, an ``.npz`` file, or what a program holds in its hands
            (:func:`~sit2.data.readers.python_objects.read_handed`).
        groups: the manifest's column of patients, slides, …, or ``TABLE.csv:COLUMN``; default: the manifest's
            column ``group``, where there is one; "none": no groups, whatever the source names.
        group_pattern: regular expression that finds the group in each file's name instead.
        layout: what folders mean, one of LAYOUTS.
        resplit: splits that the source gives do not count, so it need not have all of them.

    Raises:
        UnclearLayoutError: when a layer of folders above others may be the classes, or may not.
        DataError: when there is no such source, nothing could be trained on it, or an image has no group.
        ConfigError: when the two ways to name groups contradict each other.
    """
    if groups is not None and group_pattern is not None:
        raise ConfigError("both groups and group_pattern are given\nexpected one way to name the groups")
    table = side_table(groups)
    column = None if table else groups
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        dataset = _reader_of(path).read(path, column, layout)
    else:
        from sit2.data.readers.python_objects import (
            read_handed,  # loads Pillow; commands that refuse paths need none
        )

        no_layout("what is in memory", layout)
        dataset = read_handed(source, column)
    if table is not None:
        dataset = groups_from_table(dataset, *table)
    if group_pattern is not None:
        dataset = groups_from_names(dataset, group_pattern)
    validate(replace(dataset, splits=()) if resplit else dataset)
    return replace(dataset, notes=(*dataset.notes, *alike(dataset.classes)))


def read_images(
    sources: str | Path | Sequence[str | Path],
    classes: tuple[str, ...],
    *,
    layout: str = "",
    chosen: str = "",
) -> Dataset:
    """Read images to be predicted: folders, image files, manifests or an ``.npz`` file.

    An image whose label is not known, or not among ``classes``, has label -1. ``layout`` is what folders meant
    when the model was trained, ``chosen`` what they mean here, "" to find out. Single files are taken together.
    The ids of one source are those of :func:`read_dataset`; those of several sources are paths as seen from the
    working folder.

    Raises:
        DataError: when a source does not exist, or there is no image.
    """
    given = [Path(one).expanduser() for one in ([sources] if isinstance(sources, str | Path) else sources)]
    files = [path for path in given if path.is_file() and (is_image(path.name) or is_dicom_by_content(path))]
    single, notes = _single_files(files, classes, layout, chosen) if files else ({}, [])
    parts = [single.get(path) or _reader_of(path).images(path, classes, layout, chosen) for path in given]
    if not any(len(part) for part in parts):
        raise DataError(f"no images in {', '.join(map(str, given)) or 'an empty list'}\n{ANY}")
    found = parts[0] if len(parts) == 1 else _joined(parts, classes)
    return replace(found, notes=(*found.notes, *notes))


def _reader_of(path: Path) -> Reader:
    if not (path.exists() or is_remote(path)):
        raise not_found(path, EXPECTED)
    for reader in READERS.values():
        if reader.accepts(path):
            return reader
    if is_foreign(path.name):
        raise DataError(f"{path} is an image, but not of a kind that is read\n{CONVERT}")
    raise DataError(f"cannot read {path} as a set of images\n{EXPECTED}")


def _single_files(
    files: Sequence[Path], classes: tuple[str, ...], layout: str, chosen: str
) -> tuple[dict[Path, Dataset], list[str]]:
    """Return image files that were named one by one, and what to say of their labels.

    These are found for all together, by the folders below the one that holds them all.
    """
    places = [os.path.abspath(path) for path in files]  # noqa: PTH100 - without following links
    top = os.path.commonpath([os.path.dirname(place) for place in places])  # noqa: PTH120
    below = [Path(place).relative_to(top).as_posix() for place in places]
    how = below, Path(top).name, classes
    labels = class_indices(labels_in(*how, layout=layout, chosen=chosen), classes)
    single = {
        path: Dataset(
            name=path.name,
            root=Path(),
            classes=classes,
            ids=(path.as_posix(),),
            paths=(path.as_posix(),),
            labels=labels[n : n + 1],
        )
        for n, path in enumerate(files)
    }
    return single, label_notes(*how, layout=layout, chosen=chosen)


def _joined(parts: Sequence[Dataset], classes: tuple[str, ...]) -> Dataset:
    """Return several sources as one dataset whose root is the working folder."""
    if any(part.arrays for part in parts):
        raise DataError("an .npz file cannot be predicted together with other sources\nname it on its own")
    paths = tuple((part.root / path).as_posix() for part in parts for path in part.paths)
    name, count = Counter(paths).most_common(1)[0]
    if count > 1:
        raise DataError(f"{name} is named twice\nexpected every image once: name it by one source only")
    return Dataset(
        name=parts[0].name,
        root=Path(),
        classes=classes,
        ids=paths,
        paths=paths,
        labels=np.concatenate([part.labels for part in parts]),
        groups=tuple(group for part in parts for group in part.groups) if _all_grouped(parts) else (),
        notes=tuple(note for part in parts for note in part.notes),
    )


def _all_grouped(parts: Sequence[Dataset]) -> bool:
    return all(part.groups or not len(part) for part in parts)
