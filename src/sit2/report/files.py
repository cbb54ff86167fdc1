"""Reading a run folder: what is absent is absent, what is damaged is an error that names the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sit2.errors import RunFolderError
from sit2.storage.escaping import read_neutral
from sit2.storage.untrusted import read_json_value
from sit2.storage.untrusted import read_yaml as safe_yaml


def read_json(path: Path, default: Any = None) -> Any:
    """Return a JSON file's content, ``default`` where there is no such file.

    Raises:
        RunFolderError: when it is damaged, or not of the type of ``default``.
    """
    if not path.exists():
        return default
    try:
        content = read_json_value(path)
    except (OSError, ValueError) as error:
        raise damaged(path, str(error)) from None
    if default is not None and not isinstance(content, type(default)):
        raise damaged(path, f"holds a {type(content).__name__}")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping, empty where there is no such file. Raises :class:`RunFolderError`."""
    if not path.exists():
        return {}
    try:
        content = safe_yaml(path)
    except (OSError, ValueError) as error:
        raise damaged(path, str(error)) from None
    if not isinstance(content, dict):
        raise damaged(path, "holds no settings")
    return content


def read_table(path: Path, *columns: str) -> pd.DataFrame | None:
    """Return a CSV file as text, cell by cell; None where there is no such file.

    A class may be called "NA" or "1.0": only who knows what a column holds may make numbers of it.

    Raises:
        RunFolderError: when it is damaged or lacks one of ``columns``.
    """
    if not path.exists():
        return None
    try:
        table = read_neutral(path)
    except (OSError, ValueError) as error:
        raise damaged(path, str(error).splitlines()[0]) from None
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise damaged(path, f"lacks the column {lacking[0]!r}")
    return table


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn whatever goes wrong with files that hold something else than a run writes into RunFolderError."""
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise damaged(folder, f"its files do not hold what sit2 writes ({what})") from None


def damaged(path: Path, why: str) -> RunFolderError:
    """Return the error for a file that is not what its run wrote."""
    return RunFolderError(f"cannot read {path}: {why}\nrestore it, or run again with --overwrite")
