"""Folders: ``DATA/<class>/*`` and ``DATA/{train,val,test}/<class>/*``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from sit2.data.readers.reader import SPLIT_NAMES, Reader, class_indices, no_groups
from sit2.data.readers.walk import Found, walk
from sit2.data.words import counted, listed
from sit2.errors import DataError
from sit2.records import Dataset

# What the folders of a set mean, and how many stand above that of the class.
LAYOUTS: Mapping[str, int] = {"class": 0, "split/class": 1}


def _read(path: Path, groups: str | None) -> Dataset:
    """Read a folder of classes, or of splits with classes in them."""
    no_groups(path, groups, f"list the images in {path / 'samples.csv'} with columns path,label,{groups}")
    found = walk(path)
    depth = 1 if _has_splits(path, found) else 0  # folders above the class folder
    placed = [image for image in found.images if image.count("/") > depth]
    if not placed:
        raise _no_classes(path, found)
    parts = [image.split("/") for image in placed]
    labels = [part[depth] for part in parts]
    classes = tuple(sorted(set(labels)))
    if len(classes) == 1 and any(image.count("/") > depth + 1 for image in placed):
        below = path.joinpath(*parts[0][: depth + 1])
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
        splits=tuple(SPLIT_NAMES[part[0].lower()] for part in parts) if depth else (),
        notes=tuple(_notes(found, depth)),
        layout="split/class" if depth else "class",
    )


def _has_splits(path: Path, found: Found) -> bool:
    """Tell whether the folders at the top are splits rather than classes."""
    tops = sorted({image.split("/")[0] for image in found.images if "/" in image})
    splits = [top for top in tops if top.lower() in SPLIT_NAMES]
    has_train = any(top.lower() == "train" for top in splits)
    if len(splits) == len(tops):
        return len(splits) >= 2 or has_train
    if has_train and len(splits) >= 2:  # reading "train" as a class would train on nonsense
        others = [top for top in tops if top not in splits]
        raise DataError(
            f"{path} mixes splits ({', '.join(splits)}) with other folders ({listed(others)})\n"
            "expected only splits or only classes at the top: move the others away"
        )
    return False


def _no_classes(path: Path, found: Found) -> DataError:
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
    empty = [place for place in found.folders if place.count("/") <= depth and place not in filled]
    if empty:
        notes.append(f"ignored {counted(len(empty), 'folder')} without images: {listed(empty)}")
    loose = [image for image in found.images if image.count("/") <= depth]
    if loose:
        notes.append(f"ignored {counted(len(loose), 'image')} outside the class folders: {listed(loose)}")
    return notes


def _images(path: Path, classes: tuple[str, ...], layout: str) -> Dataset:
    """Find every image below a folder, with labels by the rule that training had, as far as folders allow."""
    found = walk(path)
    name = path.resolve().name
    labels = class_indices(labels_in(found.images, name, classes, layout=layout), classes)
    return Dataset(
        name=name,
        root=path,
        classes=classes,
        ids=tuple(found.images),
        paths=tuple(found.images),
        labels=labels,
        notes=tuple(found.notes()),
        layout=layout,
    )


def labels_in(images: Sequence[str], folder: str, classes: Sequence[str], *, layout: str) -> list[str]:
    """Return the label of each image below a folder: the name of its folder at one level, the same for all.

    It is the level that gives the most images a label; of several such, the one with the most classes, then the
    one that the layout of training means. So a split, a site or a batch above the classes, or one whose name is
    a class's, does not matter. Where no folder below is named like a class, the folder itself may be.

    Args:
        images: paths relative to the folder.
        folder: its name.
        classes: of the model.
        layout: what the folders meant in training, one of LAYOUTS, or "".
    """
    known = set(classes)
    parts = [image.split("/")[:-1] for image in images]
    usual = LAYOUTS.get(layout, 0)

    def at(depth: int) -> list[str]:
        return [p[depth] if len(p) > depth and p[depth] in known else "" for p in parts]

    def worth(depth: int) -> tuple[int, int, bool]:
        labels = [label for label in at(depth) if label]
        return len(labels), len(set(labels)), depth == usual

    best = max(range(max(map(len, parts), default=0)), key=worth, default=0)
    labels = at(best)
    if not any(labels) and folder in known:
        return [folder] * len(images)
    return labels


FOLDER = Reader(
    expects="a folder with one folder of images for each class",
    accepts=Path.is_dir,
    read=_read,
    images=_images,
)
