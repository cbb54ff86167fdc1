"""The quick way for ordinary JPEG files, which most data sets are made of.

libjpeg-turbo decodes at 1/2, 1/4 or 1/8 where that still leaves twice the size that is wanted, and scaling.py
scales down: with torch two to four times as fast as Pillow (``make bench``). What is not plain (CMYK, damaged, of
unusual coding) is left to Pillow, which knows more and says what is wrong.

Letters: C channels, 1 (gray) or 3 (RGB).
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, JpegImagePlugin

from sit2.data.decoding.image import Decoding
from sit2.data.decoding.scaling import resized
from sit2.records import ByteArray

_PLAIN = ("YCbCr", "Gray")
_HEAD = 1 << 16  # bytes among which the EXIF block lies, if there is one


def decode_jpeg(data: bytes, how: Decoding) -> ByteArray | None:
    """Return the content of a JPEG file as (height, width, C) uint8, upright; None where it is not plain.

    Height and width are ``size`` each; the shorter side is less where ``resize`` is "pad".
    """
    size, resize = how.size, how.resize
    try:
        tall, wide, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in _PLAIN or tall * wide > how.max_megapixels * 10**6:
            return None
        height, width = size, size
        if resize == "pad":
            height, width = (max(1, round(size * side / max(tall, wide))) for side in (tall, wide))
        factor = 1
        while factor < 8 and tall >= 4 * factor * height and wide >= 4 * factor * width:
            factor *= 2
        pixels = simplejpeg.decode_jpeg(
            data,
            colorspace="RGB" if how.channels == 3 else "GRAY",
            min_height=-(-tall // factor),
            min_width=-(-wide // factor),
        )
    except ValueError:
        return None
    # What is left of the sides is a fraction: the last pixels may lie half outside the picture.
    sides = tall / factor, wide / factor
    if resize == "crop":
        side = min(sides)
        above, left = (int((s - side) / 2) for s in sides)
        pixels = pixels[above : above + math.ceil(side), left : left + math.ceil(side)]
        sides = side, side
    return upright(resized(pixels, (height, width), sides), _orientation(data))


def _orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none or it is damaged."""
    if data.find(b"Exif\0\0", 0, _HEAD) < 0:
        return 1
    try:
        with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
            turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data says nothing about the pixels
        return 1
    return turn if turn in range(1, 9) else 1


def upright(pixels: NDArray[Any], turn: int) -> NDArray[Any]:
    """Set (height, width[, C]) upright by its EXIF orientation."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
