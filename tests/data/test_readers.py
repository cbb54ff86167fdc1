"""What holds for every reader, and images to be predicted."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sit2.data.readers import READERS, read_dataset, read_images
from sit2.errors import DataError

CLASSES = ("ant", "bee")


@pytest.fixture
def sources(save_image, tmp_path, monkeypatch) -> dict[str, Path]:
    """The same four images, once for each reader."""
    places = [f"DATA/{name}/{n}.png" for name in CLASSES for n in range(2)]
    for place in places:
        save_image(place)
    rows = "".join(f"{place},{place.split('/')[1]}\n" for place in places)
    (tmp_path / "list.csv").write_text("path,label\n" + rows)
    labels = [place.split("/")[1] for place in places]
    np.savez(tmp_path / "set.npz", images=np.zeros((4, 7, 11), np.uint8), labels=labels)
    files = [{"bytes": (tmp_path / place).read_bytes(), "path": None} for place in places]
    pd.DataFrame({"image": files, "label": labels}).to_parquet(tmp_path / "set.parquet")
    (tmp_path / "hub" / "data").mkdir(parents=True)
    pd.DataFrame({"image": files, "label": labels}).to_parquet(tmp_path / "hub" / "data" / "0.parquet")
    monkeypatch.setenv("MEDMNIST_ROOT", str(tmp_path))
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for n, (place, label) in enumerate(zip(places, labels, strict=True)):
            for ending, content in (("png", (tmp_path / place).read_bytes()), ("cls", label.encode())):
                member = tarfile.TarInfo(f"{n}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return {
        "medmnist": Path("medmnist://set"),
        "hub": tmp_path / "hub",
        "shards": tmp_path / "set.tar",
        "folder": tmp_path / "DATA",
        "embedded": tmp_path / "set.parquet",
        "manifest": tmp_path / "list.csv",
        "arrays": tmp_path / "set.npz",
    }


@pytest.mark.parametrize("name", READERS)
def test_every_reader(name, sources):
    source = sources[name]
    assert next(n for n, reader in READERS.items() if reader.accepts(source)) == name
    dataset = read_dataset(str(source))
    assert dataset.classes == CLASSES
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert len(set(dataset.ids)) == len(dataset.paths) == 4
    images = read_images(source, CLASSES)
    assert images.ids == dataset.ids
    assert images.paths == dataset.paths
    assert images.labels.tolist() == dataset.labels.tolist()


@pytest.mark.parametrize("name", READERS)
def test_classes_of_the_model_rule_when_predicting(name, sources):
    images = read_images([sources[name]], ("bee", "cow"))
    assert images.classes == ("bee", "cow")
    assert images.labels.tolist() == [-1, -1, 0, 0]


def test_flat_and_nested_folders(save_image, tmp_path):
    for place in ("in/1.png", "in/test/ant/2.png", "in/deep/er/3.png", "in/.hidden/4.png"):
        save_image(place)
    images = read_images(tmp_path / "in", CLASSES)
    assert dict(zip(images.ids, images.labels.tolist(), strict=True)) == {
        "1.png": -1,
        "test/ant/2.png": 0,
        "deep/er/3.png": -1,
    }
    assert images.notes == (
        "ignored 1 hidden or system file or folder: .hidden",
        "1 image without a label, in folders that are no class of the model: 'er'",
    )


def test_a_folder_named_like_a_class(save_image, tmp_path):
    save_image("bee/1.png")
    assert read_images(tmp_path / "bee", CLASSES).labels.tolist() == [1]


def test_image_files_keep_their_names(save_image, tmp_path, monkeypatch):
    save_image("bee/1.png")
    save_image("2.png")
    monkeypatch.chdir(tmp_path)
    one = read_images("bee/1.png", CLASSES)
    assert (one.ids, one.labels.tolist()) == (("bee/1.png",), [1])
    both = read_images(["bee/1.png", "2.png"], CLASSES)
    assert both.ids == ("bee/1.png", "2.png")
    assert both.labels.tolist() == [1, -1]
    assert all((both.root / path).is_file() for path in both.paths)


def test_several_folders_with_the_same_names(save_image, tmp_path, monkeypatch):
    save_image("a/1.png")
    save_image("b/1.png")
    monkeypatch.chdir(tmp_path)
    images = read_images(["a", "b"], CLASSES)
    assert images.ids == ("a/1.png", "b/1.png")
    assert all((images.root / path).is_file() for path in images.paths)
    with pytest.raises(DataError, match=r"b/1\.png is named twice"):
        read_images(["a", "b", "b/1.png"], CLASSES)


def test_manifests_without_labels_or_with_unknown_ones(tmp_path):
    (tmp_path / "a.csv").write_text("path\n1.png\n")
    assert read_images(tmp_path / "a.csv", CLASSES).labels.tolist() == [-1]
    (tmp_path / "b.csv").write_text("path,label\n1.png,bee\n2.png,cow\n3.png,\n")
    images = read_images(tmp_path / "b.csv", CLASSES)
    assert images.labels.tolist() == [1, -1, -1]
    assert images.notes == ("1 label unknown to the model, taken as no label: cow",)


def test_arrays_without_labels(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 7, 11), np.uint8))
    images = read_images(tmp_path / "x.npz", CLASSES)
    assert images.labels.tolist() == [-1, -1]
    with pytest.raises(DataError, match="cannot be predicted together"):
        read_images([tmp_path / "x.npz", tmp_path / "x.npz"], CLASSES)


def test_nothing_to_predict(tmp_path):
    with pytest.raises(DataError) as caught:
        read_images(tmp_path, CLASSES)
    assert str(caught.value) == (
        f"no images in {tmp_path}\nexpected image files, or a folder that holds some"
    )
    with pytest.raises(DataError, match="no images in an empty list"):
        read_images([], CLASSES)
    with pytest.raises(DataError, match="no such file or folder"):
        read_images(tmp_path / "1.png", CLASSES)
