"""One image → uint8 pixels of one size: the place that knows what image files may hold.

- A file is what its content says, whatever its name says. docs/formats.md lists what comes out of what.
- The EXIF orientation is applied. Of several frames or pages the first counts, and that is told. Colour
  profiles are ignored.
- Transparent pixels are laid over white, as most viewers and the web do; or over black, where that is set.
- More than 8 bits become 8 by one stated rule: bit_depth.py.
- Whatever cannot be decoded raises :class:`Unreadable`: it is never replaced and never half decoded.

Letters: C channels, 1 (gray) or 3 (RGB).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from sit2.data.decoding.bit_depth import narrow
from sit2.data.decoding.dicom import dicom_channels, dicom_size, is_dicom, read_dicom
from sit2.data.decoding.image import Decoding, Tell, Unreadable, UnreadableNow, Wide
from sit2.data.decoding.jpeg import decode_jpeg
from sit2.data.decoding.pillow import deep_colour, has_deep_colour, is_gray, is_planar, open_image, scaled
from sit2.data.decoding.tiff import is_tiff, read_tiff, tiff_channels
from sit2.records import ByteArray

FRAMES = "with several frames or pages, of which the first is taken"

MAX_BYTES = 1 << 31  # of a file: 16-bit RGBA of the most pixels is 1.4 GB
_HEAD = 132  # bytes that tell the formats apart
_LARGE = 30_000_000  # pixels; so large images are decoded one at a time, not one in each thread
_one_at_a_time = threading.Lock()


def _tell_nobody(_note: str) -> None:
    """Stand in for who wants to know."""


def decode(source: Path | ByteArray, how: Decoding, tell: Tell = _tell_nobody) -> ByteArray:
    """Return an image file, or an array (H, W[, 1|3|4]), as (C, size, size) uint8.

    An array of one axis holds the bytes of an image file.

    ``tell`` is called with what is worth knowing of an image that could be read, such as :data:`FRAMES`.

    Raises:
        Unreadable: with the reason.
    """
    if isinstance(source, np.ndarray) and source.ndim > 1:
        pixels = scaled(Image.fromarray(source[:, :, 0] if source.shape[2:] == (1,) else source), how, tell)
    else:
        with _reading(source) as file:
            pixels = _decoded(file, how, tell)
    size, channels = how.size, how.channels
    if pixels.shape[:2] != (size, size):  # only after "pad"
        height, width = pixels.shape[:2]
        above, left = (size - height) // 2, (size - width) // 2
        around = [(above, size - height - above), (left, size - width - left), (0, 0)]
        pixels = np.pad(pixels, around[: pixels.ndim], mode="edge")
    laid = np.ascontiguousarray(pixels.reshape(size, size, channels).transpose(2, 0, 1))
    return laid if laid.flags.writeable else laid.copy()


def channels_of(source: Path | ByteArray) -> int:
    """Return 1 for a gray image and 3 for a colour one, by its header (and its palette) alone.

    Raises:
        Unreadable: with the reason.
    """
    if isinstance(source, np.ndarray) and source.ndim > 1:
        return 1 if source.ndim == 2 or source.shape[2] == 1 else 3
    with _reading(source) as file:
        head = _head(file)
        if is_dicom(head):
            return dicom_channels(file)
        try:
            return 1 if is_gray(open_image(file)) else 3
        except UnidentifiedImageError:
            if is_tiff(head):
                return tiff_channels(file)
            raise


def size_of(source: Path | ByteArray) -> tuple[int, int]:
    """Return height and width of an image by its header alone, as it lies in the file.

    Raises:
        Unreadable: with the reason.
    """
    if isinstance(source, np.ndarray) and source.ndim > 1:
        return int(source.shape[0]), int(source.shape[1])
    with _reading(source) as file:
        head = _head(file)
        if is_dicom(head):
            return dicom_size(file)
        width, height = open_image(file).size
        return height, width


@contextmanager
def _reading(path: Path | ByteArray) -> Iterator[IO[bytes]]:
    """Open a file, once; whatever goes wrong with it, then or later, becomes :class:`Unreadable`."""
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
        raise _unreadable(error) from error


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
    text = " ".join(str(error).split()) or type(error).__name__
    if "imagecodecs" in text:  # what tifffile says where it lacks a decoder
        return UnreadableNow("a TIFF file of a compression that needs: pip install 'sit2[tiff]'")
    short = any(word in text.lower() for word in ("truncated", "less than expected"))
    return Unreadable("truncated" if short else f"damaged ({text})")


def _head(file: IO[bytes]) -> bytes:
    head = file.read(_HEAD)
    file.seek(0)
    return head


def _decoded(file: IO[bytes], how: Decoding, tell: Tell) -> ByteArray:
    """Decode a file by its content: (height, width[, C]) uint8, at most size by size."""
    head = _head(file)
    if head.startswith(b"\xff\xd8\xff"):
        pixels = decode_jpeg(file.read(), how)
        if pixels is not None:
            return pixels
        file.seek(0)
    if is_dicom(head):
        return _narrowed(read_dicom(file, how), how, tell)
    try:
        image = open_image(file)
    except UnidentifiedImageError:
        if is_tiff(head):
            return _narrowed(read_tiff(file, how), how, tell)
        raise
    how.check_size(*image.size)
    if getattr(image, "is_animated", False):
        tell(FRAMES)
    if has_deep_colour(image) and is_planar(image):
        return _narrowed(read_tiff(file, how), how, tell)
    if has_deep_colour(image) and how.depth_window != "full":
        return _narrowed(deep_colour(image, file), how, tell)
    large = image.width * image.height > _LARGE
    with _one_at_a_time if large else contextlib.nullcontext():
        return scaled(image, how, tell)


def _narrowed(wide: Wide, how: Decoding, tell: Tell) -> ByteArray:
    return scaled(Image.fromarray(narrow(wide, how.depth_window, tell)), how, tell)
