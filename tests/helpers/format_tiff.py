"""The rows of docs/formats.md on TIFF."""

from __future__ import annotations

import numpy as np
import tifffile
from format_tools import FIRST, case, noise, over, to_bytes
from PIL import Image


@case("TIFF, 8 bits", "the same pixels", "a.tif")
def _(path):
    pixels = noise()
    tifffile.imwrite(path, pixels)
    return pixels


@case("TIFF, 8 bits, white is zero", "inverted", "a.tif")
def _(path):
    pixels = noise()
    tifffile.imwrite(path, pixels, photometric="miniswhite")
    return 255 - pixels


@case("TIFF, 16 bits", "0…65535 become 0…255", "a.tif")
def _(path):
    pixels = noise(kind=np.uint16)
    tifffile.imwrite(path, pixels, compression="lzw")
    return to_bytes(pixels, 0, 65535)


@case("TIFF, 16 bits with sign", "-32768…32767 become 0…255", "a.tif")
def _(path):
    pixels = noise(kind=np.int16)
    tifffile.imwrite(path, pixels)
    return to_bytes(pixels, -32768, 32767)


@case("TIFF, 12 bits", "0…4095 become 0…255", "a.tif")
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    tifffile.imwrite(path, pixels, bitspersample=12)
    return to_bytes(pixels, 0, 4095)


@case("TIFF, colour of 16 bits", "the upper 8 bits", "a.tif", channels=3)
def _(path):
    pixels = noise(3, kind=np.uint16)
    tifffile.imwrite(path, pixels, photometric="rgb")
    return (pixels >> 8).astype(np.uint8)


@case(
    "TIFF, colour of 16 bits, `--depth-window 1000,5000`",
    "1000…5000 become 0…255",
    "a.tif",
    channels=3,
    depth_window="1000,5000",
    atol=1,
)
def _(path):
    pixels = noise(3, kind=np.uint16) // 8
    tifffile.imwrite(path, pixels, photometric="rgb", compression="zlib")
    return to_bytes(pixels, 1000, 5000)


@case("TIFF, colour of 16 bits, a plane for each (`sit2[tiff]`)", "0…65535 become 0…255", "a.tif", channels=3)
def _(path):
    pixels = noise(3, kind=np.uint16)
    tifffile.imwrite(path, pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    return to_bytes(pixels, 0, 65535)


@case("TIFF, gray with unassociated alpha", "over white, one channel", "a.tif", atol=1)
def _(path):
    pixels = noise(2)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", extrasamples=[2])
    return over(pixels[..., 0], pixels[..., 1])


@case(
    "TIFF, colour of 16 bits with associated alpha, a plane for each (`sit2[tiff]`)",
    "over white",
    "a.tif",
    channels=3,
    atol=2,
)
def _(path):
    pixels = noise(4, kind=np.uint16) | 1
    alpha = pixels[..., 3:] / 65535
    stored = np.concatenate([(pixels[..., :3] * alpha).astype(np.uint16), pixels[..., 3:]], axis=2)
    tifffile.imwrite(
        path, stored.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", extrasamples=[1]
    )
    return over(to_bytes(pixels[..., :3], 0, 65535), 255 * alpha[..., 0])


@case(
    "TIFF, two stains, `--channels-from 1` (`sit2[tiff]`)", "the second channel", "a.tif", channels_from=(1,)
)
def _(path):
    pixels = noise(2)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
    return pixels[..., 1]


@case(
    "TIFF, two stains, `--channels-from 0,1,1` (`sit2[tiff]`)",
    "these three channels",
    "a.tif",
    channels=3,
    channels_from=(0, 1, 1),
)
def _(path):
    pixels = noise(2)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
    return pixels[..., [0, 1, 1]]


@case(
    "TIFF, four stains of 16 bits, a plane for each, `--channels-from 3,0,1` (`sit2[tiff]`)",
    "these three channels",
    "a.tif",
    channels=3,
    channels_from=(3, 0, 1),
)
def _(path):
    pixels = noise(4, kind=np.uint16)
    tifffile.imwrite(path, pixels.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate")
    return to_bytes(pixels[..., [3, 0, 1]], 0, 65535)


@case("PNG, colour, `--channels-from 1`", "the green channel", "a.png", channels_from=(1,))
def _(path):
    pixels = noise(3)
    Image.fromarray(pixels).save(path)
    return pixels[..., 1]


@case("TIFF, floats from 0 to 1", "0…1 become 0…255", "a.tif", atol=1)
def _(path):
    pixels = noise(kind=np.float32)
    tifffile.imwrite(path, pixels)
    return to_bytes(pixels, 0, 1)


@case("TIFF, other floats, `--depth-window -3,9`", "-3…9 become 0…255", "a.tif", depth_window="-3,9", atol=1)
def _(path):
    pixels = noise(kind=np.float32) * 20 - 5
    tifffile.imwrite(path, pixels)
    return to_bytes(pixels, -3, 9)


@case("TIFF, floats of 64 bits (`sit2[tiff]`)", "0…1 become 0…255", "a.tif", atol=1)
def _(path):
    pixels = noise(kind=np.float64)
    tifffile.imwrite(path, pixels)
    return to_bytes(pixels, 0, 1)


@case(
    "TIFF, 32 bits, `--depth-window 0,3000000000`",
    "0…3000000000 become 0…255",
    "a.tif",
    depth_window="0,3000000000",
    atol=1,
)
def _(path):
    pixels = noise(kind=np.uint32)
    tifffile.imwrite(path, pixels)
    return to_bytes(pixels, 0, 3_000_000_000)


@case("TIFF, several pages", "the first page, said", "a.tif", note=FIRST)
def _(path):
    pages = [noise() for _ in range(3)]
    tifffile.imwrite(path, np.stack(pages), photometric="minisblack")
    return pages[0]
