"""Parquet files that anybody may have written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sit2.data.memory import fits

if TYPE_CHECKING:
    import pandas as pd

CELL = 64  # bytes that a value takes in memory, about: a text with its pointer


def read_parquet(path: Path, **options: Any) -> pd.DataFrame:
    """Read a table, unless it says that it is larger than the memory: a small file may claim many rows.

    Raises:
        OSError, ValueError: with the reason.
    """
    import pandas as pd
    import pyarrow.parquet

    try:
        about = pyarrow.parquet.read_metadata(path)
        if not fits(about.num_rows * about.num_columns * CELL):
            raise ValueError(
                f"it claims {about.num_rows:,} rows of {about.num_columns} columns, more than the memory "
                "holds"
            )
        # Texts that are no UTF-8 would raise later, where they are looked at.
        pyarrow.parquet.read_table(path).validate(full=True)
        return pd.read_parquet(path, **options)
    except OSError:
        raise
    except Exception as error:  # pyarrow and pandas raise nearly anything on a damaged file
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from None
