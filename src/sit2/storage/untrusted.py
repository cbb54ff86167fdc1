"""Small text files that anybody may have written: JSON and YAML, read with limits.

Neither can run code. What could still do harm is size: a file of gigabytes, brackets nested ten thousand
deep, YAML aliases that multiply ("a billion laughs"), an endless device in place of a file.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

MOST_JSON = 1 << 28  # bytes: histories and lists of problems may be long
MOST_YAML = 1 << 20

_HALF = re.compile("[\ud800-\udfff]")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError with a short reason for anything else, OSError as usual."""
    content = read_json_value(path)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def read_json_value(path: Path) -> Any:
    """Read any JSON. Raises ValueError with a short reason, OSError as usual."""
    text = read_text(path, most=MOST_JSON)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def to_json(content: Any, *, indent: int | None = 2) -> str:
    """Return JSON with letters as they are; half characters, from odd file names, are spelled out."""
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def read_yaml(path: Path) -> Any:
    """Read YAML of plain values without aliases. Raises ValueError with a short reason, OSError as usual."""
    text = read_text(path, most=MOST_YAML)
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def read_text(path: Path, *, most: int) -> str:
    """Read a file of at most this many bytes as UTF-8. Raises ValueError with a short reason, OSError."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(21, os.strerror(21), str(path))
        raise ValueError("not a file")
    if state.st_size > most:
        raise ValueError(f"it is larger than {most >> 20} MB")
    return path.read_text(encoding="utf-8")


class _Loader(yaml.SafeLoader):
    """Plain values only: an alias inside an alias inside an alias … would grow without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)
