"""How one setting is declared, and its value checked, wherever the value comes from."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from sit2.errors import ConfigError, did_you_mean
from sit2.storage.untrusted import shown


def setting(
    default: Any,
    text: str,
    *,
    section: str,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    value: str = "",
) -> Any:
    """Declare one field of :class:`Config`: default, help text, and the values it may take (inclusive).

    ``value`` is what the help calls its value, where that is not told by its type or name.
    """
    return field(
        default=default,
        metadata={
            "text": text,
            "section": section,
            "choices": choices,
            "low": low,
            "high": high,
            "value": value,
        },
    )


def convert(name: str, value: Any, hint: Any, rule: Mapping[str, Any]) -> Any:
    """Return ``value`` as the type ``hint``, checked against the field's choices and limits."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None:
            return None
        hint = next(h for h in typing.get_args(hint) if h is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        items = [v.strip() for v in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise ConfigError(
                f"{name} is {shown(value)}\nexpected names with commas between: {rule['choices']}"
            )
        return tuple(convert(name, v, str, rule) for v in items)
    try:
        converted = _as_type(value, hint)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{name} is {shown(value)}\nexpected {_EXPECTED[hint]}") from None
    if rule["choices"] and converted not in rule["choices"]:
        raise ConfigError(f"{name} cannot be {shown(value)}\n{did_you_mean(str(converted), rule['choices'])}")
    low, high = rule["low"], rule["high"]
    if (low is not None and not converted >= low) or (high is not None and not converted <= high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name} is {shown(value)}\nexpected {_EXPECTED[hint]} {limits}")
    return converted


_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", Path: "a path"}


def _as_type(value: Any, hint: Any) -> Any:
    if hint is bool:
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise TypeError
        return value
    if hint is str and value is False:  # YAML reads `cache: off` so
        return "off"
    if isinstance(value, bool):
        raise TypeError
    if hint is int:
        if float(value) != int(float(value)):
            raise ValueError
        return int(value) if isinstance(value, int | str) else int(float(value))
    if hint is float:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number
    if hint is str:
        if isinstance(value, int):  # YAML reads `channels: 1` as a number
            return str(value)
        if not isinstance(value, str):
            raise TypeError
        return value
    return Path(value)
