"""What systems, network drives and programs leave among images is no data; what is not read is said to be so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sit2.data.decoding.unsupported import FOREIGN
from sit2.data.pixels import load_pixels
from sit2.data.readers import read_dataset, read_images
from sit2.errors import DataError

Save = Callable[..., Path]
SYSTEM = (
    *("@eaDir", "#recycle", "$RECYCLE.BIN", ".@__thumb", "lost+found", "System Volume Information"),
    *(
        ".ipynb_checkpoints",
        "@Recycle",
        "@Recently-Snapshot",
        "#snapshot",
        "__MACOSX",
        "RECYCLER",
        ".Trashes",
    ),
)


@pytest.fixture(name="photos")
def _photos(save_image: Save, tmp_path: Path) -> Path:
    for place in ("ant/1.png", "ant/2.png", "bee/1.png", "bee/2.png"):
        save_image(f"photos/{place}")
    return tmp_path / "photos"


@pytest.mark.parametrize("name", [*SYSTEM, "@EADIR"])
@pytest.mark.parametrize("place", ["", "ant/", "ant/old/"])
def test_system_folders(photos: Path, save_image: Save, name: str, place: str) -> None:
    for picture in ("1.png", "ant/1.png", "S-1-5/x.jpg"):
        save_image(f"photos/{place}{name}/{picture}")
    found = read_dataset(photos)
    assert found.ids == ("ant/1.png", "ant/2.png", "bee/1.png", "bee/2.png")
    assert f"ignored 1 hidden or system file or folder: {place}{name}" in found.notes
    assert read_images(photos, found.classes).ids == found.ids


@pytest.mark.parametrize(
    "suffix", ["heic", "HEIC", "avif", "jp2", "svs", "cr2", "NEF", "dng", "nii.gz", "czi"]
)
class TestKindsThatAreNotRead:
    def test_among_others(self, photos: Path, suffix: str) -> None:
        (photos / "ant" / f"phone.{suffix}").write_bytes(b"x")
        (photos / "ant" / "notes.txt").write_bytes(b"x")
        assert read_dataset(photos).notes == (
            "ignored 1 file that is not an image: ant/notes.txt",
            (
                f"ignored 1 image of a kind that is not read: ant/phone.{suffix}; "
                "convert them, for example to PNG or TIFF"
            ),
        )

    def test_alone(self, tmp_path: Path, suffix: str) -> None:
        file = tmp_path / "photos" / "ant" / f"1.{suffix}"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
        for read in (lambda: read_dataset(file.parent.parent), lambda: read_images(file.parent, ("ant",))):
            with pytest.raises(
                DataError, match=r"no image of a kind that is read, .*: (ant/)?1\..*\nconvert"
            ):
                read()
        with pytest.raises(DataError, match=r"is an image, but not of a kind that is read\nconvert"):
            read_images(file, ("ant",))


@pytest.mark.parametrize(
    "content",
    [b"\0\0\0\x18ftypheic", b"\0\0\0\x20ftypavif", b"\0\0\0\x0cjP  \r\n\x87\n", b"8BPS\0\1"],
)
def test_by_content_whatever_the_name(photos: Path, content: bytes) -> None:
    (photos / "ant" / "3.jpg").write_bytes(content + bytes(200))
    pixels = load_pixels(read_dataset(photos), size=8)
    assert [problem for problem in pixels.problems if problem] == [FOREIGN]
