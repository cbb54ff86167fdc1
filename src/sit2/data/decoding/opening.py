"""A file is opened once, and whatever is wrong with it becomes one short reason."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from sit2.data.decoding.image import Unreadable, UnreadableNow
from sit2.data.decoding.unsupported import FOREIGN, is_foreign, starts_foreign
from sit2.records import ByteArray

MAX_BYTES = 1 << 31  # of a file: 16-bit RGBA of the most pixels is 1.4 GB
_HEAD = 132  # bytes that tell the formats apart


@contextmanager
def reading(path: Path | ByteArray) -> Iterator[IO[bytes]]:
    """Open a file, or the bytes of one, once; whatever goes wrong with it becomes :class:`Unreadable`."""
    try:
        if isinstance(path, np.ndarray):
            if not path.size:
                raise Unreadable("an empty file")
            yield io.BytesIO(path.data)
            return
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):  # opening a pipe would wait for ever
            folder = stat.S_ISDIR(before.st_mode)
            raise Unreadable("a folder, not a file" if folder else "not a file, but a device or a pipe")
        if before.st_size > MAX_BYTES:
            raise Unreadable(f"more than {MAX_BYTES >> 20:,} MB")
        if before.st_size == 0:
            raise Unreadable("an empty file")
        with path.open("rb") as file:
            yield file
            after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise UnreadableNow("changed while it was read")
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # decoders raise nearly anything on a damaged file
        if isinstance(error, UnidentifiedImageError) and _is_foreign(path):
            raise Unreadable(FOREIGN) from error
        raise _unreadable(error) from error


def _is_foreign(source: Path | ByteArray) -> bool:
    """Tell whether what could not be read is an image all the same."""
    if isinstance(source, np.ndarray):
        return starts_foreign(source[:_HEAD].tobytes())
    if is_foreign(source.name):
        return True
    with contextlib.suppress(OSError), source.open("rb") as file:  # it may have gone since
        return starts_foreign(head_of(file))
    return False


def _unreadable(error: Exception) -> Unreadable:
    """Say what is wrong with a file, by what reading or decoding it raised."""
    if isinstance(error, FileNotFoundError):
        return UnreadableNow("no such file")
    if isinstance(error, PermissionError):
        return UnreadableNow("no permission to read it")
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return Unreadable("a link that leads back to itself")
    if isinstance(error, UnidentifiedImageError):
        return Unreadable("not an image, or of an unknown format")
    if isinstance(
        error, Image.DecompressionBombError
    ):  # WebP alone: the size is checked as the file is opened
        return Unreadable("an image of more pixels than Pillow reads of this format: save it as PNG")
    text = " ".join(str(error).split()) or type(error).__name__
    if "imagecodecs" in text:  # what tifffile says where it lacks a decoder
        return UnreadableNow("a TIFF file of a compression that needs: pip install 'sit2[tiff]'")
    short = any(word in text.lower() for word in ("truncated", "less than expected"))
    return Unreadable("truncated" if short else f"damaged ({text})")


def head_of(file: IO[bytes]) -> bytes:
    """Return the first bytes of a file, which tell what it is."""
    head = file.read(_HEAD)
    file.seek(0)
    return head
