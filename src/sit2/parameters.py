"""How one setting is declared, beside the code that it governs, and how its value is checked.

The same declaration serves the command's help, YAML, Python, tuning and the documentation. This module knows
nothing heavy: declarations are read by every command before anything is loaded.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sit2.errors import ConfigError, did_you_mean, shown

_RULE = "rule"  # the key of a field's metadata


@dataclass(frozen=True)
class Rule:
    """What a setting may be, and what its help says."""

    text: str
    choices: tuple[str, ...] = ()
    low: float | None = None  # inclusive, as is ``high``
    high: float | None = None
    value: str = ""  # what the help calls its value, where neither type nor name tells
    tune: tuple[float, float] | None = None  # where tuning looks; None: it does not
    basic: bool = False  # whether `--help` shows it, or only `--help-all`
    alone: bool = False  # of true or false: whether its flag has no opposite, --no-…
    topic: str = ""  # under which heading of the help it stands
    aliases: Mapping[str, str] = field(default_factory=dict)  # other spellings of its choices


def parameter(default: Any, text: str, **rule: Any) -> Any:
    """Declare one field of a settings class, method or predictor; ``rule`` is of :class:`Rule`."""
    return field(default=default, metadata={_RULE: Rule(text, **rule)})


@dataclass(frozen=True)
class Parameter:
    """One declared setting."""

    name: str
    hint: Any  # its type
    default: Any
    rule: Rule

    def check(self, value: Any) -> Any:
        """Return a value as the setting's type. Raises :class:`ConfigError` for one that it cannot take."""
        return _converted(self.name, value, self.hint, self.rule)


@functools.cache
def parameters_of(owner: type) -> tuple[Parameter, ...]:
    """Return what a dataclass declares, in order; fields without a rule are no settings."""
    return tuple(
        Parameter(f.name, _type_of(owner, f.name), f.default, f.metadata[_RULE])
        for f in dataclasses.fields(owner)
        if _RULE in f.metadata
    )


def check_fields(instance: object) -> None:
    """Check and convert every setting of a frozen dataclass in place, for its ``__post_init__``."""
    owner: type = type(instance)
    for one in parameters_of(owner):
        object.__setattr__(instance, one.name, one.check(getattr(instance, one.name)))


def summary_of(owner: type) -> str:
    """Return the first sentence of a class's docstring, for a line of the help."""
    return (inspect.getdoc(owner) or "").split("\n", maxsplit=1)[0].rstrip(".")


def one_declaration_each(owners: Iterable[type]) -> dict[str, Parameter]:
    """Return every setting of some classes by name.

    Raises:
        ValueError: two classes declare one name differently. Ours to fix.
    """
    found: dict[str, Parameter] = {}
    for owner in owners:
        for one in parameters_of(owner):
            if found.setdefault(one.name, one) != one:
                raise ValueError(f"{owner.__name__} declares {one.name!r} differently than another")
    return found


def _type_of(owner: type, name: str) -> Any:
    """Return the type of one field; those of the others may not be loaded yet."""
    home = next(c for c in owner.__mro__ if name in inspect.get_annotations(c))
    written = inspect.get_annotations(home)[name]
    return eval(written, vars(sys.modules[home.__module__])) if isinstance(written, str) else written


def _converted(name: str, value: Any, hint: Any, rule: Rule) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None or value == "auto":
            return None
        hint = next(h for h in typing.get_args(hint) if h is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0]
        items = value
        if isinstance(value, Path) or (
            kind is int and isinstance(value, int) and not isinstance(value, bool)
        ):
            items = [value]
        elif isinstance(value, str):  # a file's name may hold a comma
            there = kind is Path and Path(value).exists()
            items = [value] if there else [v.strip() for v in value.split(",")]
        if not isinstance(items, list | tuple):
            known = f": {', '.join(rule.choices)}" if rule.choices else ""
            raise ConfigError(
                f"{name} is {shown(value)}\nexpected {_PLURAL[kind]} with commas between{known}"
            )
        return tuple(_converted(name, v, kind, rule) for v in items)
    try:
        converted = _as_type(value, hint)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{name} is {shown(value)}\nexpected {_EXPECTED[hint]}") from None
    if isinstance(converted, str):
        converted = rule.aliases.get(converted, converted)
    if rule.choices and converted not in rule.choices:
        raise ConfigError(f"{name} cannot be {shown(value)}\n{did_you_mean(str(converted), rule.choices)}")
    low, high = rule.low, rule.high
    if (low is not None and not converted >= low) or (high is not None and not converted <= high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name} is {shown(value)}\nexpected {_EXPECTED[hint]} {limits}")
    return converted


_PLURAL = {int: "whole numbers", str: "names", Path: "paths"}
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
