"""Labels and groups that a program hands over: none may be missing, and all must be of one kind.

NaN, None, ``pandas.NA``, NaT, a masked value and an empty text are missing, as an empty cell of a table is: none
of them becomes a class, or a group of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sit2.data.words import counted, listed
from sit2.errors import DataError
from sit2.records import BoolArray

_FIRST = 5  # rows that are named


def none_missing(values: Any, thing: str, where: str) -> NDArray[Any]:
    """Return (N,) labels or groups as an array, after a look that none is missing; other shapes as they are.

    Args:
        values: N numbers or texts: an array, a list, a pandas Series, …; a list becomes an array of objects.
        thing: what they are, "label" or "group".
        where: what the values are called in the message.

    Raises:
        DataError: one is missing. The first rows are named, counted from 0.
    """
    # As objects: NumPy would make a text of a number, or of NaN, that stands beside texts.
    array = np.asarray(values, dtype=object) if isinstance(values, list | tuple) else np.asarray(values)
    if array.ndim != 1:
        return np.asarray(values)
    missing = _missing(array) | np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else _missing(array)
    if missing.any():
        rows = np.flatnonzero(missing).tolist()
        are, row = ("is", "row") if len(rows) == 1 else ("are", "rows")
        raise DataError(
            f"{where}: {counted(len(rows), thing)} of {len(array):,} {are} missing (None, NaN or empty), in {row} "
            f"{listed([str(row) for row in rows], _FIRST)}, counted from 0\n"
            f"expected a {thing} for each image: fill them in, or leave the images out"
        )
    return array


def labels_of(values: Any, where: str) -> NDArray[Any]:
    """Return (N,) labels as an array of one kind; other shapes as they are.

    Raises:
        DataError: one is missing, there are texts beside numbers, or numbers that are no names of classes.
    """
    array = none_missing(values, "label", where)
    if array.dtype == object and array.ndim == 1:
        kinds = {_kind(value) for value in array}
        if len(kinds) > 1:
            raise DataError(f"{where} holds labels of several kinds\nexpected all numbers, or all texts")
        if isinstance(values, list | tuple) or kinds == {"number"}:
            array = np.asarray(array.tolist())
    _refuse_measurements(array, where)
    return array


def _refuse_measurements(array: NDArray[Any], where: str) -> None:
    """Raise :class:`DataError` for numbers that measure something, such as 0.25, instead of naming a class."""
    if array.dtype.kind not in "fc" or array.shape[1:] not in ((), (1,)):
        return  # of several columns it is asked elsewhere whether they are one-hot
    flat = array.ravel()
    odd = (
        np.isinf(flat) | (flat != np.round(flat)) if array.dtype.kind == "f" else np.ones(len(flat), np.bool_)
    )
    if odd.any():
        raise DataError(
            f"{where} holds {flat[int(odd.argmax())]!s}, which names no class\n"
            "expected whole numbers or texts; of measurements make classes first, for example with pandas.cut"
        )


def _missing(array: NDArray[Any]) -> BoolArray:
    """(N,) bool."""
    import pandas as pd

    gone: BoolArray = np.asarray(pd.isna(array), dtype=np.bool_)
    if array.dtype.kind in "OUS":
        blank = [isinstance(value, str | bytes) and not value.strip() for value in array]
        gone = gone | np.array(blank, dtype=np.bool_)
    return gone


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, int | float | np.number | np.bool_) else type(value).__name__
