"""One image → uint8 pixels of one size: the place that knows what image files may hold.

- The EXIF orientation is applied. Of several frames or pages the first counts. Colour profiles are ignored.
- Transparent pixels are laid over white.
- 16-bit gray keeps its full range: 0…65535 → 0…255. Other wide pixels (32-bit numbers) have no known range
  and are refused.
- Whatever cannot be decoded raises :class:`Unreadable`: it is never replaced and never half decoded.

Letters: C channels, 1 (gray) or 3 (RGB).
"""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from sit2.data.jpeg import MAX_PIXELS, decode_jpeg
from sit2.errors import DataError
from sit2.records import ByteArray

MAX_BYTES = 1 << 31  # of a file: 16-bit RGBA of MAX_PIXELS is 1.4 GB
RESIZES = ("stretch", "crop", "pad")

_MODES = {1: "L", 3: "RGB"}
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
_SIXTEEN_BITS = ("PNG", "PPM")  # formats whose gray pixels of mode "I" are 16 bits wide
_PHOTOMETRIC = 262  # the TIFF tag that tells whether zero is black (1) or white (0)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation → what sets it upright


class Unreadable(DataError):  # noqa: N818 - it names the file's state, and travels as a short reason
    """An image that cannot be decoded. Its text is a short reason, such as "truncated"."""


def decode(source: Path | ByteArray, *, size: int, channels: int, resize: str) -> ByteArray:
    """Return an image file, or an array (H, W[, 1|3|4]), as (C, size, size) uint8.

    ``resize`` makes an image square: ``stretch`` it; ``crop`` its middle; ``pad`` it by repeating its edges.

    Raises:
        Unreadable: with the reason.
    """
    if resize not in RESIZES or channels not in _MODES:
        raise ValueError(f"resize {resize!r} with {channels} channels")
    pixels = None
    if isinstance(source, Path):
        _require_file(source)
        pixels = decode_jpeg(source, size=size, channels=channels, resize=resize)
    if pixels is None:
        with _opened(source) as image:
            pixels = _scaled(image, size, _MODES[channels], resize)
    if pixels.shape[:2] != (size, size):  # only after "pad"
        height, width = pixels.shape[:2]
        above, left = (size - height) // 2, (size - width) // 2
        around = [(above, size - height - above), (left, size - width - left), (0, 0)]
        pixels = np.pad(pixels, around[: pixels.ndim], mode="edge")
    return np.ascontiguousarray(pixels.reshape(size, size, channels).transpose(2, 0, 1))


def channels_of(source: Path | ByteArray) -> int:
    """Return 1 for a gray image and 3 for a colour one, by its header (and its palette) alone.

    Raises:
        Unreadable: with the reason.
    """
    if isinstance(source, np.ndarray):
        return 1 if source.ndim == 2 or source.shape[2] == 1 else 3
    if isinstance(source, Path):
        _require_file(source)
    with _opened(source) as image:
        if image.mode == "P":
            red, green, blue = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3).T
            return 1 if (red == green).all() and (green == blue).all() else 3
        return 1 if image.mode in _GRAY_MODES or image.mode.startswith("I;16") else 3


def _require_file(path: Path) -> None:
    """Refuse what would be read without end, such as a device or a pipe that a manifest names, or a giant.

    What does not exist is left to the decoder, which has the words for it.
    """
    try:
        state = path.stat()
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        raise Unreadable("not a file, but a device or a pipe")
    if state.st_size > MAX_BYTES:
        raise Unreadable(f"more than {MAX_BYTES >> 20:,} MB")


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings about odd files off the screen: what matters becomes a reason.

    To be entered in one thread only, around the work of the others, because warning filters are global.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def _opened(source: Path | ByteArray) -> Iterator[Image.Image]:
    """Open an image; whatever goes wrong with it, then or later, becomes :class:`Unreadable`."""
    try:
        if isinstance(source, np.ndarray):
            yield Image.fromarray(source[:, :, 0] if source.shape[2:] == (1,) else source)
            return
        with Image.open(source) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Unreadable(_TOO_MANY)
            yield image
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        raise Unreadable(_reason(error, source)) from error


_TOO_MANY = f"more than {MAX_PIXELS // 10**6} million pixels"


def _reason(error: Exception, source: Path | ByteArray) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, Image.DecompressionBombError):
        return _TOO_MANY
    if isinstance(source, Path) and source.is_dir():
        return "a folder, not a file"
    if isinstance(source, Path) and source.stat().st_size == 0:
        return "an empty file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of an unknown format"
    text = " ".join(str(error).split()) or type(error).__name__
    return "truncated" if "truncated" in text.lower() else f"damaged ({text})"


def _scaled(image: Image.Image, size: int, mode: str, resize: str) -> ByteArray:
    """Decode, scale (antialiased) and turn an image: (height, width[, 3]) uint8, at most size by size."""
    width, height = size, size
    if resize == "pad":
        longer = max(image.size)
        width, height = (max(1, round(size * side / longer)) for side in image.size)
    # A JPEG can be decoded at 1/2, 1/4 or 1/8: much quicker, and still twice the size that is wanted. Its
    # last pixels may then lie half outside the picture, so the region is a fraction.
    draft = image.draft(None, (2 * width, 2 * height))
    image.load()
    left, top, right, bottom = draft[1] if draft else (0.0, 0.0, *image.size)
    if resize == "crop":
        side = min(right, bottom)
        left, top = (right - side) / 2, (bottom - side) / 2
        right, bottom = left + side, top + side
    small = _flat(image, mode).resize(
        (width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=2.0
    )
    turn = _turn(image)
    return np.asarray(small if turn is None else small.transpose(turn))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what sets a loaded image upright."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data says nothing about the pixels
        return None


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """Return any image as mode "L" or "RGB": 8 bits, no transparency."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BITS):
        wide = np.asarray(image).astype(np.uint32)
        if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
            wide = 65535 - wide  # white is zero in this TIFF: Pillow inverts 8 bits, but not 16
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise Unreadable("32-bit pixels, whose range is unknown; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)
