"""Folders: ``DATA/<class>/*`` and ``DATA/{train,val,test}/<class>/*``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sit2.data.decoding.unsupported import CONVERT
from sit2.data.readers.layout import find_layout, label_notes, labels_in, level
from sit2.data.readers.reader import NO_GROUPS, SPLIT_NAMES, Reader, class_indices, no_groups
from sit2.data.readers.walk import Found, walk
from sit2.data.words import counted, listed
from sit2.errors import DataError
from sit2.records import Dataset, Split


def _read(path: Path, groups: str | None, layout: str) -> Dataset:
    """Read a folder of classes, perhaps with splits or groups above or below them."""
    no_groups(path, groups, f"list the images in {path / 'samples.csv'} with columns path,label,{groups}")
    found = walk(path)
    if layout == "auto":
        layout = find_layout(path, [image.split("/")[:-1] for image in found.images])
    depth = len(layout.split("/"))  # folders that an image must lie in
    placed = [image for image in found.images if image.count("/") >= depth]
    if not placed:
        raise _no_classes(path, found)
    parts = [image.split("/") for image in placed]
    labels = _names(parts, layout, "class")
    classes = tuple(sorted(set(labels)))
    if len(classes) == 1 and any(image.count("/") > depth for image in placed):
        below = path.joinpath(*parts[0][:depth])
        raise DataError(
            f"{path} holds only one folder of images, {classes[0]!r}\n"
            f"expected one for each class, at least two; did you mean {below}?"
        )
    return Dataset(
        name=path.resolve().name,
        root=path,
        classes=classes,
        ids=tuple(placed),
        paths=tuple(placed),
        labels=class_indices(labels, classes),
        splits=_splits(path, _names(parts, layout, "split")),
        groups=() if groups == NO_GROUPS else tuple(_names(parts, layout, "group")),
        notes=tuple(_notes(found, depth)),
        layout=layout,
    )


def _names(parts: Sequence[Sequence[str]], layout: str, word: str) -> list[str]:
    """Return the folder of each image that is its "class", "split" or "group"; none where there is no such."""
    depth = level(layout, word)
    return [] if depth is None else [part[depth] for part in parts]


def _splits(path: Path, names: Sequence[str]) -> tuple[Split, ...]:
    unknown = sorted({name for name in names if name.lower() not in SPLIT_NAMES})
    if unknown:
        raise DataError(
            f"{path}: {listed(unknown)} {'is no split' if len(unknown) == 1 else 'are no splits'}\n"
            f"expected folders called {', '.join(SPLIT_NAMES)}, in any capitals"
        )
    return tuple(SPLIT_NAMES[name.lower()] for name in names)


def _no_classes(path: Path, found: Found) -> DataError:
    if found.foreign and not found.images:
        return DataError(
            f"{path} holds no image of a kind that is read, only {counted(len(found.foreign), 'other')}: "
            f"{listed(found.foreign)}\n{CONVERT}"
        )
    if not found.images:
        return DataError(
            f"{path} holds no images\nexpected one folder for each class, such as {path / 'cat' / '1.jpg'}"
        )
    place = path / found.images[0]
    return DataError(
        f"the images lie directly in {place.parent}, so they have no class\n"
        f"expected one folder for each class, such as {place.parent / 'cat' / place.name}"
    )


def _notes(found: Found, depth: int) -> list[str]:
    """Say what was left aside, one line a kind."""
    notes = found.notes()
    direct = {image.rpartition("/")[0] for image in found.images}
    filled = direct.union(*(map(str, PurePosixPath(place).parents) for place in direct))
    empty = [place for place in found.folders if place.count("/") < depth and place not in filled]
    if empty:
        notes.append(f"ignored {counted(len(empty), 'folder')} without images: {listed(empty)}")
    loose = [image for image in found.images if image.count("/") < depth]
    if loose:
        notes.append(f"ignored {counted(len(loose), 'image')} outside the class folders: {listed(loose)}")
    return notes


def _images(path: Path, classes: tuple[str, ...], layout: str, chosen: str) -> Dataset:
    """Find every image below a folder, with labels by the rule that training had, as far as folders allow."""
    found = walk(path)
    if not found.images and found.foreign:
        raise _no_classes(path, found)
    name = os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119 - of a link its own
    labels = labels_in(found.images, name, classes, layout=layout, chosen=chosen)
    told = label_notes(found.images, name, classes, layout=layout, chosen=chosen)
    return Dataset(
        name=path.resolve().name,
        root=path,
        classes=classes,
        ids=tuple(found.images),
        paths=tuple(found.images),
        labels=class_indices(labels, classes),
        notes=(*found.notes(), *told),
        layout=chosen or layout,
    )


FOLDER = Reader(
    expects="a folder with one folder of images for each class",
    accepts=Path.is_dir,
    read=_read,
    images=_images,
)
