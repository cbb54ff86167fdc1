"""TIFF files with more than Pillow reads: 16-bit colour at its full depth, floats of 16 and 64 bits, …

By tifffile (the extra ``sit2[tiff]``), and only for those: Pillow reads the others, and does so faster.
"""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sit2.data.decoding.image import Decoding, Unreadable, UnreadableNow, Wide
from sit2.data.decoding.jpeg import upright

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 274


def is_tiff(head: bytes) -> bool:
    """Tell a TIFF file by its first bytes."""
    return head.startswith(_MAGIC)


def tiff_channels(file: IO[bytes]) -> int:
    """Return 1 for a gray image and 3 for a colour one, by the first page's header."""
    return 1 if _first_page(file).samplesperpixel < 3 else 3


def read_tiff(file: IO[bytes], how: Decoding) -> Wide:
    """Return the first page of a TIFF file.

    Raises:
        Unreadable: for pixels that are neither gray nor RGB.
    """
    page = _first_page(file)
    how.check_size(page.imagewidth, page.imagelength)
    if page.axes not in ("YX", "YXS", "SYX") or page.samplesperpixel > 4 or page.dtype.kind not in "uif":
        raise Unreadable(
            f"a TIFF file of {page.samplesperpixel} channels, {page.dtype}; expected gray or RGB numbers"
        )
    pixels: NDArray[Any] = page.asarray()
    if page.axes == "SYX":
        pixels = pixels.transpose(1, 2, 0)
    tag = page.tags.get(_ORIENTATION)
    pixels = upright(pixels, int(tag.value) if tag is not None else 1)
    return Wide(pixels, _range(pixels.dtype, page.bitspersample), inverted=page.photometric == 0)


def _first_page(file: IO[bytes]) -> Any:
    try:
        import tifffile
    except ImportError:
        raise UnreadableNow(
            "a TIFF file that is damaged, or of a kind that needs: pip install 'sit2[tiff]'"
        ) from None
    file.seek(0)
    return tifffile.TiffFile(file).pages.first


def _range(kind: np.dtype[Any], bits: int) -> tuple[float, float] | None:
    """Return the range of whole numbers of up to 16 bits."""
    if kind.kind == "f" or bits > 16:
        return None
    half = 2.0 ** (bits - 1)
    return (-half, half - 1) if kind.kind == "i" else (0.0, 2 * half - 1)
