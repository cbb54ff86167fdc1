"""More labelled images, from a table beside the source: for training alone, so that the test stays what it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sit2.data.readers.manifest import column, read_table
from sit2.data.splits import SplitArray
from sit2.data.words import counted, listed
from sit2.errors import DataError, did_you_mean
from sit2.records import ByteArray, Dataset

PATH, LABEL, GROUP = "path", "label", "group"


def with_added(dataset: Dataset, tables: Sequence[Path]) -> Dataset:
    """Return a data set with the images of some tables: columns ``path,label``; ``group`` for groups.

    Paths are relative to their table's folder, as in a manifest. Rows without a label, and images that the data set
    or an earlier table has already, are left out, which its notes say.

    Raises:
        DataError: the table cannot be read, lacks a column, holds no label, or names an unknown class, or an
            image twice.
    """
    for path in tables:
        dataset = _with_table(dataset, path.expanduser())
    return dataset


def _with_table(dataset: Dataset, path: Path) -> Dataset:
    if path.is_dir():
        raise DataError(f"{path} is a folder\nexpected a .csv or .parquet table with the columns path,label")
    table = read_table(path)
    paths = column(table, PATH)
    labels = [label.strip() for label in table.columns.get(LABEL) or column(table, LABEL)]
    for row, label in enumerate(labels):
        if label and label not in dataset.classes:
            raise DataError(
                f"{table.at(row)}: {label!r} is no class of {dataset.name}\n{did_you_mean(label, dataset.classes)}"
            )
    if not any(labels):
        raise DataError(
            f"{path} holds no labelled image\nwrite the classes into its column {LABEL}, and save it"
        )
    groups = column(table, GROUP) if dataset.groups else []
    added = dataset.added or (False,) * len(dataset)
    in_files = [one for one, more in zip(dataset.paths, added, strict=True) if more or not dataset.arrays]
    known = {_real(dataset.root / one) for one in in_files}
    places = [_real(path.parent / one) for one in paths]
    there = [row for row, place in enumerate(places) if labels[row] and place in known]
    rows = [row for row, place in enumerate(places) if labels[row] and place not in known]
    if twice := sorted({places[row] for row in rows if places.count(places[row]) > 1}):
        raise DataError(f"{path} names {listed(twice)} twice\nexpected every image once")
    notes = [*dataset.notes, f"{path}: {counted(len(rows), 'image')} added, for training alone"]
    if unlabelled := labels.count(""):
        notes.append(f"{path}: {counted(unlabelled, 'row')} without a label left out")
    if there:
        notes.append(f"{path}: {counted(len(there), 'image')} left out: {dataset.name} has them already")
    names, indices = tuple(places[row] for row in rows), [dataset.classes.index(labels[row]) for row in rows]
    arrays = tuple(_bytes(place) for place in names) if dataset.arrays else ()
    return replace(
        dataset,
        ids=(*dataset.ids, *names),
        paths=(*dataset.paths, *names),
        labels=np.concatenate([dataset.labels, np.array(indices, np.int64)]),
        groups=(*dataset.groups, *(groups[row] for row in rows)) if dataset.groups else (),
        splits=(*dataset.splits, *("train",) * len(rows)) if dataset.splits else (),
        arrays=(*dataset.arrays, *arrays),
        added=(*added, *(True,) * len(rows)),
        notes=tuple(notes),
    )


def split_added(dataset: Dataset, draw: Callable[[Dataset], SplitArray]) -> SplitArray:
    """(N,) splits: ``draw`` gives those of the source's own images; added ones are for training.

    An added image is unused where a copy of it, or an image of its group, is in validation or test.
    """
    if not any(dataset.added):
        return draw(dataset)
    added = np.array(dataset.added, dtype=np.bool_)
    own = np.flatnonzero(~added).astype(np.int64)
    splits = np.full(len(dataset), "train", dtype=object)
    splits[own] = draw(dataset.take(own))
    for names in (dataset.duplicates, dataset.groups):
        if names:
            held = {names[n] for n in own if splits[n] not in ("train", "unused")}
            splits[[n for n in np.flatnonzero(added) if names[n] in held]] = "unused"
    return splits.astype(str)


def _real(place: Path) -> str:
    return str(place.resolve())


def _bytes(place: str) -> ByteArray:
    try:
        return np.frombuffer(Path(place).read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"{place}: {error.strerror}\ncorrect the path, or remove the row") from None
