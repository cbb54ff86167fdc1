"""One image → uint8 pixels of one size: the place that knows what image files may hold.

- A file is what its content says, whatever its name says. docs/formats.md lists what comes out of what.
- The EXIF orientation is applied. Of several frames or pages the first counts, and that is told. Colour
  profiles are ignored.
- Transparent pixels are laid over white, as most viewers and the web do; or over black, where that is set.
- More than 8 bits become 8 by one stated rule: depth.py.
- Whatever cannot be decoded raises :class:`Unreadable`: it is never replaced and never half decoded.

Letters: C channels, 1 (gray) or 3 (RGB).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from sit2.data.depth import narrow
from sit2.data.dicom import dicom_channels, is_dicom, read_dicom
from sit2.data.image import Decoding, Tell, Unreadable, UnreadableNow, Wide
from sit2.data.jpeg import decode_jpeg, upright
from sit2.data.tiff import is_tiff, read_tiff, tiff_channels
from sit2.records import ByteArray

FRAMES = "with several frames or pages, of which the first is taken"

# What Pillow may be asked to read. It knows more, among them PostScript, which would run as a program.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
_HEAD = 132  # bytes that tell the formats apart
_MODES = {1: "L", 3: "RGB"}
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
_DEEP_GRAY = "LA;16B"  # of a PNG of 16 bits with alpha, which Pillow makes RGBA
_SIXTEEN_BITS = ("PNG", "PPM")  # formats whose gray pixels of mode "I" are 16 bits wide
_BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339  # TIFF tags
_WHITE_IS_ZERO, _SEPARATE, _UNSIGNED = 0, 2, 1  # and what they may say
_LARGE = 30_000_000  # pixels; so large images are decoded one at a time, not one in each thread
_one_at_a_time = threading.Lock()
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation → what sets it upright


def _tell_nobody(_note: str) -> None:
    """Stand in for who wants to know."""


def decode(source: Path | ByteArray, how: Decoding, tell: Tell = _tell_nobody) -> ByteArray:
    """Return an image file, or an array (H, W[, 1|3|4]), as (C, size, size) uint8.

    ``tell`` is called with what is worth knowing of an image that could be read, such as :data:`FRAMES`.

    Raises:
        Unreadable: with the reason.
    """
    if isinstance(source, np.ndarray):
        pixels = _scaled(Image.fromarray(source[:, :, 0] if source.shape[2:] == (1,) else source), how, tell)
    else:
        with _reading(source) as file:
            pixels = _decoded(file, how, tell)
    size, channels = how.size, how.channels
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
    with _reading(source) as file:
        head = _head(file)
        if is_dicom(head):
            return dicom_channels(file)
        try:
            image = Image.open(file, formats=_FORMATS)
        except UnidentifiedImageError:
            if is_tiff(head):
                return tiff_channels(file)
            raise
        if image.mode == "P":
            red, green, blue = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3).T
            return 1 if (red == green).all() and (green == blue).all() else 3
        gray = image.mode in _GRAY_MODES or image.mode.startswith("I;16") or _kind(image) == _DEEP_GRAY
        return 1 if gray else 3


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep what the decoders say about odd files off the screen: what matters becomes a reason.

    To be entered in one thread only, around the work of the others: all this is global. Pillow's own limit of
    pixels is lifted meanwhile, in favour of ours.
    """
    limit, log = Image.MAX_IMAGE_PIXELS, logging.getLogger("tifffile")
    level = log.level
    with warnings.catch_warnings():
        for module in ("PIL", "pydicom", "tifffile"):
            warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
        Image.MAX_IMAGE_PIXELS = None
        log.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
            log.setLevel(level)


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, once; whatever goes wrong with it, then or later, becomes :class:`Unreadable`."""
    try:
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):  # opening a pipe would wait for ever
            folder = stat.S_ISDIR(before.st_mode)
            raise Unreadable("a folder, not a file" if folder else "a pipe or device, not a file")
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
        image = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        if is_tiff(head):
            return _narrowed(read_tiff(file, how), how, tell)
        raise
    how.check_size(*image.size)
    if getattr(image, "is_animated", False):
        tell(FRAMES)
    if _has_deep_colour(image) and (how.depth_window != "full" or _is_planar(image)):
        return _narrowed(_deep_colour(image, file, how), how, tell)
    large = image.width * image.height > _LARGE
    with _one_at_a_time if large else contextlib.nullcontext():
        return _scaled(image, how, tell)


def _narrowed(wide: Wide, how: Decoding, tell: Tell) -> ByteArray:
    return _scaled(Image.fromarray(narrow(wide, how.depth_window, tell)), how, tell)


def _has_deep_colour(image: Image.Image) -> bool:
    """Tell whether samples have 16 bits, of which Pillow keeps the upper 8."""
    if image.mode not in ("RGB", "RGBA"):
        return False
    return ";16" in _kind(image) or any(bits > 8 for bits in _tags(image).get(_BITS, ()))


def _kind(image: Image.Image) -> str:
    """Return how a PNG's pixels lie in the file, as Pillow names it: "RGB;16B"."""
    tiles = getattr(image, "tile", ())
    return str(tiles[0].args) if image.format == "PNG" and tiles else ""


def _is_planar(image: Image.Image) -> bool:
    """Tell a TIFF of one plane for each colour: with 16 bits, Pillow would read the lower 8."""
    return bool(_tags(image).get(_PLANAR, 1) == _SEPARATE)


def _deep_colour(image: Image.Image, file: IO[bytes], how: Decoding) -> Wide:
    """Read colour of 16 bits at its full depth.

    Pillow has no such mode, but it can be asked for either byte of each sample: it takes the upper one, so
    when told that the bytes stand the other way round, it takes the lower one.
    """
    if _is_planar(image):
        return read_tiff(file, how)
    if _kind(image) == _DEEP_GRAY:
        raise Unreadable("gray of 16 bits with transparency, which only --depth-window full can read")
    lower = Image.open(file, formats=_FORMATS)
    tiles: Any = [tile._replace(args=_other_byte(tile.args)) for tile in getattr(lower, "tile", ())]
    lower.tile = tiles
    pixels = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    return Wide(upright(pixels, _orientation(image)), (0.0, 65535.0))


def _other_byte(args: Any) -> Any:
    """Swap the order of bytes in a decoder's arguments, of which the first is the kind of pixels."""
    if isinstance(args, tuple):
        return (_other_byte(args[0]), *args[1:])
    native = "L" if sys.byteorder == "little" else "B"
    order = args[-1].replace("N", native)
    return args[:-1] + ("B" if order == "L" else "L")


def _scaled(image: Image.Image, how: Decoding, tell: Tell) -> ByteArray:
    """Decode, scale (antialiased) and turn an image: (height, width[, 3]) uint8, at most size by size."""
    width, height = how.size, how.size
    if how.resize == "pad":
        longer = max(image.size)
        width, height = (max(1, round(how.size * side / longer)) for side in image.size)
    # A JPEG can be decoded at 1/2, 1/4 or 1/8: much quicker, and still twice the size that is wanted. Its
    # last pixels may then lie half outside the picture, so the region is a fraction.
    draft = image.draft(None, (2 * width, 2 * height))
    image.load()
    left, top, right, bottom = draft[1] if draft else (0.0, 0.0, *image.size)
    if how.resize == "crop":
        side = min(right, bottom)
        left, top = (right - side) / 2, (bottom - side) / 2
        right, bottom = left + side, top + side
    small = _flat(image, how, tell).resize(
        (width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=2.0
    )
    turn = _TURNS.get(_orientation(image))
    return np.asarray(small if turn is None else small.transpose(turn))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data says nothing about the pixels
        return 1


def _flat(image: Image.Image, how: Decoding, tell: Tell) -> Image.Image:
    """Return any image as mode "L" or "RGB": 8 bits, no transparency."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(narrow(_wide(image), how.depth_window, tell))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, how.background), image)
    mode = _MODES[how.channels]
    return image if image.mode == mode else image.convert(mode)


def _wide(image: Image.Image) -> Wide:
    """Return gray pixels of more than 8 bits, with the range that their file declares."""
    pixels, tags = np.asarray(image), _tags(image)
    bits = 16
    if image.mode == "F" or (image.mode == "I" and image.format not in _SIXTEEN_BITS):
        bits = 32
    bits = max(tags.get(_BITS, (bits,)))
    unsigned = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED
    full = None
    if bits <= 16:
        full = (0.0, 2.0**bits - 1) if unsigned else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    elif image.mode == "I" and tags and unsigned:
        pixels = pixels.view(np.uint32)  # Pillow has signed numbers only
    # Pillow inverts 8 bits where white is zero, but not 16.
    return Wide(pixels, full, inverted=tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def _tags(image: Image.Image) -> Any:
    """Return the tags of a TIFF, nothing for other formats."""
    return getattr(image, "tag_v2", {})
