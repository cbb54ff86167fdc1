"""What is wrong with a dataset."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import tifffile
from format_dicom import dicom
from PIL import Image

from sit2.data import quality as package
from sit2.data.duplicates import name_duplicates
from sit2.data.pixels import Pixels, load_pixels
from sit2.data.quality import Checkup, Finding
from sit2.data.readers import read_dataset
from sit2.data.readers.arrays import from_arrays
from sit2.records import Dataset


@pytest.fixture
def photos(save_image, tmp_path):
    """Write five images of two classes, read them again after whatever was done to them."""
    for name in ("ant", "bee"):
        for n in range(5):
            save_image(f"DATA/{name}/{n}.png")

    def read(**changes) -> Dataset:
        return dataclasses.replace(read_dataset(tmp_path / "DATA"), **changes)

    return read


def check(dataset: Dataset, *, problems=None, **options) -> Checkup:
    """Check a dataset up, its images decoded as `sit2 check` does; ``problems`` stand in for real ones."""
    pixels = load_pixels(dataset, size=package.SIZE)
    pixels = Pixels(pixels.images, tuple(problems or pixels.problems))
    return package.check(name_duplicates(dataset, pixels), pixels, **options)


def found(checkup: Checkup, kind: str) -> Finding:
    return next(finding for finding in checkup.findings if finding.kind == kind)


def test_nothing_is_wrong(photos):
    checkup = check(photos())
    assert checkup.findings == ()
    assert checkup.exit_code == 0
    assert checkup.imbalance == 1
    assert [(row.name, row.images, row.unreadable) for row in checkup.classes] == [
        ("ant", 5, 0),
        ("bee", 5, 0),
    ]


def test_counts_by_split(photos):
    checkup = check(photos(splits=("train", "train", "train", "val", "test") * 2))
    row = checkup.classes[1]
    assert (row.train, row.val, row.test) == (3, 1, 1)


def test_unreadable_images_are_named(photos, tmp_path):
    (tmp_path / "DATA/bee/3.png").write_bytes(b"")
    checkup = check(photos())
    finding = found(checkup, "unreadable")
    assert finding.text == "1 image cannot be read and will be left out: bee/3.png: an empty file."
    assert (finding.severity, finding.files) == ("warning", ("bee/3.png",))
    assert [row.unreadable for row in checkup.classes] == [0, 1]
    assert checkup.exit_code == 0


def test_problems_may_be_known_already(photos):
    checkup = check(photos(), problems=["truncated"] + [""] * 9)
    assert found(checkup, "unreadable").files == ("ant/0.png",)


def test_copies_in_one_class(photos, tmp_path):
    shutil.copy(tmp_path / "DATA/ant/1.png", tmp_path / "DATA/ant/9.png")
    checkup = check(photos())
    finding = found(checkup, "duplicates")
    assert finding.text == "1 image appears more than once in a class: ant/1.png = ant/9.png."
    assert (finding.severity, checkup.exit_code) == ("warning", 0)


def test_copies_in_two_classes(photos, tmp_path):
    shutil.copy(tmp_path / "DATA/ant/1.png", tmp_path / "DATA/bee/9.png")
    checkup = check(photos())
    finding = found(checkup, "label conflict")
    assert finding.text == "1 image appears in more than one class: ant/1.png = bee/9.png."
    assert (finding.severity, checkup.exit_code) == ("wrong", 1)
    assert [f.kind for f in checkup.findings] == ["label conflict"]


def test_copies_in_two_splits(photos, tmp_path):
    for n in (0, 1):
        shutil.copy(tmp_path / f"DATA/ant/{n}.png", tmp_path / f"DATA/ant/{n + 3}.png")
    checkup = check(photos(splits=("train", "train", "train", "val", "test") * 2))
    finding = found(checkup, "leak")
    assert finding.text == (
        "2 images appear in more than one split: ant/0.png = ant/3.png, ant/1.png = ant/4.png."
    )
    assert (finding.severity, checkup.exit_code) == ("wrong", 1)
    assert len(finding.files) == 4


def test_copies_of_arrays():
    images = np.random.default_rng(1).integers(0, 256, (6, 7, 7), dtype=np.uint8)
    images[4] = images[1]
    checkup = check(from_arrays(images, [0, 0, 0, 1, 1, 1], "set"))
    assert found(checkup, "label conflict").files == ("000001", "000004")


def test_groups_in_two_splits(photos):
    checkup = check(photos(groups=tuple("abcde" * 2), splits=("train",) * 8 + ("test", "val")))
    finding = found(checkup, "group leak")
    assert finding.text == "2 groups appear in more than one split: d (test, train), e (train, val)."
    assert finding.files == ("ant/3.png", "ant/4.png", "bee/3.png", "bee/4.png")
    assert (finding.severity, checkup.exit_code) == ("wrong", 1)


def test_classes_missing_from_a_given_split(photos):
    checkup = check(photos(splits=("train",) * 4 + ("test",) + ("train",) * 5))
    assert found(checkup, "missing class").text == "No test image for 1 class of 2: bee."
    assert sum(finding.kind == "missing class" for finding in checkup.findings) == 1


def test_small_classes(photos):
    finding = found(check(photos(), folds=7), "small class")
    assert finding.text == "2 classes with fewer training images than the 7 folds: ant (5), bee (5)."
    assert finding.severity == "warning"


def test_small_classes_where_no_folds_are_trained(photos):
    finding = found(check(photos(), problems=["", "bad"] * 5), "small class")
    assert finding.text == "2 classes with fewer training images than 5: ant (3), bee (2)."
    assert finding.hint == "add images: of so few a class can neither be learned nor measured well"


def test_small_classes_by_group(photos):
    checkup = check(photos(groups=tuple("aabbc" + "ddddd")), folds=3)
    assert (
        found(checkup, "small class").text == "2 classes with fewer training groups than 5: ant (3), bee (1)."
    )
    assert found(checkup, "lone group").text.startswith(
        "All training images of 1 class belong to one group: bee."
    )


def test_a_class_without_a_readable_image(photos):
    checkup = check(photos(), problems=[""] * 5 + ["truncated"] * 5)
    assert found(checkup, "class without images").text == "No readable training image for 1 class: bee."
    assert checkup.exit_code == 1
    assert checkup.findings[0].severity == "wrong"
    assert found(checkup, "class without images").hint.startswith("make those readable that are there")
    unread = found(checkup, "unreadable")
    assert unread.text.endswith("left out: truncated: bee/0.png, bee/1.png, bee/2.png and 2 more.")
    assert unread.hint == "save them again, or remove them"
    checkup = check(
        photos(), problems=["", "bad", "5 channels: train with --channels-from 0,1,2", "bad", ""] + [""] * 5
    )
    unread = found(checkup, "unreadable")
    assert unread.text.endswith(
        "out: bad: ant/1.png, ant/3.png; ant/2.png: 5 channels: train with --channels-from 0,1,2."
    )
    assert unread.hint == "use the setting that is named, or save them otherwise"


def test_imbalance():
    images = np.random.default_rng(1).integers(0, 256, (55, 7, 7), dtype=np.uint8)
    checkup = check(from_arrays(images, [0] * 50 + [1] * 5, "set"))
    assert found(checkup, "imbalance").text == "Class 0 has 10 times as many images as 1 (50 to 5)."
    assert checkup.imbalance == 10
    assert "try --balance weights" in found(checkup, "imbalance").hint
    hint = found(check(from_arrays(images, [0] * 50 + [1] * 5, "set"), balance="sampling"), "imbalance").hint
    assert hint == "read macro-F1 rather than accuracy; --balance sampling is set against it"


def test_the_table_of_files_has_every_kind_that_is_read(photos, tmp_path):
    """DICOM files, and what only tifffile reads, stood in no row."""
    dicom(tmp_path / "DATA/ant/d.dcm", np.arange(99, dtype=np.int16).reshape(9, 11), 12)
    tifffile.imwrite(tmp_path / "DATA/ant/f.tif", np.ones((9, 11), np.float64))
    stains = np.ones((9, 11, 4), np.uint16)
    tifffile.imwrite(
        tmp_path / "DATA/ant/s.tif",
        stains,
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=[0] * 3,
    )
    dataset = photos()
    pixels = load_pixels(dataset, size=package.SIZE, channels_from=(0,))
    rows = {(row.kind, row.channels, row.bits): row.images for row in package.check(dataset, pixels).files}
    assert rows == {
        ("PNG", "colour", 8): 10,
        ("DICOM", "gray", 12): 1,
        ("TIFF", "gray", 64): 1,
        ("TIFF", "4 channels", 16): 1,
    }


@pytest.mark.parametrize("kind", ["png", "tif", "gif", "bmp", "jpg"])
def test_an_image_above_the_limit_of_pillow_itself(photos, save_image, monkeypatch, kind):
    """Of 10,000 × 10,000 pixels, say; here Pillow's limit is lowered instead. No warning, and in the table."""
    save_image(f"DATA/bee/large.{kind}", height=70, width=110)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    checkup = check(photos())
    assert sum(row.images for row in checkup.files) == 11
    assert max(row.largest for row in checkup.files) == (110, 70)


def test_a_webp_above_the_limit_of_pillow_itself(photos, save_image, monkeypatch):
    save_image("DATA/bee/large.webp", height=70, width=110)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert found(check(photos()), "unreadable").details == (
        {
            "id": "bee/large.webp",
            "problem": "an image of more pixels than Pillow reads of this format: save it as PNG",
        },
    )


def test_what_the_reader_ignored(photos, tmp_path):
    (tmp_path / "DATA/notes.txt").write_text("x")
    finding = found(check(photos()), "ignored")
    assert (finding.severity, finding.text) == ("note", "ignored 1 file that is not an image: notes.txt")
