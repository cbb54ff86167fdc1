"""Tables of predictions: ``predictions/<recipe>.csv`` of a run folder, and those of other programs.

N samples, K classes. A run writes ``id``, ``path``, ``label``, ``predicted`` and one ``p_<class>`` for each
class. Of a user's table the true class and probabilities, or the predicted class, are needed; all else is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sit2.confusion.external_predictions import Columns, as_ours, is_foreign
from sit2.confusion.pairs import bad_row
from sit2.data.parquet import read_parquet
from sit2.errors import DataError, did_you_mean
from sit2.records import Dataset, FloatArray, IntArray, Predictions
from sit2.storage.escaping import restored, restored_all
from sit2.storage.reading import damaged, read_table, separator

if TYPE_CHECKING:
    import pandas as pd

EXPECTED = "expected a column 'label' and a column p_<class> for each class"
_DECIMAL_COMMA = r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$"  # of a number, where semicolons stand between columns
ROUNDED = 1e-6  # how far a probability in a run's file may be from what was computed


def is_predictions_file(path: Path) -> bool:
    """Say whether a file is a table of predictions, see :func:`~sit2.confusion.external_predictions.is_foreign`."""
    import pandas as pd

    if path.suffix.lower() not in (".csv", ".parquet") or not path.is_file():
        return False
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            columns = pyarrow.parquet.read_schema(path).names
        else:
            columns = list(pd.read_csv(path, nrows=0, encoding="utf-8-sig", sep=separator(path)).columns)
    except Exception:  # pyarrow raises nearly anything; the reader of manifests says what is wrong
        return False
    return is_foreign([restored(str(column)) for column in columns])


def read_predictions(
    path: Path, asked: Columns | None = None
) -> tuple[FloatArray, IntArray, tuple[str, ...]]:
    """Read a CSV or Parquet file: (N, K) float64 probabilities, (N,) int64 labels, K class names.

    Classes stand in the order of their columns. Names are text: a class "7", "007" or "NA" stays what it is. What
    the columns are called is ``asked``, or guessed.

    Raises:
        DataError: no such table, missing or doubled columns, a label without its column, a cell that is no
            probability, a row that does not sum to 1; with the line (CSV) or row from 0 (Parquet).
    """
    return _parsed(path, as_ours(path, _read_table(path), asked or Columns()))


def read_predictions_for(dataset: Dataset, path: Path) -> FloatArray:
    """Read the predictions of a dataset's images: (N, K) float64 in its order, NaN for images without a row.

    A column ``id`` or ``path`` names the image; labels are the dataset's.

    Raises:
        DataError: as :func:`read_predictions`, and for other classes, an unknown image, or one named twice.
    """
    table = _read_table(path)
    probabilities, _, classes = _parsed(path, table)
    if set(classes) != set(dataset.classes):
        raise DataError(
            f"{path} predicts {', '.join(classes)}\nexpected the classes of {dataset.name}: "
            + ", ".join(dataset.classes)
        )
    key = next((name for name in ("id", "path") if name in table.columns), None)
    if key is None:
        raise DataError(f"{path} has no column 'id' or 'path'\nexpected one that names each image")
    place = {name: n for n, name in enumerate(dataset.ids if key == "id" else dataset.paths)}
    found = np.full((len(dataset), len(classes)), np.nan)
    for number, name, row in zip(table.index, restored_all(table[key]), probabilities, strict=True):
        if name not in place:
            raise DataError(
                f"{path}, {table.index.name} {number}: {dataset.name} has no image {name!r}\n"
                "expected predictions of these very images"
            )
        if not np.isnan(found[place[name]]).any():
            raise DataError(
                f"{path}, {table.index.name} {number}: {name} appears twice\nkeep one of the rows"
            )
        found[place[name]] = row
    return found[:, [classes.index(name) for name in dataset.classes]]


def _parsed(path: Path, table: pd.DataFrame) -> tuple[FloatArray, IntArray, tuple[str, ...]]:
    """Return probabilities, labels and classes of a table."""
    columns = list(table.columns)
    classes = _classes(path, columns)
    if table.empty:
        raise DataError(f"{path} holds no predictions\n{EXPECTED}, and a line for each image")
    lines = [f"{path}, {table.index.name} {n}" for n in table.index]

    position = {name: k for k, name in enumerate(classes)}
    labels = list(table["label"])
    for line, label in zip(lines, labels, strict=True):
        if label not in position:
            hint = did_you_mean(label, classes) if label else "expected the name of the image's true class"
            what = f"label {label!r} has no column {'p_' + label!r}" if label else "the label is empty"
            raise DataError(f"{line}: {what}\n{hint}")

    probabilities = np.column_stack([_numbers(table["p_" + name], lines) for name in classes])
    if bad := bad_row(probabilities):
        raise DataError(f"{lines[bad[0]]} {bad[1]}")
    return probabilities, np.array([position[label] for label in labels], dtype=np.int64), classes


def _read_table(path: Path) -> pd.DataFrame:
    """Read every cell of a CSV as text; the index counts as the user's editor does."""
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise DataError(f"cannot read {path}\nexpected a file that ends in .csv or .parquet")
    try:
        if suffix == ".parquet":
            table = read_parquet(path).reset_index(drop=True)
            table.index.name = "row"
            table.columns = pd.Index([str(name) for name in table.columns])
            if "label" in table:
                table["label"] = ["" if pd.isna(label) else str(label) for label in table["label"]]
            return table
        sign = separator(path)
        cells = pd.read_csv(
            path,
            sep=sign,
            header=None,  # taken from the first line below; pandas would rename doubled columns
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,  # they count as lines
            skipinitialspace=True,
            encoding="utf-8-sig",
        )
    except FileNotFoundError:
        raise DataError(f"no such file: {path}\n{EXPECTED}, as CSV or Parquet") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if sign == ";":
        cells = cells.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)
    cells.index = pd.RangeIndex(1, len(cells) + 1, name="line")
    header = restored_all(cells.iloc[0].tolist())
    table = cells.iloc[1:].set_axis(pd.Index(header, dtype=object), axis="columns")
    table = table[(table != "").any(axis="columns")]
    if header.count("label") == 1:
        labels = pd.Series([restored(label) for label in table["label"]], table.index, dtype=object)
        table = table.assign(label=labels)
    return table


def _classes(path: Path, columns: list[str]) -> tuple[str, ...]:
    """Return the K class names that the columns give."""
    classes = tuple(name.removeprefix("p_") for name in columns if name.startswith("p_"))
    if "label" not in columns:
        raise DataError(f"{path} has no column 'label'\n{EXPECTED}; {did_you_mean('label', columns)}")
    if not classes:
        raise DataError(f"{path} has no column p_<class>\n{EXPECTED}; found {', '.join(columns)}")
    if len(classes) == 1:
        raise DataError(f"{path} has one class only, {classes[0]!r}\nexpected two or more columns p_<class>")
    for name in ("label", *("p_" + c for c in classes)):
        if columns.count(name) > 1:
            raise DataError(f"{path} has {columns.count(name)} columns named {name!r}\nkeep one of them")
    return classes


def _numbers(column: pd.Series[str], lines: list[str]) -> FloatArray:
    """(N,) float64 from one column of cells."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    missing = np.flatnonzero(np.isnan(numbers))
    if missing.size:
        cell = str(column.iloc[missing[0]])
        raise DataError(f"{lines[missing[0]]}: {column.name} is {cell!r}\nexpected a number from 0 to 1")
    return numbers


@dataclass(frozen=True)
class RunPredictions:
    """What ``predictions/<recipe>.csv`` of a run holds: its validation and test images."""

    predictions: Predictions
    paths: tuple[str, ...]  # N, relative to the data set's root
    classes: tuple[str, ...]


def read_run_predictions(path: Path) -> RunPredictions | None:
    """Read a file that a run wrote; None where there is no such file.

    Probabilities are those of the file, but where rounding made two classes even, the predicted one is the
    more probable by the least that a number can be.

    Raises:
        RunFolderError: when it is damaged.
    """
    table = read_table(path, "id", "path", "label", "predicted")
    if table is None:
        return None
    table.index += 2
    table.index.name = "line"
    try:
        probabilities, labels, classes = _parsed(path, table)
    except DataError as error:
        raise damaged(path, str(error).partition("\n")[0]) from None
    index = {name: k for k, name in enumerate(classes)}
    predicted = np.array([index.get(name, -1) for name in table["predicted"]], dtype=np.int64)
    rows, best = np.arange(len(predicted)), probabilities.max(axis=1)
    if (predicted < 0).any() or (probabilities[rows, predicted] < best - 2 * ROUNDED).any():
        raise damaged(path, "a predicted class is not the most probable one")
    even = probabilities.argmax(axis=1) != predicted
    probabilities[rows[even], predicted[even]] = np.nextafter(best[even], np.inf)
    return RunPredictions(
        Predictions(tuple(table["id"]), labels, probabilities), tuple(table["path"]), classes
    )


def predictions_table(predictions: Predictions, classes: Sequence[str], paths: Sequence[str]) -> pd.DataFrame:
    """Return a table of the contract's columns: id, path, label, predicted, p_<class>…"""
    import pandas as pd

    label = [classes[n] if n >= 0 else "" for n in predictions.labels]
    predicted = [classes[n] for n in predictions.predicted]
    table = pd.DataFrame(
        {"id": predictions.ids, "path": paths, "label": label, "predicted": predicted}, dtype=object
    )
    names = [*table.columns, *(f"p_{name}" for name in classes)]
    table = pd.concat([table, pd.DataFrame(predictions.probabilities)], axis=1)
    table.columns = pd.Index(names, dtype=object)  # a name may hold what is not UTF-8
    return table
