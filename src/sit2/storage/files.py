"""Files that are either whole or absent, and the state of an unfinished training.

torch is imported only where tensors are written, so the run folder can use the rest without it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sit2.errors import RunFolderError

_TEMPORARY = ".*.tmp"  # what `atomic` calls a file that is not whole yet
_DIGEST = 20  # bytes in front of a state


class DamagedStateError(Exception):
    """A state that cannot be gone on from; the training begins again."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it becomes ``path``, on failure it is removed.

    After a power loss too ``path`` is the old file or the new one, whole.

    Raises:
        RunFolderError: the disk is full, or the folder cannot be written to.
    """
    try:
        with _temporary(path) as temporary:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
            _sync_folder(path.parent)
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {_reason(error)}\n{_hint(error)}") from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless they are there.

    Raises:
        RunFolderError: a file is in its place, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(place for place in (folder, *folder.parents) if place.exists())
        raise RunFolderError(f"{file} is a file\nexpected a folder; give another place") from None
    except OSError as error:
        raise RunFolderError(f"cannot make the folder {folder}: {_reason(error)}\n{_hint(error)}") from error


def is_temporary(name: str) -> bool:
    """Say whether a file's name is one that :func:`atomic` gives to what is not whole yet."""
    return name.startswith(".") and name.endswith(".tmp")


def sweep(folder: Path, *, older: float = 0.0) -> None:
    """Remove what a killed process left half written below a folder, if ``older`` than this many seconds."""
    for path in folder.rglob(_TEMPORARY):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime >= older:
                path.unlink()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, texts, lists and dicts of them."""
    import torch

    content = io.BytesIO()
    torch.save(state, content)
    data = content.getbuffer()
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.blake2b(data, digest_size=_DIGEST).digest())
        file.write(data)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read what :func:`save_state` wrote, executing no code; None where there is nothing.

    Raises:
        DamagedStateError: the file is not what was written.
    """
    import torch

    if not path.exists():
        return None
    content = path.read_bytes()
    data = content[_DIGEST:]
    if hashlib.blake2b(data, digest_size=_DIGEST).digest() != content[:_DIGEST]:
        raise DamagedStateError
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle.UnpicklingError and its kin: not ours, whatever its digest
        raise DamagedStateError from error
    return state


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk too; where a folder cannot be opened, its system does so by itself."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: OSError) -> str:
    return error.strerror or " ".join(str(error).split()) or type(error).__name__


def _hint(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return "free some space and run again: what is finished is kept (train: with --resume)"
    return "expected a folder to write to; give another -o"
