"""What an image file says of itself before it is decoded: format, channels, bits, size."""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from sit2.data.decoding.dicom import dicom_header, is_dicom
from sit2.data.decoding.opening import head_of, reading
from sit2.data.decoding.pillow import bits_of, is_gray, open_image, samples_of
from sit2.data.decoding.tiff import Samples, is_tiff, tiff_header
from sit2.records import ByteArray

GRAY, COLOUR, ALPHA = "gray", "colour", " with alpha"


class Header(NamedTuple):
    """What a file says about its image."""

    kind: str  # "JPEG"; "array" for pixels without a file
    channels: str  # "gray", "colour", with alpha or without; "4 channels" for other things
    bits: int  # of a channel
    width: int
    height: int


def header_of(source: Path | ByteArray) -> Header:
    """Return what an image file, its bytes (n,), or an array (H, W[, 1|3|4]) says of itself.

    Raises:
        Unreadable: with the reason.
    """
    if isinstance(source, np.ndarray) and source.ndim > 1:
        height, width = source.shape[:2]
        depth = 1 if source.ndim == 2 else source.shape[2]
        return Header("array", {1: GRAY, 3: COLOUR}.get(depth, COLOUR + ALPHA), 8, width, height)
    with reading(source) as file:
        head = head_of(file)
        if is_dicom(head):
            channels, bits, width, height = dicom_header(file)
            return Header("DICOM", GRAY if channels == 1 else COLOUR, bits, width, height)
        try:
            image = open_image(file)
        except UnidentifiedImageError:
            if is_tiff(head):
                return _tiff(file)
            raise
        return Header(image.format or "?", _channels(image), bits_of(image), *image.size)


def channels_of(source: Path | ByteArray) -> int:
    """Return 1 for a gray image and 3 for a colour one, by its header (and its palette) alone.

    Raises:
        Unreadable: with the reason.
    """
    return 1 if header_of(source).channels.startswith(GRAY) else 3


def size_of(source: Path | ByteArray) -> tuple[int, int]:
    """Return height and width of an image by its header alone, as it lies in the file.

    Raises:
        Unreadable: with the reason.
    """
    header = header_of(source)
    return header.height, header.width


def _tiff(file: IO[bytes]) -> Header:
    samples, bits, width, height = tiff_header(file)
    return Header("TIFF", _of_samples(samples), bits, width, height)


def _of_samples(samples: Samples) -> str:
    if samples.beyond:
        return f"{samples.number} channels"
    return (GRAY if samples.colours == 1 else COLOUR) + (ALPHA if samples.alpha else "")


def _channels(image: Image.Image) -> str:
    samples = samples_of(image)
    if samples is not None and samples.beyond:
        return f"{samples.number} channels"
    return (GRAY if is_gray(image) else COLOUR) + (ALPHA if image.has_transparency_data else "")
