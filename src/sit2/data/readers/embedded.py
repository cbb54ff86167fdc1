"""Tables that hold the images themselves, as Hugging Face writes them.

A column holds ``{bytes, path}`` of an image file, another, ``label``, a number or a text; the names of numbered
classes stand in the file's own description. ``group`` and ``split`` may be there too, as in a manifest. Where no
row holds bytes, the paths are those of image files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sit2.data.parquet import holds_images, image_column, read_arrow
from sit2.data.readers.manifest import Images, Table, reader_of_tables
from sit2.errors import DataError
from sit2.records import ByteArray

Names = Mapping[str, Sequence[str]]  # column → names of its numbered classes


def from_arrow(found: Any, where: Path, names: Names) -> tuple[Table, Images | None]:
    """Return a ``pyarrow.Table`` as a table of text, and its images; None for these where it names files.

    Args:
        found: with a column of images.
        where: what the table is called in messages; its files are relative to the folder of that.
        names: of numbered classes.

    Raises:
        DataError: a row has no image.
    """
    column = image_column(found.schema)
    if column is None:
        there = ", ".join(found.column_names) or "none"
        raise DataError(
            f"{where} has no column of images\nits columns are {there}; expected one with the bytes of image files"
        )
    places = [f"row {n}" for n in range(1, found.num_rows + 1)]
    texts = {
        name: _texts(found.column(name), names.get(name)) for name in found.column_names if name != column
    }
    label = _label_column(found.column_names, names)
    if label is not None and "label" not in texts:
        texts["label"] = texts[label]
    contents, paths = _contents(found.column(column))
    if not any(content is not None for content in contents):
        return Table(where, {**texts, "path": paths}, places), None
    for content, place in zip(contents, places, strict=True):
        if content is None:
            raise DataError(
                f"{where}, {place}: the image is empty\nexpected one in every row: fill it in, or remove the row"
            )
    numeric = label is not None and not _is_text(found.schema.field(label).type) and label not in names
    arrays = tuple(content for content in contents if content is not None)
    return Table(where, texts, places), Images(arrays, numeric and all(map(_is_number, texts["label"])))


def _contents(column: Any) -> tuple[list[ByteArray | None], list[str]]:
    """Return the bytes of each image file, without a copy, and the path beside them."""
    contents: list[ByteArray | None] = []
    paths: list[str] = []
    for chunk in column.chunks:
        held = {"bytes": chunk}
        if hasattr(chunk, "flatten") and chunk.type.num_fields:
            fields = [chunk.type.field(n).name for n in range(chunk.type.num_fields)]
            held = dict(zip(fields, chunk.flatten(), strict=True))
        cells = held["bytes"]
        contents += [np.frombuffer(cell.as_buffer(), np.uint8) if cell.is_valid else None for cell in cells]
        paths += (
            [str(path or "") for path in held["path"].to_pylist()] if "path" in held else [""] * len(chunk)
        )
    return contents, paths


def _texts(column: Any, names: Sequence[str] | None) -> list[str]:
    """Return cells as text, "" where one is missing; -1 is what Hugging Face writes for no class."""
    cells = column.to_pylist()
    if names is not None:
        return [names[cell] if isinstance(cell, int) and 0 <= cell < len(names) else "" for cell in cells]
    return ["" if cell is None or cell != cell else str(cell) for cell in cells]  # noqa: PLR0124 (NaN)


def _label_column(columns: Sequence[str], names: Names) -> str | None:
    """Return the column of labels: ``label``, or ``labels``, or the only one of numbered classes."""
    known = [name for name in ("label", "labels") if name in columns] or [n for n in columns if n in names]
    return known[0] if known else None


def class_names(schema: Any) -> Names:
    """Return the names of numbered classes that a file by Hugging Face describes; none for any other."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: [str(one) for one in feature["names"]]
            for name, feature in told.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return {}


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _table(path: Path) -> tuple[Table, Images | None]:
    try:
        found = read_arrow(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as Parquet: {reason}") from None
    if not found.num_rows:
        raise DataError(f"{path} holds no images\nexpected one row for each")
    return from_arrow(found, path, class_names(found.schema))


EMBEDDED = reader_of_tables(
    "a .parquet file with images in it, as Hugging Face writes them", holds_images, _table
)
