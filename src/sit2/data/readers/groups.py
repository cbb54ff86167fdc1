"""Groups that the source itself does not name: from a table beside it, or from the names of the files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from sit2.data.readers.manifest import Table, column, read_table
from sit2.data.readers.walk import is_image
from sit2.data.words import counted, listed
from sit2.errors import ConfigError, DataError, did_you_mean
from sit2.records import Dataset

KEYS = ("path", "id", "image", "file", "image_id", "filename", "file_name")  # columns that may name an image


def side_table(groups: str | None) -> tuple[Path, str] | None:
    """Return file and column of ``TABLE.csv:COLUMN`` (or .parquet); None for a plain column name."""
    path, colon, name = (groups or "").rpartition(":")
    return (Path(path).expanduser(), name) if colon and path.lower().endswith((".csv", ".parquet")) else None


def groups_from_table(dataset: Dataset, path: Path, name: str) -> Dataset:
    """Return the dataset with the groups that column ``name`` of a table gives.

    The table names an image by its first column among KEYS: by its path, by its file's name, either with or
    without the extension. Rows of other images do not matter.

    Raises:
        DataError: when there is no such table or column, an image has no row, a row fits several images, or
            two rows of an image contradict each other.
    """
    table = read_table(path)
    if name not in table.columns:
        raise DataError(f"{path} has no column {name!r} for groups\n{did_you_mean(name, table.columns)}")
    columns = {title.lower(): title for title in table.columns if title != name}
    key = next((columns[title] for title in KEYS if title in columns), None)
    if key is None:
        raise DataError(
            f"{path} has no column that names the images\nexpected one of {', '.join(KEYS)}, beside {name!r}"
        )
    known = _rows_by_name(table, key, name)
    found = [next((known[word] for word in _names(image) if word in known), None) for image in dataset.ids]
    lost = [image for image, row in zip(dataset.ids, found, strict=True) if row is None]
    if lost:
        raise DataError(
            f"{path} has no row for {counted(len(lost), 'image')} of {len(found):,}: {listed(lost)}\n"
            f"expected each in the column {key!r}, by path or file name: add rows, or leave the images out"
        )
    rows = [row for row in found if row is not None]
    _one_image_a_row(table, key, rows, dataset)
    values = column(table, name)
    return replace(dataset, groups=tuple(values[row] for row in rows))


def _rows_by_name(table: Table, key: str, name: str) -> dict[str, int]:
    """Return the row of each name, as the table writes it and without the extension."""
    values, keys = column(table, name), column(table, key)
    known: dict[str, int] = {}
    for row, text in enumerate(keys):
        word = text.replace("\\", "/").removeprefix("./")
        for form in dict.fromkeys((word, _without_suffix(word))):
            before = known.setdefault(form, row)
            if values[before] != values[row]:
                raise DataError(
                    f"{table.at(row)}: {text} has the {name} {values[row]!r}, but {values[before]!r} in "
                    f"{table.places[before]}\nexpected one group for each image"
                )
    return known


def _names(image: str) -> Iterator[str]:
    """Yield what a table may call an image, the most exact first."""
    name = PurePosixPath(image).name
    yield from (image, _without_suffix(image), name, _without_suffix(name))


def _without_suffix(name: str) -> str:
    """Take away the extension of an image file, but nothing else that follows a point."""
    return name.rpartition(".")[0] if is_image(name) else name


def _one_image_a_row(table: Table, key: str, rows: list[int], dataset: Dataset) -> None:
    """Raise if a row is the only word on several images: by name alone they cannot be told apart."""
    images = defaultdict(list)
    for image, row in zip(dataset.ids, rows, strict=True):
        images[row].append(image)
    for row, same in images.items():
        if len(same) > 1:
            word = table.columns[key][row]
            raise DataError(
                f"{table.at(row)}: {word} fits {counted(len(same), 'image')}: {listed(same)}\n"
                "expected one: write paths relative to the data instead of names"
            )


def groups_from_names(dataset: Dataset, pattern: str) -> Dataset:
    """Return the dataset with the groups that a regular expression finds in the files' names.

    It is searched in the name alone, or in the whole path relative to the data where the expression holds a
    ``/``. The group is what its first ``(…)`` matches, or all that it matches where it has none.

    Raises:
        ConfigError: when it is no regular expression.
        DataError: when an image does not match.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"group_pattern {pattern!r} is no regular expression: {error}") from None
    names = [image if "/" in pattern else PurePosixPath(image).name for image in dataset.ids]
    found = [expression.search(name) for name in names]
    groups = [match[min(1, expression.groups)] if match else None for match in found]
    lost = [name for name, group in zip(names, groups, strict=True) if not group]
    if lost:
        raise DataError(
            f"group_pattern {pattern!r} finds nothing in {counted(len(lost), 'image')} of {len(names):,}: "
            f"{listed(lost)}\nexpected a group in each: widen the pattern, or leave the images out"
        )
    return replace(dataset, groups=tuple(group for group in groups if group))
