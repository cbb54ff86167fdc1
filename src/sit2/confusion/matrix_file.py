"""``confusion/matrix.csv``: a row of soft counts for each class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sit2.records import Confusion
from sit2.storage.reading import damaged, number, read_table, reading

if TYPE_CHECKING:
    import pandas as pd

FIRST, LAST = "label", "samples"  # columns; those of the classes lie between


def matrix_table(confusion: Confusion) -> pd.DataFrame:
    """Return the table ``matrix.csv``: ``label``, a column of soft counts for each class, ``samples``.

    The row of a class without samples is empty (NaN), not zero.
    """
    import pandas as pd

    measured = np.where(confusion.samples[:, None] > 0, confusion.mass, np.nan)
    table = pd.DataFrame(measured, columns=pd.Index(confusion.classes, dtype=object))
    table.insert(
        0, FIRST, pd.Series(confusion.classes, dtype=object), allow_duplicates=True
    )  # a class may be named "label"
    table.insert(len(table.columns), LAST, confusion.samples, allow_duplicates=True)
    return table


def read_matrix(path: Path) -> Confusion | None:
    """Read a matrix.csv; None where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    table = read_table(path)
    if table is None:
        return None
    columns = list(table.columns)
    classes = tuple(table.iloc[:, 0])
    if columns != [FIRST, *classes, LAST]:
        raise damaged(path, "its columns are not label, the classes of its rows, and samples")
    with reading(path):
        samples = np.array([int(cell) for cell in table.iloc[:, -1]], dtype=np.int64)
        # By position: a class may be named "samples".
        mass = np.array([[number(cell) for cell in row] for row in table.iloc[:, 1:-1].to_numpy()])
    return Confusion(classes, np.nan_to_num(mass.reshape(len(classes), len(classes))), samples)
