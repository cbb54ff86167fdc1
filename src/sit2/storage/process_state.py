"""State of the whole process that libraries know no other way to set: changed while we work, restored after.

sit2 runs inside other people's services, in several threads at once. Whoever enters one of these contexts
first saves and changes the state; whoever leaves last restores it. So nothing is left behind in whatever order
threads come and go. What can be done without such state is done without.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

Value = TypeVar("Value")

# (message, module) of warnings that say what we know: about odd files, tiny classes, missing glyphs, …
_KNOWN = (
    *(("", rf"{module}(\.|$)") for module in ("PIL", "pydicom", "tifffile")),
    ("The least populated class", r"sklearn\."),
    ("Glyph .* missing", ""),
    ("A worker stopped while some jobs", r"joblib\.externals\.loky\."),  # and another one begins
    *(("", rf"{module}(\.|$)") for module in ("alembic", "mlflow", "sqlalchemy", "tensorboard", "wandb")),
    *(
        ("", rf"{module}(\.|$)")
        for module in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "copyreg")
    ),
)
_LOGS = {
    "tifffile": logging.CRITICAL,  # it repeats what becomes the reason why an image cannot be read
    "lightning_fabric": logging.WARNING,  # it announces the precision each time
    "onnx_ir": logging.ERROR,  # it warns of every empty list of the exporter's own
    "optuna": logging.WARNING,
    "alembic": logging.WARNING,  # it tells of every table that it makes
    "mlflow": logging.WARNING,
    "uvicorn.error": logging.ERROR,  # whoever sends no HTTP could fill the screen
    "python_multipart.multipart": logging.ERROR,  # or no parts
}


class Shared(Generic[Value]):
    """A context that several threads may be in at once: entered by the first, left with the last.

    The first one's value holds for all that come while it is inside.
    """

    def __init__(self, make: Callable[[Value], AbstractContextManager[None]]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._inside = 0
        self._open: AbstractContextManager[None] | None = None

    @contextlib.contextmanager
    def __call__(self, value: Value) -> Iterator[None]:
        """Be inside while the context lasts."""
        with self._lock:
            if self._inside == 0:
                self._open = self._make(value)
                self._open.__enter__()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0 and self._open is not None:
                    self._open.__exit__(None, None, None)
                    self._open = None


@contextlib.contextmanager
def _quiet(_: None) -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in _LOGS}
    with warnings.catch_warnings():
        for message, module in _KNOWN:
            warnings.filterwarnings("ignore", message=message, module=module)
        for name, level in _LOGS.items():
            logging.getLogger(name).setLevel(level)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


_QUIET = Shared(_quiet)


def quiet_libraries() -> AbstractContextManager[None]:
    """Keep what libraries say about things that we know off the screen, and off a host that makes them errors."""
    return _QUIET(None)
