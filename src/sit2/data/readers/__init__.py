"""One file per source of labelled images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sit2.data.readers.arrays import ARRAYS
from sit2.data.readers.embedded import EMBEDDED
from sit2.data.readers.folder import FOLDER
from sit2.data.readers.groups import groups_from_names, groups_from_table, side_table
from sit2.data.readers.handed import read_handed
from sit2.data.readers.manifest import MANIFEST
from sit2.data.readers.reader import Reader, class_indices
from sit2.data.readers.validate import alike, validate
from sit2.data.readers.walk import is_dicom_by_content, is_image
from sit2.errors import ConfigError, DataError, not_found
from sit2.records import Dataset

READERS: dict[str, Reader] = {
    "embedded": EMBEDDED,
    "manifest": MANIFEST,  # before the folder: a folder with a samples.csv is read by it
    "arrays": ARRAYS,
    "folder": FOLDER,
}  # in the order tried
EXPECTED = "expected " + "; ".join(reader.expects for reader in reversed(READERS.values()))  # the usual first


def read_dataset(source: Any, *, groups: str | None = None, group_pattern: str | None = None) -> Dataset:
    """Read a labelled set of images for training.

    Args:
        source: a folder of classes or splits, a manifest, an ``.npz`` file, or what a program holds in its hands
            (:func:`~sit2.data.readers.handed.read_handed`).
        groups: the manifest's column of patients, slides, …, or ``TABLE.csv:COLUMN``; default: the manifest's
            column ``group``, where there is one.
        group_pattern: regular expression that finds the group in each file's name instead.

    Raises:
        DataError: when there is no such source, nothing could be trained on it, or an image has no group.
        ConfigError: when the two ways to name groups contradict each other.
    """
    if groups is not None and group_pattern is not None:
        raise ConfigError("both groups and group_pattern are given\nexpected one way to name the groups")
    table = side_table(groups)
    column = None if table else groups
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        dataset = _reader_of(path).read(path, column)
    else:
        dataset = read_handed(source, column)
    if table is not None:
        dataset = groups_from_table(dataset, *table)
    if group_pattern is not None:
        dataset = groups_from_names(dataset, group_pattern)
    validate(dataset)
    return replace(dataset, notes=(*dataset.notes, *alike(dataset.classes)))


def read_images(
    sources: str | Path | Sequence[str | Path], classes: tuple[str, ...], *, layout: str = ""
) -> Dataset:
    """Read images to be predicted: folders, image files, manifests or an ``.npz`` file.

    An image whose label is not known, or not among ``classes``, has label -1. ``layout`` is what folders meant
    when the model was trained. The ids of one source are those
    of :func:`read_dataset`; those of several sources are paths as seen from the working folder.

    Raises:
        DataError: when a source does not exist, or there is no image.
    """
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    parts = [_images_of(Path(source).expanduser(), classes, layout) for source in given]
    if not any(len(part) for part in parts):
        raise DataError(
            f"no images in {', '.join(str(source) for source in given) or 'an empty list'}\n"
            "expected image files, or a folder that holds some"
        )
    return parts[0] if len(parts) == 1 else _joined(parts, classes)


def _reader_of(path: Path) -> Reader:
    if not path.exists():
        raise not_found(path, EXPECTED)
    for reader in READERS.values():
        if reader.accepts(path):
            return reader
    raise DataError(f"cannot read {path} as a set of images\n{EXPECTED}")


def _images_of(path: Path, classes: tuple[str, ...], layout: str) -> Dataset:
    if not (path.is_file() and (is_image(path.name) or is_dicom_by_content(path))):
        return _reader_of(path).images(path, classes, layout)
    name = path.as_posix()
    return Dataset(
        name=path.name,
        root=Path(),
        classes=classes,
        ids=(name,),
        paths=(name,),
        labels=class_indices([path.absolute().parent.name], classes),
    )


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
