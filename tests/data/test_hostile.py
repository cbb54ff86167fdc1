"""Every row of the second table of docs/formats.md: what is broken gets the problem that it says."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from format_dicom import dicom
from format_tools import SIDE, noise
from PIL import Image

from sit2.data.decoding import decode as module
from sit2.data.decoding.decode import decode
from sit2.data.decoding.header import channels_of
from sit2.data.decoding.image import Decoding, Unreadable, UnreadableNow
from sit2.storage.process_state import quiet_libraries

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


@dataclass(frozen=True)
class Hostile:
    """A row of the page."""

    fed: str
    problem: str
    name: str  # of the file
    make: Callable[[Path], Any]
    how: dict[str, Any] = field(default_factory=dict)


CASES: list[Hostile] = []


def hostile(fed: str, problem: str, name: str, **how: Any):
    def add(make: Callable[[Path], Any]) -> None:
        CASES.append(Hostile(fed, problem, name, make, how))

    return add


def half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


for kind in ("jpg", "png", "tif", "gif", "bmp"):

    @hostile(f"half a file (.{kind})", "truncated", f"a.{kind}")
    def _(path):
        Image.fromarray(noise(3, side=41)).save(path)
        half(path)


@hostile("half a file (.webp)", "damaged (could not create decoder object)", "a.webp")
def _(path):
    Image.fromarray(noise(3, side=41)).save(path)
    half(path)


@hostile("half a DICOM file", "truncated", "a.dcm")
def _(path):
    dicom(path, noise(side=41), 8)
    half(path)


@hostile("a file of zero bytes", "an empty file", "a.jpg")
def _(path):
    path.write_bytes(b"")


@hostile("a text named .jpg", "not an image, or of an unknown format", "a.jpg")
def _(path):
    path.write_text("<html>404 not found</html>")


@hostile("PostScript named .png, which is a program", "not an image, or of an unknown format", "a.png")
def _(path):
    Image.fromarray(noise(3)).save(path, format="EPS")


@hostile(
    "a bomb: a small PNG of many pixels",
    "9,000 × 9,000 pixels, more than 80 million (see --max-megapixels)",
    "a.png",
    max_megapixels=80,
)
def _(path):
    Image.new("1", (9000, 9000)).save(path)


@hostile(
    "a JPEG of too many pixels",
    "1,200 × 1,000 pixels, more than 1 million (see --max-megapixels)",
    "a.jpg",
    max_megapixels=1,
)
def _(path):
    Image.new("L", (1200, 1000)).save(path)


@hostile(
    "a DICOM file of too many pixels",
    "1,200 × 1,000 pixels, more than 1 million (see --max-megapixels)",
    "a.dcm",
    max_megapixels=1,
)
def _(path):
    dicom(path, np.zeros((1000, 1200), np.uint8), 8)


@hostile(
    "DICOM, several frames",
    "a DICOM file of 3 frames: save the ones that count as files of their own",
    "a.dcm",
)
def _(path):
    dicom(path, noise(), 8, NumberOfFrames=3, PixelData=noise(3).tobytes())


@hostile("DICOM without an image", "a DICOM file without an image", "a.dcm")
def _(path):
    data = dicom(path, noise(), 8)
    del data.PixelData
    data.save_as(path)


@hostile(
    "DICOM of a compression without a decoder here",
    "a DICOM file compressed as JPEG Lossless, Non-Hierarchical (Process 14), "
    "which needs: pip install 'pylibjpeg[all]'",
    "a.dcm",
)
def _(path):
    from pydicom.encaps import encapsulate

    data = dicom(path, noise(), 8)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.57"
    data.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.save_as(path)


@hostile(
    "TIFF, floats beyond 0 to 1",
    "float pixels from -5 to 15, but full means 0 to 1: train with --depth-window LO,HI or percentile",
    "a.tif",
)
def _(path):
    tifffile.imwrite(path, np.linspace(-5, 15, 64, dtype=np.float32).reshape(8, 8))


@hostile(
    "TIFF, 32-bit whole numbers",
    "32-bit pixels, whose range is unknown (here 0 to 4095): train with --depth-window LO,HI or percentile",
    "a.tif",
)
def _(path):
    tifffile.imwrite(path, np.arange(4096, dtype=np.int32).reshape(64, 64))


@hostile("TIFF with NaN among its floats", "pixels that are no numbers (NaN or infinite)", "a.tif")
def _(path):
    pixels = noise(kind=np.float32)
    pixels[3, 3] = np.nan
    tifffile.imwrite(path, pixels)


@hostile(
    "TIFF, two stains",
    "a TIFF file of 2 channels, more than gray or RGB: train with --channels-from 0,1,1 to choose",
    "a.tif",
)
def _(path):
    tifffile.imwrite(path, noise(2), photometric="minisblack", planarconfig="contig", extrasamples=[0])


@hostile(
    "TIFF, RGB and a fourth channel of no stated meaning",
    "a TIFF file of 4 channels, more than gray or RGB: train with --channels-from 0,1,2 to choose",
    "a.tif",
)
def _(path):
    tifffile.imwrite(path, noise(4), photometric="rgb", extrasamples=[0])


@hostile(
    "TIFF, four stains of 16 bits, a plane for each",
    "a TIFF file of 4 channels, more than gray or RGB: train with --channels-from 0,1,2 to choose",
    "a.tif",
)
def _(path):
    pixels = noise(4, kind=np.uint16).transpose(2, 0, 1)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="separate")


@hostile(
    "TIFF, gray, `--channels-from 0,1,1`",
    "it has 1 channel, and --channels-from names number 1 (the first is 0)",
    "a.tif",
    channels_from=(0, 1, 1),
)
def _(path):
    tifffile.imwrite(path, noise())


@hostile(
    "TIFF, five channels",
    "a TIFF file of 5 channels, more than gray or RGB: train with --channels-from 0,1,2 to choose",
    "a.tif",
)
def _(path):
    tifffile.imwrite(path, noise(5), photometric="minisblack", planarconfig="contig")


@hostile(
    "PNG, gray of 16 bits with alpha, `--depth-window percentile`",
    "gray of 16 bits with transparency, which only --depth-window full can read",
    "a.png",
    depth_window="percentile",
)
def _(path):
    from format_png import png, png_rows

    png(path, 16, 4, png_rows(noise(2, kind=np.uint16)))


@hostile("a folder named like an image", "a folder, not a file", "a.jpg")
def _(path):
    path.mkdir()


@hostile("a link to nothing", "no such file", "a.jpg")
def _(path):
    path.symlink_to("nowhere.jpg")


@hostile("a link to itself", "a link that leads back to itself", "a.jpg")
def _(path):
    path.symlink_to("a.jpg")


@hostile("a pipe named like an image", "not a file, but a device or a pipe", "a.jpg")
def _(path):
    os.mkfifo(path)


@hostile("a file of more than 2 GB", "more than 2,048 MB", "a.png")
def _(path):
    Image.fromarray(noise()).save(path)
    os.truncate(path, (1 << 31) + 1)  # a hole: it takes no room on the disk


@hostile("a link to /dev/zero", "not a file, but a device or a pipe", "a.jpg")
def _(path):
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
@pytest.mark.parametrize("case", CASES, ids=[c.fed for c in CASES])
def test_what_is_said(tmp_path, case, capfd):
    path = tmp_path / case.name
    case.make(path)
    with quiet_libraries():
        with pytest.raises(Unreadable) as caught:
            decode(path, Decoding(SIDE, 3, **case.how))
        with contextlib.suppress(Unreadable):  # the header alone may be fine
            channels_of(path)
    assert str(caught.value) == case.problem
    assert capfd.readouterr() == ("", "")  # no decoder speaks to the screen


def test_the_page_has_these_rows():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    for case in CASES:
        assert f"| {case.fed} | {case.problem} |" in rows


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 10_000), (10_000, 1), (2, 3)])
def test_absurd_sizes(tmp_path, shape, kind, resize):
    path = tmp_path / f"a.{kind}"
    Image.new("RGB", shape, (200, 100, 50)).save(path)
    pixels = decode(path, Decoding(SIDE, 3, resize))
    assert np.abs(pixels.astype(int) - np.array([200, 100, 50])[:, None, None]).max() <= 2


@pytest.mark.parametrize("package", ["pydicom", "tifffile"])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, package):
    dicom(tmp_path / "pydicom", noise(), 8)
    tifffile.imwrite(tmp_path / "tifffile", noise(kind=np.float64))
    monkeypatch.setitem(sys.modules, package, None)
    for task in (channels_of, lambda path: decode(path, Decoding(SIDE, 1))):
        with pytest.raises(UnreadableNow, match=r"pip install 'sit2\[(dicom|tiff)\]'$"):
            task(tmp_path / package)


def test_no_permission(tmp_path, monkeypatch):
    Image.fromarray(noise()).save(tmp_path / "a.png")

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root, who runs some tests, may read everything
    with pytest.raises(UnreadableNow, match=r"^no permission to read it$"):
        decode(tmp_path / "a.png", Decoding(SIDE, 1))


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)

    def slow(*args):
        with path.open("ab") as file:  # somebody still writes it
            file.write(b"more")
        return plain(*args)

    plain = module.scaled
    monkeypatch.setattr(module, "scaled", slow)
    with pytest.raises(UnreadableNow, match=r"^changed while it was read$"):
        decode(path, Decoding(SIDE, 1))


def test_large_images_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    running, most = [], []

    def scaled(*args):
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return plain(*args)

    plain = module.scaled
    monkeypatch.setattr(module, "scaled", scaled)
    for limit, together in ((SIDE * SIDE - 1, 1), (SIDE * SIDE, 8)):
        monkeypatch.setattr(module, "_LARGE", limit)
        most.clear()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: decode(tmp_path / "a.png", Decoding(SIDE, 1)), range(16)))
        assert max(most) == 1 if together == 1 else max(most) > 1


def test_opened_once(tmp_path, monkeypatch):
    opened = []
    plain = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: opened.append(self) or plain(self, *args))
    for kind in ("jpg", "png", "tif", "bmp"):
        path = tmp_path / f"a.{kind}"
        Image.fromarray(noise(3)).save(path)
        opened.clear()
        decode(path, Decoding(SIDE, 3))
        assert opened == [path]
