"""``estimator.json``: what an estimator has beside its model, so that it comes back as it was saved.

Its parameters, the type of its labels and its pairs. It is JSON, so no code from it is executed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sit2.errors import ModelError, in_one_line, shown
from sit2.records import ClassPair
from sit2.storage.untrusted import read_json, to_json

ESTIMATOR = "estimator.json"
FORMAT_VERSION = 1
_KINDS = "biufUO"  # of labels: numbers and texts


@dataclass(frozen=True)
class Kept:
    """What an estimator was."""

    parameters: dict[str, Any]
    classes: NDArray[Any]  # (K,) labels as ``fit`` was given them
    pairs: list[ClassPair]


def described(parameters: Mapping[str, Any], classes: NDArray[Any], pairs: Sequence[ClassPair]) -> str:
    """Return the content of the file.

    Raises:
        ModelError: a parameter or label is nothing that JSON can hold.
    """
    if classes.dtype.kind not in _KINDS:
        raise ModelError(f"labels that are {classes.dtype} cannot be saved\nfit on numbers or texts")
    return to_json(
        {
            "format_version": FORMAT_VERSION,
            "parameters": {name: _plain(name, value) for name, value in parameters.items()},
            "labels": {"dtype": classes.dtype.str, "classes": [_plain("y", one) for one in classes.tolist()]},
            "pairs": [_without_nan(dataclasses.asdict(pair)) for pair in pairs],
        }
    )


def read_estimator(folder: Path, names: Sequence[str]) -> Kept | None:
    """Read the file of a model folder whose classes have these names; None where there is no such file.

    Raises:
        ModelError: it is damaged, or of another model.
    """
    path = folder / ESTIMATOR
    if not path.exists():
        return None
    try:
        content = read_json(path)
        if content.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"its format version is {shown(content.get('format_version'))}, not {FORMAT_VERSION}"
            )
        labels, parameters = content["labels"], content["parameters"]
        kind = np.dtype(labels["dtype"])
        if kind.kind not in _KINDS or not isinstance(parameters, dict):
            raise ValueError("its labels or parameters are none")
        classes = np.array(labels["classes"], dtype=kind)
        if [str(one) for one in classes.tolist()] != list(names):
            raise ValueError("its classes are not those of the model beside it")
        pairs = [_pair(one) for one in content["pairs"]]
    except (AttributeError, KeyError, OSError, OverflowError, TypeError, ValueError) as error:
        reason = in_one_line(error)
        raise ModelError(
            f"{path} is damaged: {reason}\nrestore it, or remove it: the model works without"
        ) from None
    return Kept(parameters, classes, pairs)


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON holds it. Raises :class:`ModelError` where it cannot."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(name, one) for one in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(name, one) for key, one in value.items()}
    raise ModelError(f"{name} holds {shown(value)}, which cannot be saved\nexpected numbers and texts")


def _without_nan(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in fields.items()}


def _pair(fields: Mapping[str, Any]) -> ClassPair:
    """Return a pair of classes. Raises TypeError for other fields than it has."""
    values: dict[str, Any] = {name: math.nan if value is None else value for name, value in fields.items()}
    return ClassPair(**values)
