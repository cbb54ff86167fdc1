"""The rows of docs/formats.md on PNG."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from format_tools import SIDE, case, noise, over, smooth, to_bytes
from PIL import Image


def png(path: Path, bits: int, kind: int, rows: bytes, *, interlaced: bool = False) -> None:
    """Write a PNG of SIDE × SIDE from its rows, each with its filter in front."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, bits, kind, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def png_rows(pixels: np.ndarray) -> bytes:
    """Rows of 8- or 16-bit samples, unfiltered."""
    return b"".join(b"\0" + row.astype(pixels.dtype.newbyteorder(">")).tobytes() for row in pixels)


@case("PNG, 1 bit", "one channel, 0 and 255", "a.png")
def _(path):
    bits = noise() > 127
    Image.fromarray(bits).save(path)
    return bits * np.uint8(255)


@case("PNG, 4 bits", "one channel, 15 becomes 255", "a.png")
def _(path):
    values = noise() >> 4
    packed = (values[:, ::2] << 4) | values[:, 1::2]
    png(path, 4, 0, png_rows(packed))
    return values * 17


@case("PNG, 8 bits", "the same pixels", "a.png")
def _(path):
    pixels = noise()
    Image.fromarray(pixels).save(path)
    return pixels


@case("PNG, 16 bits", "0…65535 become 0…255", "a.png")
def _(path):
    pixels = noise(kind=np.uint16)
    png(path, 16, 0, png_rows(pixels))
    return to_bytes(pixels, 0, 65535)


@case(
    "PNG, 16 bits, `--depth-window 1000,5000`",
    "1000…5000 become 0…255",
    "a.png",
    depth_window="1000,5000",
    atol=1,
)
def _(path):
    pixels = noise(kind=np.uint16) // 8
    png(path, 16, 0, png_rows(pixels))
    return to_bytes(pixels, 1000, 5000)


@case(
    "PNG, 16 bits, `--depth-window percentile`",
    "percentiles 0.5 and 99.5 become 0 and 255",
    "a.png",
    depth_window="percentile",
    atol=1,
)
def _(path):
    pixels = noise(kind=np.uint16) // 50 + 300
    png(path, 16, 0, png_rows(pixels))
    return to_bytes(pixels, *np.percentile(pixels, [0.5, 99.5]))


@case(
    "PNG, 16 bits, of which 12 are used",
    "0…65535 become 0…255: nearly black, and said",
    "a.png",
    note="whose values fill less than a sixteenth of their range (see --depth-window of `sit2 train`)",
)
def _(path):
    pixels = noise(kind=np.uint16) // 17
    png(path, 16, 0, png_rows(pixels))
    return to_bytes(pixels, 0, 65535)


@case("PNG, colour of 16 bits", "the upper 8 bits", "a.png", channels=3)
def _(path):
    pixels = noise(3, kind=np.uint16)
    png(path, 16, 2, png_rows(pixels))
    return (pixels >> 8).astype(np.uint8)


@case(
    "PNG, colour of 16 bits, `--depth-window 1000,5000`",
    "1000…5000 become 0…255",
    "a.png",
    channels=3,
    depth_window="1000,5000",
    atol=1,
)
def _(path):
    pixels = noise(3, kind=np.uint16) // 8
    png(path, 16, 2, png_rows(pixels))
    return to_bytes(pixels, 1000, 5000)


@case("PNG, palette", "three channels", "a.png", channels=3)
def _(path):
    smooth(3).convert("P").save(path)
    return Image.open(path).convert("RGB")


@case("PNG, palette of grays", "one channel", "a.png")
def _(path):
    image = Image.fromarray(noise()).convert("P")
    image.putpalette([value for value in range(256) for _ in range(3)])
    image.save(path)
    return Image.open(path).convert("L")


@case("PNG, palette with transparency", "over white", "a.png", channels=3)
def _(path):
    places, palette, alpha = noise() % 4, noise(3)[0, :4], np.array([0, 51, 204, 255], np.uint8)
    image = Image.fromarray(places).convert("P")
    image.putpalette(palette.tobytes())
    image.putdata(places.ravel().tolist())
    image.save(path, transparency=alpha.tobytes())
    return over(palette[places], alpha[places])


@case("PNG, gray with alpha", "over white, one channel", "a.png", atol=1)
def _(path):
    pixels = noise(2)
    Image.fromarray(pixels).save(path)
    return over(pixels[..., 0], pixels[..., 1])


@case("PNG, gray of 16 bits with alpha", "the upper 8 bits over white, one channel", "a.png", atol=1)
def _(path):
    pixels = noise(2, kind=np.uint16)
    png(path, 16, 4, png_rows(pixels))
    return over(pixels[..., 0] >> 8, pixels[..., 1] >> 8)


@case("PNG, RGBA", "over white", "a.png", channels=3, atol=1)
def _(path):
    pixels = noise(4)
    Image.fromarray(pixels).save(path)
    return over(pixels[..., :3], pixels[..., 3])


@case("PNG, RGBA, `--background black`", "over black", "a.png", channels=3, atol=1, background="black")
def _(path):
    pixels = noise(4)
    Image.fromarray(pixels).save(path)
    return over(pixels[..., :3], pixels[..., 3], 0)


@case("PNG, interlaced", "the same pixels", "a.png", channels=3)
def _(path):
    pixels = noise(3)
    samples_seen = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = b"".join(png_rows(pixels[top::down, left::right]) for top, left, down, right in samples_seen)
    png(path, 8, 2, rows, interlaced=True)
    return pixels


@case("PNG, named .jpg", "read as PNG", "a.jpg", channels=3)
def _(path):
    pixels = noise(3)
    Image.fromarray(pixels).save(path, format="PNG")
    return pixels
