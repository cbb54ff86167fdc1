"""What may lie in a folder of images, and what comes out of it: the rows of docs/formats.md, as files.

Every case writes one file and returns the pixels that are expected of it, worked out without sit2.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

SIDE = 16  # pixels: what is decoded at its own size is not scaled, so it can be compared exactly
RNG = np.random.default_rng(3)
START = RNG.bit_generator.state


@dataclass(frozen=True)
class Case:
    """A row of the page."""

    fed: str
    out: str
    name: str  # of the file
    write: Callable[[Path], Any]  # returns (SIDE, SIDE[, 3]) expected
    channels: int
    how: dict[str, Any] = field(default_factory=dict)
    note: str = ""  # what is told
    atol: int = 0

    def make(self, path: Path) -> np.ndarray:
        """Write the file, the same whichever case came before; return the pixels expected."""
        RNG.bit_generator.state = START
        return np.asarray(self.write(path)).astype(int)


CASES: list[Case] = []


def case(fed: str, out: str, name: str, *, channels: int = 1, note: str = "", atol: int = 0, **how: Any):
    def add(make: Callable[[Path], Any]) -> Callable[[Path], Any]:
        CASES.append(Case(fed, out, name, make, channels, how, note, atol))
        return make

    return add


def noise(*channels: int, kind: Any = np.uint8, side: int = SIDE) -> np.ndarray:
    high = int(np.iinfo(kind).max) if np.issubdtype(kind, np.integer) else 1
    low = int(np.iinfo(kind).min) if np.issubdtype(kind, np.integer) else 0
    values = low + (high - low) * RNG.random((side, side, *channels))
    return values.round().astype(kind) if np.issubdtype(kind, np.integer) else values.astype(kind)


def smooth(*channels: int) -> Image.Image:
    """Without fine detail, which JPEG keeps well."""
    return Image.fromarray(noise(*channels)[:4, :4]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    share = (np.asarray(values, np.float64) - low) / (high - low)
    return np.floor(255 * share.clip(0, 1) + 0.5).astype(np.uint8)


def over(pixels: np.ndarray, alpha: np.ndarray, background: int = 255) -> np.ndarray:
    share = (alpha / 255.0)[..., None] if pixels.ndim == 3 else alpha / 255.0
    return np.round(pixels * share + background * (1 - share)).astype(np.uint8)


# JPEG


@case("JPEG", "three channels", "a.jpg", channels=3, atol=3)
def _(path):
    smooth(3).save(path, quality=95)
    return Image.open(path)


@case("JPEG, gray", "one channel", "a.jpg", atol=1)
def _(path):
    smooth().save(path, quality=95)
    return Image.open(path)


@case("JPEG, progressive", "three channels", "a.jpg", channels=3, atol=3)
def _(path):
    smooth(3).save(path, quality=95, progressive=True)
    return Image.open(path)


@case("JPEG, CMYK", "RGB", "a.jpg", channels=3, atol=3)
def _(path):
    smooth(3).convert("CMYK").save(path, quality=95)
    return Image.open(path).convert("RGB")


for turn in range(1, 9):

    @case(f"JPEG, EXIF orientation {turn}", "upright", "a.jpg", channels=3, atol=12)
    def _(path, turn=turn):
        exif = Image.Exif()
        exif[0x0112] = turn
        image = smooth(3)
        image.save(path, quality=100, exif=exif, subsampling=0)
        pixels = np.asarray(image)
        pixels = pixels.swapaxes(0, 1) if turn > 4 else pixels
        pixels = pixels[:, ::-1] if turn in (2, 3, 6, 7) else pixels
        return pixels[::-1] if turn in (3, 4, 7, 8) else pixels


# PNG


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
    note="whose values fill less than a sixteenth of their range (see --depth-window)",
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
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = b"".join(png_rows(pixels[top::down, left::right]) for top, left, down, right in passes)
    png(path, 8, 2, rows, interlaced=True)
    return pixels


@case("PNG, named .jpg", "read as PNG", "a.jpg", channels=3)
def _(path):
    pixels = noise(3)
    Image.fromarray(pixels).save(path, format="PNG")
    return pixels


# TIFF


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


FIRST = "with several frames or pages, of which the first is taken"


@case("TIFF, several pages", "the first page, said", "a.tif", note=FIRST)
def _(path):
    pages = [noise() for _ in range(3)]
    tifffile.imwrite(path, np.stack(pages), photometric="minisblack")
    return pages[0]


# The other formats


@case("BMP", "the same pixels", "a.bmp", channels=3)
def _(path):
    pixels = noise(3)
    Image.fromarray(pixels).save(path)
    return pixels


@case("WebP", "three channels", "a.webp", channels=3)
def _(path):
    pixels = noise(3)
    Image.fromarray(pixels).save(path, lossless=True)
    return pixels


@case("GIF, several frames", "the first frame, said", "a.gif", note=FIRST)
def _(path):
    frames = [Image.fromarray(noise()) for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return np.asarray(frames[0])


@case("PGM", "the same pixels", "a.pgm")
def _(path):
    pixels = noise()
    Image.fromarray(pixels).save(path)
    return pixels


# DICOM


def dicom(
    path: Path, pixels: np.ndarray, bits: int, *, syntax: Any = ExplicitVRLittleEndian, **more: Any
) -> Any:
    """Write a DICOM file of one image; return it as pydicom reads it."""
    meta, data = FileMetaDataset(), Dataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        SecondaryCaptureImageStorage,
    )
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.file_meta, data.SOPClassUID = meta, SecondaryCaptureImageStorage
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    data.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * pixels.itemsize, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(data, name, value)
    if syntax != ExplicitVRLittleEndian:
        data.compress(syntax)
    data.save_as(path, enforce_file_format=True)
    return pydicom.dcmread(path)


@case("DICOM, 12 bits", "0…4095 become 0…255", "a.dcm")
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    dicom(path, pixels, 12)
    return to_bytes(pixels, 0, 4095)


@case("DICOM, 16 bits, RLE", "0…65535 become 0…255", "a.dcm")
def _(path):
    pixels = noise(kind=np.uint16)
    dicom(path, pixels, 16, syntax=RLELossless)
    return to_bytes(pixels, 0, 65535)


@case("DICOM, MONOCHROME1", "inverted: high values are bright", "a.dcm")
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    dicom(path, pixels, 12, PhotometricInterpretation="MONOCHROME1")
    return 255 - to_bytes(pixels, 0, 4095)


@case("DICOM with a window", "the first window becomes 0…255", "a.dcm", atol=1)
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    data = dicom(path, pixels, 12, WindowCenter=[1800, 40], WindowWidth=[900, 400])
    return to_bytes(apply_voi_lut(pixels, data), 0, 4095)


@case("DICOM with a window, LINEAR_EXACT", "the same", "a.dcm", atol=1)
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    more = {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "LINEAR_EXACT"}
    return to_bytes(apply_voi_lut(pixels, dicom(path, pixels, 12, **more)), 0, 4095)


@case("DICOM with a window, SIGMOID", "the file's curve", "a.dcm", atol=1)
def _(path):
    pixels = noise(kind=np.uint16) >> 4
    more = {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}
    return to_bytes(apply_voi_lut(pixels, dicom(path, pixels, 12, **more)), 0, 4095)


@case("DICOM with a table of values (VOI LUT)", "the file's table", "a.dcm", atol=1)
def _(path):
    pixels, table = noise(kind=np.uint16) >> 8, Dataset()
    table.LUTDescriptor = [256, 0, 12]
    table.LUTData = (np.arange(256) ** 2 // 16).astype(np.uint16).tobytes()
    data = dicom(path, pixels, 8, VOILUTSequence=[table])
    return to_bytes(apply_voi_lut(pixels, data), 0, 4095)


@case(
    "DICOM, slope, intercept and window (a CT)",
    "the window, in Hounsfield units",
    "a.dcm",
    atol=1,
)
def _(path):
    pixels = noise(kind=np.int16) >> 4
    more = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    dicom(path, pixels, 12, **more)
    units = pixels * 2.0 - 1024
    return to_bytes(units, 40 - 0.5 - 399 / 2, 40 - 0.5 + 399 / 2)


@case(
    "DICOM, a CT, `--depth-window -1000,400`",
    "-1000…400 Hounsfield units become 0…255",
    "a.dcm",
    depth_window="-1000,400",
    atol=1,
)
def _(path):
    pixels = noise(kind=np.int16) >> 4
    more = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    dicom(path, pixels, 12, **more)
    return to_bytes(pixels * 2.0 - 1024, -1000, 400)


@case("DICOM, RGB", "the same pixels", "a.dcm", channels=3)
def _(path):
    pixels = noise(3)
    dicom(path, pixels, 8)
    return pixels


@case("DICOM without a suffix", "read by its content", "IM0001")
def _(path):
    pixels = noise()
    dicom(path, pixels, 8)
    return pixels
