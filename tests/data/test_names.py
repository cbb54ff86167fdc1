"""Names that accidents and attackers give to files and folders."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from format_dicom import dicom
from format_tools import noise
from PIL import Image

from sit2.data.pixels import load_pixels
from sit2.data.readers import read_dataset, read_images
from sit2.data.readers.validate import alike
from sit2.data.readers.walk import walk
from sit2.data.words import listed, unread

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems forbid some of these names")

ODD = (
    "with blank.png",
    "quo'te\".png",
    "line\nbreak.png",
    "escape\x1b[31m.png",
    "comma,semi;.png",
    "-o.png",
    "$(ls).png",
    unicodedata.normalize("NFC", "é.png"),
    unicodedata.normalize("NFD", "é.png"),
    "蟻🐜.png",
    "x" * 251 + ".png",
)


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(3)).save(path, format="PNG")
    return path


@pytest.fixture
def ants_and_bees(tmp_path):
    for name in ("ant", "bee"):
        for n in range(2):
            write(tmp_path / "set" / name / f"{n}.png")
    return tmp_path / "set"


def test_odd_names_are_read(ants_and_bees):
    for name in ODD:
        write(ants_and_bees / "ant" / name)
    dataset = read_dataset(ants_and_bees)
    assert {f"ant/{name}" for name in ODD} < set(dataset.ids)
    assert len(set(dataset.ids)) == len(ODD) + 4
    assert set(load_pixels(dataset, size=8).problems) == {""}


def test_names_that_are_not_utf8_are_left_out_and_said(ants_and_bees):
    for place in (b"/ant/bad\xff.png", b"/b\xe4d/1.png"):
        path = Path(os.fsdecode(os.fsencode(ants_and_bees) + place))
        write(path)
    dataset = read_dataset(ants_and_bees)
    assert len(dataset) == 4
    assert dataset.notes == (
        "ignored 2 files or folders whose names are not UTF-8: ant/bad\\udcff.png, b\\udce4d",
    )


@pytest.fixture
def deep(ants_and_bees):
    """A picture deeper than Python recurses; taken away again, as `shutil.rmtree` recurses too."""
    depth = sys.getrecursionlimit() + 100
    with chdir(ants_and_bees / "bee"):
        for _ in range(depth):
            Path("d").mkdir()
            os.chdir("d")
        write(Path("deep.png"))
    yield "bee/" + "d/" * depth + "deep.png"
    subprocess.run(["rm", "-r", ants_and_bees / "bee" / "d"], check=True)


def test_folders_deeper_than_python_recurses(ants_and_bees, deep):
    assert deep in read_dataset(ants_and_bees).ids


def test_links_that_lead_back_are_said_and_others_followed(ants_and_bees, tmp_path):
    write(tmp_path / "elsewhere" / "9.png")
    (ants_and_bees / "bee" / "more").symlink_to(tmp_path / "elsewhere")
    (ants_and_bees / "bee" / "up").symlink_to("..")
    (tmp_path / "elsewhere" / "home").symlink_to(ants_and_bees)
    (ants_and_bees / "self").symlink_to("self")
    (ants_and_bees / "ant" / "self.png").symlink_to("self.png")
    dataset = read_dataset(ants_and_bees)
    assert "bee/more/9.png" in dataset.ids
    assert "ant/self.png" in dataset.ids  # decoding will say what is wrong with it
    assert dataset.notes == (
        "ignored 1 file that is not an image: self",
        "ignored 2 links back to a folder around them: bee/more/home, bee/up",
    )


def test_dicom_files_without_a_suffix_are_found(tmp_path):
    for name in ("ct/IM0001", "ct/1.2.840.7", "mr/IM0001", "mr/IM0002"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        dicom(tmp_path / name, noise(), 8)
    dicom(tmp_path / "ct" / "DICOMDIR", noise(), 8)
    (tmp_path / "ct" / "README").write_text("no image")
    (tmp_path / "ct" / "pipe").mkdir()
    os.mkfifo(tmp_path / "ct" / "fifo")
    found = walk(tmp_path)
    assert found.images == ["ct/1.2.840.7", "ct/IM0001", "mr/IM0001", "mr/IM0002"]
    assert (found.hidden, found.strangers) == (["ct/DICOMDIR"], ["ct/README", "ct/fifo"])
    assert read_images(tmp_path / "mr" / "IM0001", ("ct", "mr")).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("classes", "sentences"),
    [
        (("ant", "bee"), []),
        (
            ("Ant", "ant", "bee"),
            ["classes 'Ant', 'ant' differ only in capitals: if they are one, merge them"],
        ),
        (
            (unicodedata.normalize("NFD", "käfer"), unicodedata.normalize("NFC", "käfer")),
            [
                (
                    "classes 'ka\u0308fer', 'k\u00e4fer' differ only in how Unicode spells their characters: "
                    "if they are one, merge them"
                )
            ],
        ),
        (
            ("fire ant", "fire_ant ", "FIRE ANT"),
            [
                (
                    "classes 'fire ant', 'fire_ant ', 'FIRE ANT' differ only in capitals, blanks or spelling "
                    "in Unicode: if they are one, merge them"
                )
            ],
        ),
    ],
)
def test_classes_that_look_alike_are_said(classes, sentences):
    assert alike(classes) == sentences


def test_class_folders_that_differ_in_capitals(ants_and_bees):
    for n in range(2):
        write(ants_and_bees / "Ant" / f"{n}.png")
    dataset = read_dataset(ants_and_bees)
    assert dataset.classes == ("Ant", "ant", "bee")
    assert np.bincount(dataset.labels).tolist() == [2, 2, 2]
    assert dataset.notes == tuple(alike(dataset.classes))


def test_names_in_messages_stay_on_one_line_and_are_not_endless():
    assert listed(["a\nb", "\x1b[0m\u202eé.png"]) == "a\\x0ab, \\x1b[0m\\u202eé.png"
    shown = listed(["d/" * 1000 + "deep.png"])
    assert len(shown) == 120
    assert shown.endswith("/deep.png")


def test_many_images_that_cannot_be_read_are_told_by_reason():
    paths = [f"{n}.png" for n in range(24)]
    assert unread(paths, [""] * 24) == ""
    assert unread(paths, ["", "cut", *[""] * 22]) == "1 image cannot be read and is left out: 1.png (cut)"
    assert unread(paths, ["bad"] * 3 + ["cut"] * 9 + [""] * 12) == (
        "12 images cannot be read and are left out:\n"
        "  cut: 3.png, 4.png, 5.png and 6 more\n"
        "  bad: 0.png, 1.png, 2.png"
    )
    assert unread(paths, [f"reason {n // 2}" for n in range(24)]).splitlines()[8:] == [
        "  reason 7: 14.png, 15.png",
        "  8 others",
    ]
