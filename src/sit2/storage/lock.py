"""One process at a time in a folder, by a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from pathlib import Path
from typing import IO

from sit2.errors import RunFolderError

NAME = (
    ".lock"  # in the folder, while somebody writes there; one that a killed process left behind locks nothing
)

_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)

try:
    import fcntl

    def _try(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

except ImportError:  # Windows
    import msvcrt

    def _try(file: IO[str]) -> None:
        file.seek(1 << 30)  # a byte beyond the text, so that others can read who holds it
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


class Lock:
    """The lock of a folder, held from its making until :meth:`release` or the end of the process.

    Raises:
        RunFolderError: another process holds it, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.release = weakref.finalize(self, _release, folder / NAME, _acquire(folder))


def _acquire(folder: Path) -> IO[str]:
    path = folder / NAME
    while True:
        try:
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise RunFolderError(
                f"cannot write to {folder}: {error.strerror}\nexpected a folder to write to; give another -o"
            ) from None
        try:
            _try(file)
        except OSError as error:
            if error.errno in _TAKEN:
                file.seek(0)
                holder = file.read(20).strip()
                file.close()
                who = f"process {holder}" if holder.isdecimal() else "another process"
                raise RunFolderError(
                    f"{who} is writing to {folder}\nwait until it is finished, or give another -o"
                ) from None
            # Some network file systems know no locks: better to go on without than not at all.
        if _is_still(path, file):
            with contextlib.suppress(OSError):
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
            return file
        file.close()  # whoever held it has just removed the file: the lock of what is gone locks nothing


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


def _release(path: Path, file: IO[str]) -> None:
    with contextlib.suppress(OSError):  # on Windows an open file stays, empty of meaning
        path.unlink()
    file.close()
