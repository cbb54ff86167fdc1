"""Parquet files that anybody may have written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sit2.data.memory import fits
from sit2.errors import ConfigError, in_one_line

if TYPE_CHECKING:
    import pandas as pd

CELL = 64  # bytes that a value takes in memory, about: a text with its pointer


def read_parquet(path: Path, **options: Any) -> pd.DataFrame:
    """Read a table, unless it says that it is larger than the memory: a small file may claim many rows.

    Raises:
        OSError, ValueError: with the reason.
    """
    import pandas as pd

    read_arrow(path)
    with _plainly():
        return pd.read_parquet(path, **options)


def read_arrow(path: Path) -> Any:
    """Read a table as a ``pyarrow.Table``, under the same limit.

    Raises:
        OSError, ValueError: with the reason.
    """
    import pyarrow.parquet

    with _plainly():
        _check_rows(path)
        table = pyarrow.parquet.read_table(path)
        table.validate(full=True)  # texts that are no UTF-8 would raise later, where they are looked at
        return table


def holds_images(path: Path) -> bool:
    """Tell whether a file is a Parquet table with a column of images; False too for one that is damaged."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    try:
        import pyarrow.parquet
    except ImportError:  # where sit2 was installed for prediction alone
        raise ConfigError(
            f"{path} is a Parquet table, which needs packages that are not installed\npip install pandas pyarrow"
        ) from None
    try:
        with _plainly():
            return image_column(pyarrow.parquet.read_schema(path)) is not None
    except (OSError, ValueError):
        return False


def image_column(schema: Any) -> str | None:
    """Return the first column that holds image files, or a field ``bytes`` with them; None without one."""
    import pyarrow as pa

    for field in schema:
        kind = field.type
        if pa.types.is_struct(kind):
            held = {kind.field(n).name: kind.field(n).type for n in range(kind.num_fields)}
            if "bytes" in held and (_binary(held["bytes"]) or pa.types.is_null(held["bytes"])):
                return str(field.name)
        elif _binary(kind) and field.name in ("image", "img"):
            return str(field.name)
    return None


def _binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _check_rows(path: Path) -> None:
    """Raise ValueError where a table does not fit into memory, by what it says of itself."""
    import pyarrow.parquet

    about = pyarrow.parquet.read_metadata(path)
    sizes = [about.row_group(n).total_byte_size for n in range(about.num_row_groups)]
    if not fits(max(about.num_rows * about.num_columns * CELL, sum(sizes))):
        raise ValueError(
            f"it claims {about.num_rows:,} rows of {about.num_columns} columns, more than the memory holds"
        )


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """Turn nearly anything, which pyarrow and pandas raise on a damaged file, into ValueError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ValueError(in_one_line(error)) from None
