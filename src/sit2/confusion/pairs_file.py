"""``pairs.csv``: ranked pairs of classes, which sit2 or a person wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sit2.errors import DataError, did_you_mean
from sit2.records import ClassPair
from sit2.storage.escaping import restored

if TYPE_CHECKING:
    import pandas as pd


def pairs_table(pairs: Sequence[ClassPair]) -> pd.DataFrame:
    """Return the table ``pairs.csv``: names, score, interval, counts and ``chosen``, one row a pair."""
    import pandas as pd

    columns = [field.name for field in fields(ClassPair)][2:]  # without the class indices
    texts = ("class_a", "class_b")  # object, because pandas' own strings refuse names with broken characters
    return pd.DataFrame(
        {c: pd.Series([getattr(p, c) for p in pairs], dtype=object if c in texts else None) for c in columns}
    )


def read_pairs(path: Path, classes: Sequence[str]) -> list[ClassPair]:
    """Read pairs of known classes; only ``class_a`` and ``class_b`` are needed.

    Where there is a column ``chosen``, it is kept; else every pair counts as chosen. Numbers that are missing
    are NaN: not measured.

    Raises:
        DataError: when there is no such table, or it names a class that is not known.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"no such file: {path}\nexpected a pairs.csv, as `sit2 confusion` writes it"
        ) from None
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())[:200]}") from None
    if missing := [c for c in ("class_a", "class_b") if c not in table]:
        raise DataError(f"{path} has no column {missing[0]!r}\nexpected class_a,class_b[,score,…,chosen]")
    place = {name: number for number, name in enumerate(classes)}
    pairs, seen = [], set()
    for line, row in enumerate(table.to_dict("records"), start=2):
        names = sorted(
            (restored(row["class_a"]), restored(row["class_b"])), key=lambda name: place.get(name, -1)
        )
        for name in names:
            if name not in place:
                raise DataError(f"{path}, line {line}: unknown class {name!r}\n{did_you_mean(name, classes)}")
        if names[0] == names[1]:
            raise DataError(f"{path}, line {line}: {names[0]!r} is paired with itself\nexpected two classes")
        if (names[0], names[1]) in seen:
            raise DataError(
                f"{path}, line {line}: {names[0]} and {names[1]} stand twice\nkeep one of the rows"
            )
        seen.add((names[0], names[1]))
        numbers = {c: _number(row.get(c, ""), path, line) for c in ("score", "lower", "upper", "confused")}
        samples = _number(row.get("samples", ""), path, line)
        if np.isinf(samples):
            raise DataError(f"{path}, line {line}: samples is {samples}\nexpected a count")
        pairs.append(
            ClassPair(
                place[names[0]],
                place[names[1]],
                names[0],
                names[1],
                **numbers,
                samples=0 if np.isnan(samples) else int(samples),
                chosen=row.get("chosen", "True").strip().lower() in ("true", "1", "yes"),
            )
        )
    return pairs


def _number(text: str, path: Path, line: int) -> float:
    try:
        return float(text) if text.strip() else float("nan")
    except ValueError:
        raise DataError(f"{path}, line {line}: {text!r} is not a number") from None
