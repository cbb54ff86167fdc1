"""Manifests: a CSV or Parquet table with ``path,label`` and, optionally, ``group,split``."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import NamedTuple

from sit2.data.parquet import holds_images
from sit2.data.readers.layout import near_names
from sit2.data.readers.reader import NO_GROUPS, SPLIT_NAMES, Reader, class_indices, matched, no_layout
from sit2.data.words import counted, listed
from sit2.errors import DataError, did_you_mean, not_found
from sit2.records import ByteArray, Dataset
from sit2.storage.escaping import restored, restored_all
from sit2.storage.reading import separator

UNUSED = "unused"  # a split: rows that are left out
_KNOWN = {"path", "label", "group", "split"}  # columns whose meaning is known
IN_FOLDER = ("samples.csv", "samples.parquet")  # a folder that holds one of these is read by it


class Table(NamedTuple):
    """A table of text: every value as it was written, so that the labels 007 and NA stay what they are."""

    path: Path
    columns: dict[str, list[str]]
    places: list[str]  # "line 12" of a CSV, "row 12" of a Parquet file

    def at(self, row: int) -> str:
        """Name a row in a message."""
        return f"{self.path}, {self.places[row]}"


class Images(NamedTuple):
    """Images that came with the rows of a table."""

    arrays: tuple[ByteArray, ...]  # N, as a data set has them
    numeric: bool  # labels are whole numbers, so that 2 comes before 10


def _manifest(path: Path) -> Path | None:
    """Return the manifest that ``path`` is or holds."""
    if path.is_dir():
        return next((path / name for name in IN_FOLDER if (path / name).is_file()), None)
    return path if path.suffix.lower() in (".csv", ".parquet") else None


def _table(path: Path) -> Table:
    manifest = _manifest(path)
    assert manifest is not None  # or `accepts` would have refused
    table = read_table(manifest)
    if not table.places:
        raise DataError(f"{manifest} lists no images\nexpected one line for each: path,label")
    return table


def read_table(path: Path) -> Table:
    """Read a .csv or .parquet file. Raises :class:`DataError` when that cannot be done."""
    if not path.is_file():
        raise not_found(path, "expected a .csv or .parquet table")
    return _from_csv(path) if path.suffix.lower() == ".csv" else _from_parquet(path)


def _from_csv(path: Path) -> Table:
    rows, places = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True, delimiter=separator(path))
            header = [restored(name.strip()) for name in next(reader, [])]
            for row in reader:
                if row:
                    rows.append(row)
                    places.append(f"line {reader.line_num}")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text\nsave it as CSV in UTF-8") from None
    except (csv.Error, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from None
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path} has two columns {twice[0]!r}\nexpected every name once")
    for row, place in zip(rows, places, strict=True):
        if len(row) != len(header):
            raise DataError(
                f"{path}, {place}: {counted(len(row), 'value')}, but the header names {len(header)}\n"
                "put quotes around a value that holds a comma"
            )
    columns = {name: restored_all(row[c] for row in rows) for c, name in enumerate(header)}
    return Table(path, columns, places)


def _from_parquet(path: Path) -> Table:
    from sit2.data.parquet import read_parquet

    try:
        # Nullable types: otherwise one missing value would turn the label 7 into 7.0.
        frame = read_parquet(path, dtype_backend="numpy_nullable")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as Parquet: {reason}") from None
    columns = {
        str(name): ["" if gone else str(value) for value, gone in zip(cells, cells.isna(), strict=True)]
        for name, cells in frame.items()
    }
    return Table(path, columns, [f"row {n}" for n in range(1, len(frame) + 1)])


def column(table: Table, name: str) -> list[str]:
    """Return the values of a column without blanks around them. Raise unless all are there."""
    if name not in table.columns:
        there = ", ".join(table.columns)
        hint = f"expected one with the {name} of each image"
        if set(table.columns) - _KNOWN:
            hint = f"its columns are {there}; rename the one that holds the {name}"
        raise DataError(f"{table.path} has no column {name!r}\n{hint}")
    values = [value.strip() for value in table.columns[name]]
    if "" in values:
        raise DataError(
            f"{table.at(values.index(''))}: the {name} is empty\nexpected a value in every row: fill it in, "
            "or remove the row"
        )
    return values


def _ids(table: Table) -> tuple[str, ...]:
    """Return the POSIX path of each row, relative to the manifest's folder where it lies below it."""
    root = table.path.parent
    ids = []
    for text in column(table, "path"):
        literal = "\\" not in text or (root / text).exists()
        path = PurePath(_as_on_disk(root, text if literal else text.replace("\\", "/")))
        if path.is_absolute() and path.is_relative_to(root.absolute()):
            path = path.relative_to(root.absolute())
        ids.append(path.as_posix())
    seen: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name in seen:
            raise DataError(
                f"{table.at(row)}: {name} was listed before, in {table.places[seen[name]]}\n"
                "expected every image once: remove one of the rows"
            )
        seen[name] = row
    return tuple(ids)


def _as_on_disk(root: Path, text: str) -> str:
    """Return a path as the file spells it: systems write "é" in different normal forms of Unicode."""
    if text.isascii() or (root / text).exists():
        return text
    forms = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    return next((form for form in forms if (root / form).exists()), text)


def _splits(table: Table) -> list[str]:
    """Return each row's split, "unused" among them, or nothing where the manifest gives none."""
    given = [value.strip() for value in table.columns.get("split", [])]
    if not any(given):
        return []
    known = {**SPLIT_NAMES, UNUSED: UNUSED}
    for row, value in enumerate(given):
        if not value:
            raise DataError(
                f"{table.at(row)}: the split is empty, but other rows have one\n"
                "expected a split in every row or in none; write 'unused' to leave an image out"
            )
        if value.lower() not in known:
            raise DataError(f"{table.at(row)}: unknown split {value!r}\n{did_you_mean(value.lower(), known)}")
    return [known[value.lower()] for value in given]


def _groups(table: Table, name: str | None) -> list[str]:
    """Return each row's group: from the column ``name``, else from ``group`` where it is filled in."""
    if name == NO_GROUPS:
        return []
    if name is None:
        return column(table, "group") if any(table.columns.get("group", [])) else []
    if name not in table.columns:
        raise DataError(
            f"{table.path} has no column {name!r} for groups\n{did_you_mean(name, table.columns)}"
        )
    return column(table, name)


def _name(table: Table) -> str:
    return table.path.resolve().parent.name if table.path.name in IN_FOLDER else table.path.stem


def _read(path: Path, groups: str | None, layout: str) -> Dataset:
    """Read the rows of a manifest, except those whose split is "unused"."""
    no_layout(_manifest(path) or path, layout)
    return labelled(_table(path), groups)


def labelled(table: Table, groups: str | None, images: Images | None = None) -> Dataset:
    """Return the rows of a table for training, except those whose split is "unused".

    Without ``images`` the column ``path`` names files, relative to the table's folder.

    Raises:
        DataError: a column is missing, or a value in it.
    """
    ids, paths = _ids_and_paths(table, images)
    labels = column(table, "label")
    grouped = _groups(table, groups)
    splits = _splits(table)
    keep = [row for row in range(len(ids)) if not splits or splits[row] != "unused"]
    names = {labels[row] for row in keep}
    classes = tuple(sorted(names, key=int) if images is not None and images.numeric else sorted(names))
    unused = [ids[row] for row in range(len(ids)) if splits and splits[row] == "unused"]
    return Dataset(
        name=_name(table),
        root=table.path.parent,
        classes=classes,
        ids=tuple(ids[row] for row in keep),
        paths=tuple(paths[row] for row in keep),
        labels=class_indices([labels[row] for row in keep], classes),
        groups=tuple(grouped[row] for row in keep) if grouped else (),
        splits=tuple(splits[row] for row in keep) if splits else (),
        arrays=tuple(images.arrays[row] for row in keep) if images is not None else (),
        notes=(f"left out {counted(len(unused), 'unused row')}: {listed(unused)}",) if unused else (),
    )


def _images(path: Path, classes: tuple[str, ...], _layout: str, chosen: str) -> Dataset:
    """Read every row of a manifest, with or without a label."""
    no_layout(_manifest(path) or path, chosen)
    return to_predict(_table(path), classes)


def to_predict(table: Table, classes: tuple[str, ...], images: Images | None = None) -> Dataset:
    """Return every row of a table, with or without a label; the images as for :func:`labelled`.

    Of rows that are marked unused the label does not count.
    """
    ids, paths = _ids_and_paths(table, images)
    labels = [value.strip() for value in table.columns.get("label", [""] * len(ids))]
    known = matched(labels, classes)
    unknown = Counter(label for label, name in zip(labels, known, strict=True) if label and not name)
    notes = []
    if unknown:
        hints = near_names(unknown, classes)
        told = listed([hints.get(name, name) for name in sorted(unknown)])
        notes.append(f"{counted(unknown.total(), 'label')} unknown to the model, taken as no label: {told}")
    unused = {
        row for row, split in enumerate(table.columns.get("split", [])) if split.strip().lower() == UNUSED
    }
    if unused:
        notes.append(f"{counted(len(unused), 'row')} marked {UNUSED}: predicted, but not evaluated")
        known = ["" if row in unused else name for row, name in enumerate(known)]
    return Dataset(
        name=_name(table),
        root=table.path.parent,
        classes=classes,
        ids=ids,
        paths=paths,
        labels=class_indices(known, classes),
        groups=tuple(_groups(table, None)),
        arrays=images.arrays if images is not None else (),
        notes=tuple(notes),
    )


def _ids_and_paths(table: Table, images: Images | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if images is None:
        ids = _ids(table)
        return ids, ids
    count = range(len(images.arrays))
    return tuple(f"{n:06d}" for n in count), tuple(f"{table.path.name}#{n}" for n in count)


def reader_of_tables(
    expects: str,
    accepts: Callable[[Path], bool],
    tables: Callable[[Path], tuple[Table, Images | None]],
    scheme: str = "",
) -> Reader:
    """Return a reader of a source that is a table with its images; such a source has no layout of folders."""

    def read(path: Path, groups: str | None, layout: str) -> Dataset:
        no_layout(path, layout)
        table, images = tables(path)
        return labelled(table, groups, images)

    def images(path: Path, classes: tuple[str, ...], _layout: str, chosen: str) -> Dataset:
        no_layout(path, chosen)
        table, found = tables(path)
        return to_predict(table, classes, found)

    return Reader(expects, accepts, read, images, scheme)


MANIFEST = Reader(
    expects="a .csv or .parquet manifest with the columns path,label",
    accepts=lambda path: _manifest(path) is not None and not holds_images(path),
    read=_read,
    images=_images,
)
