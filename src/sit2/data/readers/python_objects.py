"""Labelled images that a program hands over: a DataFrame, a pair of images and labels, a Hugging Face dataset, …"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sit2.data.readers.arrays import from_arrays, from_mapping, label_names, pixels_of
from sit2.data.readers.hub import tables_of
from sit2.data.readers.in_memory import as_sequence, is_paths
from sit2.data.readers.manifest import Images, Table, labelled
from sit2.data.readers.missing import labels_of, none_missing
from sit2.data.readers.reader import no_groups
from sit2.data.words import counted
from sit2.errors import DataError, shown
from sit2.records import ByteArray, Dataset

EXPECTED = (
    "expected a path; a DataFrame with the columns path (or image) and label; a pair (images, labels); a Hugging "
    "Face dataset; or a mapping with images and labels"
)


def read_handed(data: Any, groups: str | None) -> Dataset:
    """Return what a program holds in its hands as a dataset, not yet validated.

    Args:
        data: a pandas DataFrame (or what has ``to_pandas``) with the columns ``label``, ``path`` or ``image``, and
            perhaps ``group`` and ``split``, an image being an array, a Pillow image or the bytes of a file; a pair
            ``(images, labels)`` of arrays (shapes as :func:`~sit2.data.readers.arrays.pixels_of` takes them), of
            lists of such images, or of paths; a Hugging Face ``Dataset``, or a mapping of such by split; a mapping
            of arrays as in an ``.npz`` file. Paths are relative to the working folder.
        groups: the column of groups, in place of ``group``.

    Raises:
        DataError: for anything else, or labels, groups or images that are missing.
    """
    if isinstance(data, Dataset):
        return data
    if _is_hugging_face(data):
        return _of_parts({"": data}, groups)
    if isinstance(data, Mapping):
        if data and all(map(_is_hugging_face, data.values())):
            return _of_parts(data, groups)
        if any(str(key).endswith("images") for key in data):
            no_groups(Path("the mapping"), groups, "use a DataFrame with such a column")
            return from_mapping(data, "arrays")
    elif _is_frame(data):
        return _of_frame(data, groups)
    elif isinstance(data, tuple | list) and len(data) == 2 and not _is_path(data[0]):
        no_groups(Path("(images, labels)"), groups, "use a DataFrame with such a column")
        return _of_pair(*data)
    raise DataError(f"data is {type(data).__name__} {shown(data)}\n{EXPECTED}")


def is_one_source(data: Any) -> bool:
    """Tell a single source from a list of several."""
    if isinstance(data, str | Path | Dataset | Mapping) or _is_hugging_face(data) or _is_frame(data):
        return True
    return isinstance(data, tuple | list) and len(data) == 2 and not any(map(is_one_source, data))


def _is_path(value: Any) -> bool:
    return isinstance(value, str | Path)


def _is_hugging_face(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("features", "column_names", "with_format"))


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and (hasattr(value, "iloc") or hasattr(value, "to_pandas"))


def _of_pair(given: Any, labels: Any) -> Dataset:
    """Return images and labels; paths as a manifest would name them."""
    images = as_sequence(given)
    words = labels_of(labels, "labels")
    if words.ndim == 0 or len(words) != len(images):
        there = counted(len(words), "label") if words.ndim else "a single label"
        raise DataError(f"{counted(len(images), 'image')}, but {there}\nexpected a label for each image")
    if is_paths(images):
        names, _ = label_names(words, "labels")
        paths = [str(path) for path in none_missing(list(images), "path", "images")]
        return labelled(Table(Path("images"), {"path": paths, "label": names}, _places(len(paths))), None)
    if isinstance(images, list | tuple):
        names, numeric = label_names(words, "labels")
        table = Table(Path("images"), {"label": names}, _places(len(names)))
        return labelled(table, None, Images(tuple(map(_as_image, images)), numeric))
    return from_arrays(images, labels, "images")


def _of_frame(given: Any, groups: str | None) -> Dataset:
    """Return a DataFrame as a manifest, or with its images."""
    import pandas as pd

    frame = given if hasattr(given, "iloc") else given.to_pandas()
    if not frame.columns.is_unique:
        raise DataError("the DataFrame has two columns of one name\nexpected every name once")
    if not len(frame):
        raise DataError("the DataFrame has no rows\nexpected one for each image")
    held = "image" if "image" in frame.columns and "path" not in frame.columns else None
    columns = {}
    for name, cells in frame.items():
        if name == "label" and cells.dtype.kind in "fc" and not cells.isna().any():
            columns["label"] = label_names(labels_of(cells, "DataFrame, label"), "DataFrame")[0]
        elif name != held:
            values = cells.astype(object)
            columns[str(name)] = [
                "" if gone else str(v) for v, gone in zip(values, pd.isna(values), strict=True)
            ]
    table = Table(Path("DataFrame"), columns, _places(len(frame)))
    if held is None:
        return labelled(table, groups)
    cells = none_missing(list(frame[held]), "image", "DataFrame, image")
    if is_paths(cells):
        return labelled(table._replace(columns={**columns, "path": [str(cell) for cell in cells]}), groups)
    numeric = "label" in frame.columns and frame["label"].dtype.kind in "iuf"
    return labelled(table, groups, Images(tuple(map(_as_image, cells)), numeric))


def _of_parts(parts: Mapping[str, Any], groups: str | None) -> Dataset:
    """Return Hugging Face datasets by split, or one of them without a split."""
    table, images = tables_of(parts, Path("dataset"))
    return labelled(table, groups, images)


def _places(count: int) -> list[str]:
    return [f"row {n} (counted from 0)" for n in range(count)]


def _as_image(value: Any) -> ByteArray:
    """Return one image as a dataset holds it: (H, W[, C]) uint8, or the bytes of its file."""
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if isinstance(value, bytes | bytearray | memoryview):
        return np.frombuffer(value, np.uint8)
    if hasattr(value, "convert") and hasattr(value, "mode"):  # Pillow's
        value = value if value.mode in ("L", "RGB", "RGBA") else value.convert("RGB")
    if value is None or (isinstance(value, Sequence) and not isinstance(value, list | tuple)):
        raise DataError(
            f"an image is {shown(value)}\nexpected an array, a Pillow image or the bytes of a file"
        )
    image: ByteArray = pixels_of(np.asarray(value)[None], "image")[0][0]
    return image
