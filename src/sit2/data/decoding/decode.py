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
import threading
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from sit2.data.decoding.bit_depth import narrow
from sit2.data.decoding.dicom import is_dicom, read_dicom
from sit2.data.decoding.image import Decoding, Tell, Unreadable, Wide, chosen
from sit2.data.decoding.jpeg import decode_jpeg
from sit2.data.decoding.opening import head_of, reading
from sit2.data.decoding.pillow import (
    deep_colour,
    has_deep_colour,
    is_planar,
    open_image,
    samples_of,
    scaled,
)
from sit2.data.decoding.tiff import is_tiff, read_tiff, too_many
from sit2.records import ByteArray

FRAMES = "with several frames or pages, of which the first is taken"

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
        with reading(source) as file:
            pixels = _decoded(file, how, tell)
    size, channels = how.size, how.channels
    if pixels.shape[:2] != (size, size):  # only after "pad"
        height, width = pixels.shape[:2]
        above, left = (size - height) // 2, (size - width) // 2
        around = [(above, size - height - above), (left, size - width - left), (0, 0)]
        pixels = np.pad(pixels, around[: pixels.ndim], mode="edge")
    laid = np.ascontiguousarray(pixels.reshape(size, size, channels).transpose(2, 0, 1))
    return laid if laid.flags.writeable else laid.copy()


def _decoded(file: IO[bytes], how: Decoding, tell: Tell) -> ByteArray:
    """Decode a file by its content: (height, width[, C]) uint8, at most size by size."""
    head = head_of(file)
    if head.startswith(b"\xff\xd8\xff") and not how.channels_from:
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
    samples = samples_of(image)
    if samples is not None and samples.beyond:
        if not how.channels_from:
            raise Unreadable(too_many(samples))
        return _narrowed(read_tiff(file, how), how, tell)
    if has_deep_colour(image) and is_planar(image):
        return _narrowed(read_tiff(file, how), how, tell)
    if has_deep_colour(image) and how.depth_window != "full":
        return _narrowed(deep_colour(image, file), how, tell)
    large = image.width * image.height > _LARGE
    with _one_at_a_time if large else contextlib.nullcontext():
        return scaled(image, how, tell)


def _narrowed(wide: Wide, how: Decoding, tell: Tell) -> ByteArray:
    if how.channels_from:
        wide = replace(wide, pixels=chosen(wide.pixels, how.channels_from))
        how = replace(how, channels_from=())  # which is done
    return scaled(Image.fromarray(narrow(wide, how.depth_window, tell)), how, tell)
