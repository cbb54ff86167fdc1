"""samples.csv and thumbnails.npz are read as they were written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sit2.data.readers.arrays import from_arrays
from sit2.data.samples import Samples, read_samples
from sit2.data.thumbnails import read_thumbnails, write_thumbnails
from sit2.errors import RunFolderError
from sit2.records import SPLITS, Dataset
from sit2.storage.run_folder import RunFolder

TEXT = st.text(st.characters(exclude_characters="\x00"), max_size=8)  # which no file's name holds
ROW = st.tuples(TEXT, TEXT, TEXT, TEXT, st.sampled_from(SPLITS), TEXT)


@settings(deadline=None, max_examples=60)
@given(st.lists(ROW, min_size=1, max_size=5))
def test_any_names_come_back(tmp_path_factory: pytest.TempPathFactory, rows):
    folder = tmp_path_factory.mktemp("samples")
    columns = [tuple(column) for column in zip(*rows, strict=True)]
    if not any(columns[3]):
        columns[3] = ()
    samples = Samples(*columns)
    RunFolder(folder).write_table("samples.csv", samples.table())
    assert read_samples(folder / "samples.csv") == samples


def test_a_data_set_with_its_splits(tmp_path: Path):
    found = Dataset(
        "x", tmp_path, ("a", "b"), ("1", "2", "3"), ("1.png", "2.png", "3.png"), np.array([1, 0, 1])
    )
    samples = Samples.of(found, ("train", "test", "unused"), ("", "", "truncated"))
    assert samples.labels == ("b", "a", "b")
    assert [samples.rows(split).tolist() for split in SPLITS] == [[0], [], [1], [2]]
    assert samples.unusable == [("3.png", "truncated")]
    RunFolder(tmp_path).write_table("samples.csv", samples.table())
    assert (tmp_path / "samples.csv").read_text() == (
        "id,path,label,group,split,problem\n1,1.png,b,,train,\n2,2.png,a,,test,\n3,3.png,b,,unused,truncated\n"
    )
    assert read_samples(tmp_path / "samples.csv") == samples


def test_digests_are_kept_of_images_that_can_be_read(tmp_path: Path):
    found = Dataset("x", tmp_path, ("a", "b"), ("1", "2"), ("1.png", "2.png"), np.array([1, 0]))
    digests = np.array([[1] * 16, [0] * 16], np.uint8)
    samples = Samples.of(found, ("train", "unused"), ("", "truncated"), digests)
    assert samples.digests == ("01" * 16, "")
    RunFolder(tmp_path).write_table("samples.csv", samples.table())
    assert read_samples(tmp_path / "samples.csv") == samples


def test_the_fold_that_left_an_image_out(tmp_path: Path):
    samples = Samples(
        ("1", "2"), ("1", "2"), ("a", "b"), (), ("test", "unused"), ("", "truncated"), folds=("2", "")
    )
    RunFolder(tmp_path).write_table("samples.csv", samples.table())
    assert (tmp_path / "samples.csv").read_text() == (
        "id,path,label,group,split,problem,fold\n1,1,a,,test,,2\n2,2,b,,unused,truncated,\n"
    )
    assert read_samples(tmp_path / "samples.csv") == samples


def test_no_file_is_no_images(tmp_path: Path):
    assert len(read_samples(tmp_path / "samples.csv")) == 0


@pytest.mark.parametrize("content", ["", "id,path\n", "id,path,label,group,split,problem\n1,1,a,,tset,\n"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str):
    (tmp_path / "samples.csv").write_text(content)
    with pytest.raises(RunFolderError, match=r"cannot read .*samples\.csv: "):
        read_samples(tmp_path / "samples.csv")


def test_thumbnails_come_back(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
    dataset = from_arrays(images, np.array([0, 1, 0, 1, 0]), "x")
    how = SimpleNamespace(
        image_size=12,
        resize="stretch",
        depth_window="full",
        background="white",
        max_megapixels=100,
        channels_from=(),
    )
    path = tmp_path / "thumbnails.npz"
    write_thumbnails(path, dataset, how)
    kept = read_thumbnails(path)
    assert tuple(kept) == dataset.ids
    for pixels, image in zip(kept.values(), images, strict=True):
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0), image)


def test_thumbnails_that_are_absent_or_damaged(tmp_path: Path):
    path = tmp_path / "thumbnails.npz"
    assert read_thumbnails(path) == {}
    path.write_bytes(b"x")
    with pytest.raises(RunFolderError, match=r"cannot read .*thumbnails\.npz: "):
        read_thumbnails(path)
    np.savez(path, ids=np.array(["a"]), images=np.zeros((1, 3, 4, 4)))
    with pytest.raises(RunFolderError, match="its images are float64 of shape"):
        read_thumbnails(path)
