"""What Pillow reads: nearly every format, made 8 bits, gray or RGB, and small.

A gray image of more than 8 bits comes from Pillow as it is, and is made 8 bits by bit_depth.py. Of colour with 16
bits Pillow keeps the upper 8, which is what "full" means; for other windows both bytes are read.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from sit2.data.decoding.bit_depth import narrow
from sit2.data.decoding.image import Decoding, Tell, Unreadable, Wide, chosen
from sit2.data.decoding.jpeg import upright
from sit2.data.decoding.tiff import Samples
from sit2.records import ByteArray

# What Pillow may be asked to read. It knows more, among them PostScript, which would run as a program.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
_PREFIX = 16  # bytes that tell a format
_MODES = {1: "L", 3: "RGB"}
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
_DEEP_GRAY = "LA;16B"  # of a PNG of 16 bits with alpha, which Pillow makes RGBA
_SIXTEEN_BITS = ("PNG", "PPM")  # formats whose gray pixels of mode "I" are 16 bits wide
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _SAMPLE_FORMAT = 258, 262, 277, 284, 338, 339  # TIFF tags
_WHITE_IS_ZERO, _SEPARATE, _UNSIGNED = 0, 2, 1  # and what they may say
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation → what sets it upright


def open_image(file: IO[bytes]) -> Image.Image:
    """Read the header of an image file, whatever its size: Pillow's own limit is a setting of the process.

    Raises:
        PIL.UnidentifiedImageError: it is of no known format.
    """
    Image.preinit()
    file.seek(0)
    head = file.read(_PREFIX)
    for name in _FORMATS:
        if name not in Image.OPEN:
            Image.init()
        make, accepts = Image.OPEN[name]
        if accepts is None or accepts(head) is True:
            file.seek(0)
            with contextlib.suppress(
                SyntaxError, IndexError, TypeError, struct.error
            ):  # it is not, after all
                return make(file, "")
    file.seek(0)
    raise UnidentifiedImageError("not an image, or of a format that is not read")


def is_gray(image: Image.Image) -> bool:
    """Tell whether an image that was opened has no colour: by its mode, or by its palette."""
    if image.mode == "P":
        red, green, blue = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3).T
        return bool((red == green).all() and (green == blue).all())
    return image.mode in _GRAY_MODES or image.mode.startswith("I;16") or _kind(image) == _DEEP_GRAY


def has_deep_colour(image: Image.Image) -> bool:
    """Tell whether samples have 16 bits, of which Pillow keeps the upper 8."""
    if image.mode not in ("RGB", "RGBA"):
        return False
    return ";16" in _kind(image) or any(bits > 8 for bits in _tags(image).get(_BITS, ()))


def _kind(image: Image.Image) -> str:
    """Return how a PNG's pixels lie in the file, as Pillow names it: "RGB;16B"."""
    tiles = getattr(image, "tile", ())
    return str(tiles[0].args) if image.format == "PNG" and tiles else ""


def samples_of(image: Image.Image) -> Samples | None:
    """Return what a pixel of a TIFF consists of, None for other formats."""
    tags = _tags(image)
    if not tags:
        return None
    return Samples(tags.get(_SAMPLES, 1), tags.get(_PHOTOMETRIC, 1), tuple(tags.get(_EXTRA, ())))


def bits_of(image: Image.Image) -> int:
    """Return the bits of a sample in the file: colour of 16 bits Pillow gives out as 8."""
    if (bits := _tags(image).get(_BITS)) is not None:
        return int(max(bits))
    if image.mode.startswith("I;16") or ";16" in _kind(image):
        return 16
    if image.mode == "I" and image.format in _SIXTEEN_BITS:
        return 16
    return {"1": 1, "I": 32, "F": 32}.get(image.mode, 8)


def is_planar(image: Image.Image) -> bool:
    """Tell a TIFF of one plane for each colour: with 16 bits, Pillow would read the lower 8."""
    return bool(_tags(image).get(_PLANAR, 1) == _SEPARATE)


def deep_colour(image: Image.Image, file: IO[bytes]) -> Wide:
    """Read colour of 16 bits at its full depth.

    Pillow has no such mode, but it can be asked for either byte of each sample: it takes the upper one, so
    when told that the bytes stand the other way round, it takes the lower one.
    """
    if _kind(image) == _DEEP_GRAY:
        raise Unreadable("gray of 16 bits with transparency, which only --depth-window full can read")
    lower: Any = open_image(file)
    lower.tile = [tile._replace(args=_other_byte(tile.args)) for tile in getattr(lower, "tile", ())]
    _load(image)
    _load(lower)
    pixels = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    return Wide(upright(pixels, _orientation(image)), (0.0, 65535.0))


def _other_byte(args: Any) -> Any:
    """Swap the order of bytes in a decoder's arguments, of which the first is the kind of pixels."""
    if isinstance(args, tuple):
        return (_other_byte(args[0]), *args[1:])
    native = "L" if sys.byteorder == "little" else "B"
    order = args[-1].replace("N", native)
    return args[:-1] + ("B" if order == "L" else "L")


def scaled(image: Image.Image, how: Decoding, tell: Tell) -> ByteArray:
    """Decode, scale (antialiased) and turn an image: (height, width[, 3]) uint8, at most size by size."""
    width, height = how.size, how.size
    if how.resize == "pad":
        longer = max(image.size)
        width, height = (max(1, round(how.size * side / longer)) for side in image.size)
    # A JPEG can be decoded at 1/2, 1/4 or 1/8: much quicker, and still twice the size that is wanted. Its
    # last pixels may then lie half outside the picture, so the region is a fraction.
    draft = image.draft(None, (2 * width, 2 * height))
    _load(image)
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


def _load(image: Any) -> None:
    """Decode an image that was opened, whatever its size.

    Of a TIFF, Pillow compares the size with the process's limit once more, unless there is room for it already.
    """
    size = getattr(image, "_tile_size", None)
    if size is not None and image._im is None:
        pillow: Any = Image
        image.im = pillow.core.new(image.mode, size)
    image.load()


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
    if how.channels_from:
        image = Image.fromarray(chosen(np.asarray(_plain(image)), how.channels_from))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, how.background), image)
    mode = _MODES[how.channels]
    return image if image.mode == mode else image.convert(mode)


def _plain(image: Image.Image) -> Image.Image:
    """Return an image whose channels can be counted: gray or colour, with opacity or without."""
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image
    return image.convert(("L" if is_gray(image) else "RGB") + ("A" if image.has_transparency_data else ""))


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
