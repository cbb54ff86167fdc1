"""What the readers of a run folder's files have in common.

Each file is read by one function, beside the one that writes it. What is absent is None; what is damaged is an
error that names the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sit2.errors import RunFolderError, in_one_line
from sit2.storage.escaping import read_neutral
from sit2.storage.untrusted import read_json_value, read_yaml

if TYPE_CHECKING:
    import pandas as pd


def damaged(path: Path, why: str) -> RunFolderError:
    """Return the error for a file that is not what its run wrote."""
    return RunFolderError(f"cannot read {path}: {why}\nrestore it, or run again with --overwrite")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file that holds something else than a run writes into :func:`damaged`."""
    try:
        yield
    except KeyError as error:
        raise damaged(path, f"it lacks {error}") from None
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise damaged(path, in_one_line(error)) from None


def read_object(path: Path) -> dict[str, Any] | None:
    """Return a JSON file's object; None where there is no such file. Raises :class:`RunFolderError`."""
    content = _read_json(path)
    if content is None or isinstance(content, dict):
        return content
    raise damaged(path, f"it holds a {type(content).__name__}")


def read_list(path: Path) -> list[Any] | None:
    """Return a JSON file's list; None where there is no such file. Raises :class:`RunFolderError`."""
    content = _read_json(path)
    if content is None or isinstance(content, list):
        return content
    raise damaged(path, f"it holds a {type(content).__name__}")


def _read_json(path: Path) -> Any:
    if not path.exists():
        return None
    with reading(path):
        content = read_json_value(path)
        if content is None:
            raise TypeError("it holds nothing")
    return content


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings of a config.yaml, none where there is no such file. Raises :class:`RunFolderError`."""
    if not path.exists():
        return {}
    with reading(path):
        content = read_yaml(path)
        if not isinstance(content, dict):
            raise TypeError("it holds no settings")
    return content


def read_table(path: Path, *columns: str) -> pd.DataFrame | None:
    """Return a CSV file as text, cell by cell; None where there is no such file.

    A class may be called "NA" or "1.0": only who knows what a column holds may make numbers of it.

    Raises:
        RunFolderError: when it is damaged or lacks one of ``columns``.
    """
    if not path.exists():
        return None
    with reading(path):
        table = read_neutral(path)
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise damaged(path, f"it has no column {lacking[0]!r}")
    return table


def number(cell: str) -> float:
    """Return the number in a cell; NaN where it is empty, which is how NaN is written."""
    return float(cell) if cell else float("nan")


def separator(path: Path) -> str:
    """Return what stands between the columns of somebody's CSV file, by its first line.

    A comma; or semicolons or tabs, which spreadsheets write where the comma is the decimal sign.

    Raises:
        OSError: when it cannot be read.
    """
    with path.open("rb") as file:
        first = file.readline(2**16)
    return max(",;\t", key=lambda sign: first.count(sign.encode()))
