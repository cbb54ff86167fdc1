"""What may end a command early, in words and exit codes: a signal, a full disk, no memory."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from sit2.errors import Sit2Error

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, `kill` or a scheduler, a closed terminal
_LOST_PROCESS = ("TerminatedWorkerError", "BrokenProcessPool")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does, by KeyboardInterrupt; a second ends it at once.

    A signal that is ignored, as under ``nohup`` or in a script's background, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    mine = [number for number, handler in before.items() if handler in usual]

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in mine:  # files are whole at every moment, so nothing is lost by a second one
            signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    try:
        for number in mine:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])


def _is_of_memory(error: Exception) -> bool:
    """Say whether memory ran out; only torch, where it is loaded, knows its own such errors."""
    if sys.modules.get("torch") is None:
        return isinstance(error, MemoryError)
    from sit2.training.device import out_of_memory

    return out_of_memory(error)


def explain(error: Exception) -> str | None:
    """Return an error in words, with its hint; None where it is a bug of ours."""
    if isinstance(error, Sit2Error):
        return str(error)
    if isinstance(error, OSError):
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{reason}\nthe system refused to read or write; fix that and run again"
    if _is_of_memory(error):
        return "out of memory\nlower --image-size or --batch-size, use --workers 1, or close other programs"
    if type(error).__name__ in _LOST_PROCESS:
        return (
            "a training process was ended from outside; most often memory had run out\n"
            "use --workers 1, a smaller --batch-size or --image-size; train goes on with --resume"
        )
    return None
