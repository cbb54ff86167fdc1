"""Reading a run folder: what is absent is absent, what is damaged is an error that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sit2.errors import RunFolderError


def read_json(path: Path, default: Any = None) -> Any:
    """Return a JSON file's content, ``default`` where there is no such file.

    Raises:
        RunFolderError: when it is damaged, or not of the type of ``default``.
    """
    text = _text(path)
    if text is None:
        return default
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if default is not None and not isinstance(content, type(default)):
        raise _damaged(path, f"holds a {type(content).__name__}")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping, empty where there is no such file. Raises :class:`RunFolderError`."""
    text = _text(path)
    try:
        content = {} if text is None else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _damaged(path, str(error).splitlines()[0]) from None
    if not isinstance(content, dict):
        raise _damaged(path, "holds no settings")
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
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise _damaged(path, str(error).splitlines()[0]) from None
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise _damaged(path, f"lacks the column {lacking[0]!r}")
    return table


def _text(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, why: str) -> RunFolderError:
    return RunFolderError(f"cannot read {path}: {why}\nrestore it, or run again with --overwrite")
