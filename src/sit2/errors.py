"""Every error that sit2 raises on purpose.

    Sit2Error                 the input or the settings are wrong; shown without a traceback, exit code 2
    ├── ConfigError           a setting: unknown name, wrong value
    ├── DataError             the images, labels or groups
    ├── RunFolderError        the output folder: not empty, not ours, incomplete
    ├── ModelError            a saved model or weights file
    └── TrainingError         training itself failed: the loss became NaN or infinite, or memory ran out

What the system refuses (OSError, MemoryError) the command line puts into words, see accidents.py. Anything
else that escapes is a bug of ours, and keeps its traceback.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.__dict__.update({"maxlevel": 3, "maxstring": 80, "maxlong": 40, "maxother": 80})


class Sit2Error(Exception):
    """An error that the user can fix.

    Its text is one to three lines: the thing, what was expected, the hint.
    """


class ConfigError(Sit2Error):
    """A setting has an unknown name or a value that it cannot take."""


class DataError(Sit2Error):
    """The images, labels, groups or splits cannot be used as they are."""


class RunFolderError(Sit2Error):
    """The output folder cannot be written to, read from or resumed."""


class ModelError(Sit2Error):
    """A saved model or weights file is missing, foreign or damaged."""


class TrainingError(Sit2Error):
    """Memory ran out, or the loss became NaN or infinite in the second attempt too.

    The text names the method, and for a loss the phase, the step and the learning rate.
    """


def in_one_line(error: BaseException) -> str:
    """Return an error of somebody else's in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the nearest known words, or list them all: the hint in a message about an unknown word."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(repr(n) for n in near) + "?"
    return "choose from " + ", ".join(known)


def shown(value: Any) -> str:
    """Return a value's repr, shortened where it is long or deep, for a message."""
    return _SHORT.repr(value)


def not_found(path: Path, expected: str) -> DataError:
    """Return the error about a path that does not exist, naming a neighbour with a similar name."""
    hint = expected
    if path.parent.is_dir():
        guess = did_you_mean(path.name, sorted(entry.name for entry in path.parent.iterdir()))
        hint = guess if guess.startswith("did you mean") else expected
    return DataError(f"no such file or folder: {path}\n{hint}")
