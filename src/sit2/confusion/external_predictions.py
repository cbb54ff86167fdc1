"""Tables of predictions as other programs write them, made into one with ``label`` and ``p_<class>``.

What the columns are called is asked for or guessed; hard predictions, a class instead of probabilities, become
probabilities of 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sit2.confusion.pairs import SUM_TOLERANCE
from sit2.errors import DataError, did_you_mean
from sit2.records import FloatArray

if TYPE_CHECKING:
    import pandas as pd

OURS = "p_"  # before a class's name
PREFIXES = (OURS, "prob_", "proba_", "probability_", "probs_", "score_", "softmax_")
# In lower case, without "_", " " and "-"; the first that is there counts.
LABELS = (
    *(
        "label",
        "target",
        "truelabel",
        "trueclass",
        "groundtruth",
        "gt",
        "ytrue",
        "y",
        "truth",
        "true",
        "actual",
    ),
    *("class", "classname", "labelname", "labels", "targets", "actuallabel", "targetlabel", "reference"),
)
PREDICTED = (
    *("predicted", "prediction", "pred", "ypred", "yhat", "predictedlabel", "predictedclass", "predlabel"),
    *("predclass", "predictions", "preds", "top1"),
)
OTHERS = frozenset(  # numbers that are no class's, unless a label is called so
    (
        "id",
        "index",
        "idx",
        "row",
        "fold",
        "split",
        "group",
        "confidence",
        "loss",
        "correct",
        "entropy",
        "seed",
        "",
    )
)


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called; None: guessed."""

    label: str | None = None  # of the true class
    predicted: str | None = None  # of the predicted class, where there are no probabilities
    prefix: str | None = (
        None  # before each class's name, of the columns of probabilities; "" where there is none
    )

    def __bool__(self) -> bool:
        return self != Columns()


def as_ours(path: Path, table: pd.DataFrame, asked: Columns) -> pd.DataFrame:
    """Return a table of predictions with the columns ``label`` and ``p_<class>``, other columns unchanged.

    Raises:
        DataError: a column that was asked for is not there, or none can be guessed.
    """
    columns = [str(name) for name in table.columns]
    label = _label(path, columns, asked)
    predicted = _named(path, columns, asked.predicted) or _guessed(columns, PREDICTED)
    if (
        len(set(columns)) < len(columns) and label in columns
    ):  # which of them is meant, the reader of ours asks
        return table.rename(columns={label: "label"})
    truth = _texts(table[label])
    probabilities = None if asked.predicted is not None else _probabilities(path, table, truth, label, asked)
    if probabilities is not None:
        ours = table.drop(columns=[name for name in ("label",) if name != label and name in columns])
        ours = ours.rename(columns={label: "label", **probabilities})
        return ours.assign(label=truth)
    if predicted is None or predicted == label:
        raise DataError(
            f"{path} has no predictions: {_found(columns)}\nexpected a column p_<class> for each class (another "
            "prefix: --probability-prefix), or one of the predicted class (another name: --predicted-column)"
        )
    return _from_hard(table, truth, _texts(table[predicted]))


def is_foreign(columns: Sequence[str]) -> bool:
    """Say whether a table with these columns is one of predictions, and no manifest of images."""
    named = [str(name) for name in columns]
    if any(name.startswith(OURS) for name in named) or _guessed(named, PREDICTED) is not None:
        return True
    if "path" not in named:
        return _guessed(named, LABELS) is not None
    return "label" not in named and any(name.startswith(PREFIXES) for name in named)


def _label(path: Path, columns: Sequence[str], asked: Columns) -> str:
    found = _named(path, columns, asked.label) or _guessed(columns, LABELS)
    if found is None:
        raise DataError(
            f"{path} has no column of the true class: {_found(columns)}\nexpected 'label', 'target' or the like; "
            "name it with --label-column"
        )
    return found


def _named(path: Path, columns: Sequence[str], name: str | None) -> str | None:
    if name is not None and name not in columns:
        raise DataError(f"{path} has no column {name!r}\n{did_you_mean(name, columns)}")
    return name


def _guessed(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    """Return the column of the most usual name; as it is written where two differ by that only."""
    by_name: dict[str, str] = {}
    for name in columns:
        plain = name.lower().replace("_", "").replace(" ", "").replace("-", "")
        if plain not in by_name or name in usual:
            by_name[plain] = name
    return next((by_name[name] for name in usual if name in by_name), None)


def _probabilities(
    path: Path, table: pd.DataFrame, truth: Sequence[str], label: str, asked: Columns
) -> dict[str, str] | None:
    """Return what becomes of the columns of probabilities: their names → p_<class>; None where there are none."""
    columns = [str(name) for name in table.columns if name != label]
    if asked.prefix:
        found = {
            name: OURS + name.removeprefix(asked.prefix) for name in columns if name.startswith(asked.prefix)
        }
        if not found:
            raise DataError(
                f"{path} has no column that begins with {asked.prefix!r}: {_found(columns)}\n"
                "expected one for each class"
            )
        return found
    if asked.prefix is None:
        for prefix in PREFIXES:
            if found := {
                name: OURS + name.removeprefix(prefix) for name in columns if name.startswith(prefix)
            }:
                return found
    known = set(truth)
    numbers = {name: cells for name in columns if (cells := _numbers(table[name])) is not None}
    named = [name for name in numbers if name in known]
    sums = np.sum([numbers[name] for name in named], axis=0)
    if len(named) < 2 or (np.abs(sums - 1) > SUM_TOLERANCE).any():  # there are classes that no image is of
        named = [name for name in numbers if name in known or name.lower() not in OTHERS]
    if len(named) < 2 or known.isdisjoint(named):
        return None
    return {name: OURS + name for name in named}


def _numbers(cells: pd.Series[str]) -> FloatArray | None:
    """Return a column's numbers; None where a cell is none."""
    import pandas as pd

    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return None if np.isnan(numbers).any() else numbers


def _from_hard(table: pd.DataFrame, truth: list[str], predicted: list[str]) -> pd.DataFrame:
    """Return a table of probabilities of 0 and 1."""
    import pandas as pd

    classes = sorted({*truth, *predicted} - {""})
    made = {OURS + name: [float(one == name) for one in predicted] for name in classes}
    return pd.DataFrame(
        {"label": pd.Series(truth, dtype=object, index=table.index), **made}, index=table.index
    )


def _texts(cells: pd.Series[str]) -> list[str]:
    """Return cells as text, those of whole numbers without a point: with a gap among them pandas writes one."""
    import pandas as pd

    texts = ["" if pd.isna(cell) else str(cell).strip() for cell in cells]
    whole = all(text.removesuffix(".0").lstrip("-").isdecimal() for text in texts if text)
    return [text.removesuffix(".0") for text in texts] if whole else texts


def _found(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:8])
    return f"its columns are {shown}" + (f" and {len(columns) - 8} more" if len(columns) > 8 else "")
