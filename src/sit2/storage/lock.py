"""One process at a time in a folder, by a lock that ends with its process, however that ends (filelock)."""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from pathlib import Path

from filelock import FileLock, Timeout

from sit2.errors import RunFolderError

NAME = (
    ".lock"  # in the folder, while somebody writes there; one that a killed process left behind locks nothing
)


class Lock:
    """The lock of a folder, held from its making until :meth:`release` or the end of the process.

    Raises:
        RunFolderError: another process holds it, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._release = weakref.finalize(self, _release, folder / NAME, _acquire(folder))

    def release(self) -> None:
        """Let others write to the folder; a second time it does nothing."""
        self._release()


def _acquire(folder: Path) -> FileLock:
    path = folder / NAME
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            holder = path.read_text(encoding="ascii").strip()
            if holder.isdecimal():
                raise _taken(f"process {holder}", folder) from None
        raise _taken("another process", folder) from None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ENOSPC):
            raise RunFolderError(
                f"cannot write to {folder}: {error.strerror}\nexpected a folder to write to; give another -o"
            ) from None
        return lock  # some network file systems know no locks: better to go on without than not at all
    with contextlib.suppress(OSError):
        path.write_text(str(os.getpid()), encoding="ascii")
    return lock


def _taken(who: str, folder: Path) -> RunFolderError:
    return RunFolderError(f"{who} is writing to {folder}\nwait until it is finished, or give another -o")


def _release(path: Path, lock: FileLock) -> None:
    with contextlib.suppress(OSError):  # while it is held; whoever waits for what is gone tries again
        path.unlink()
    lock.release(force=True)
