"""TIFF files with more than Pillow reads: 16-bit colour at its full depth, floats of 16 and 64 bits, …

By tifffile (the extra ``sit2[tiff]``), and only for those: Pillow reads the others, and does so faster.
"""

from __future__ import annotations

from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sit2.data.decoding.image import Decoding, Unreadable, UnreadableNow, Wide
from sit2.data.decoding.jpeg import upright
from sit2.data.words import counted

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 274
# What a pixel of each photometric interpretation is made of, apart from extra samples.
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
_NUMBERS, _YCBCR, _JPEG = (0, 1, 2), 6, 7  # gray and RGB; what a JPEG holds, which comes out as RGB
_ASSOCIATED, _UNASSOCIATED = 1, 2  # extra samples that say how opaque a pixel is


class Samples(NamedTuple):
    """What a pixel of a TIFF file consists of, by its header."""

    number: int
    photometric: int
    extra: tuple[int, ...]  # what the file says of those beyond gray or colour; often nothing

    @property
    def colours(self) -> int:
        """Return how many make up gray or colour."""
        return _COLOURS.get(self.photometric, self.number)

    @property
    def alpha(self) -> bool:
        """Whether all beyond gray or colour is one sample of opacity, said to be so."""
        return self.number == self.colours + 1 and self.extra in ((_ASSOCIATED,), (_UNASSOCIATED,))

    @property
    def beyond(self) -> bool:
        """Whether there is more than gray or colour and opacity: stains, near infrared, …"""
        return self.number > self.colours and not self.alpha


def is_tiff(head: bytes) -> bool:
    """Tell a TIFF file by its first bytes."""
    return head.startswith(_MAGIC)


def tiff_header(file: IO[bytes]) -> tuple[Samples, int, int, int]:
    """Return what a pixel consists of, bits of a sample, width and height, by the first page's header."""
    page = _first_page(file)
    return _samples(page), int(page.bitspersample), int(page.imagewidth), int(page.imagelength)


def read_tiff(file: IO[bytes], how: Decoding) -> Wide:
    """Return the first page of a TIFF file: gray or RGB, with opacity or without; or all its channels, where
    some are to be chosen.

    Raises:
        Unreadable: for other pixels, and where there is no tifffile.
    """
    page = _first_page(file)
    how.check_size(page.imagewidth, page.imagelength)
    samples = _samples(page)
    if samples.beyond and not how.channels_from:
        raise Unreadable(too_many(samples))
    numbers = samples.photometric in _NUMBERS or (samples.photometric == _YCBCR and page.compression == _JPEG)
    if page.axes not in ("YX", "YXS", "SYX") or page.dtype.kind not in "uif" or not numbers:
        kind = getattr(page.photometric, "name", page.photometric)
        raise Unreadable(
            f"a TIFF file of {counted(samples.number, 'channel')}, {kind}, {page.dtype}; "
            "expected gray or RGB numbers"
        )
    pixels: NDArray[Any] = page.asarray()
    if page.axes == "SYX":
        pixels = pixels.transpose(1, 2, 0)
    if samples.alpha and samples.extra == (_ASSOCIATED,) and not how.channels_from:
        pixels = _unassociated(pixels)
    tag = page.tags.get(_ORIENTATION)
    pixels = upright(pixels, int(tag.value) if tag is not None else 1)
    return Wide(pixels, _range(pixels.dtype, page.bitspersample), inverted=page.photometric == 0)


def too_many(samples: Samples) -> str:
    """Return why an image of such channels is not read."""
    example = "0,1,1" if samples.number == 2 else "0,1,2"
    return (
        f"a TIFF file of {samples.number} channels, more than gray or RGB: train with --channels-from {example} "
        "to choose"
    )


def _samples(page: Any) -> Samples:
    extra = tuple(int(kind) for kind in page.extrasamples)
    return Samples(int(page.samplesperpixel), int(page.photometric), extra)


def _unassociated(pixels: NDArray[Any]) -> NDArray[Any]:
    """Divide gray or colour by the opacity that they were multiplied by: (H, W, S), opacity last."""
    opacity = pixels[..., -1:]
    full = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    colours = pixels[..., :-1] * (full / np.where(opacity > 0, opacity, full).astype(np.float64))
    return np.concatenate([colours.clip(0, full).astype(pixels.dtype), opacity], axis=2)


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
