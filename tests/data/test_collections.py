"""Sets as other collections keep them, written by their own packages: Hugging Face, MedMNIST, WebDataset."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import arrays, command, write_folder

from sit2.data.readers import read_dataset, read_images
from sit2.errors import ConfigError, DataError

IMAGES, LABELS = arrays(8)  # 24 of three classes
CLASSES = ("cross", "disc", "oval")
SPLITS = {"train": range(12), "validation": range(12, 18), "test": range(18, 24)}


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def hugging_face(rows: range):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    columns = {
        "image": [{"bytes": png(IMAGES[n]), "path": None} for n in rows],
        "label": [CLASSES.index(LABELS[n]) for n in rows],
    }
    return datasets.Dataset.from_dict(columns, features=features)


def saved(folder: Path) -> Path:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    datasets.DatasetDict({name: hugging_face(rows) for name, rows in SPLITS.items()}).save_to_disk(folder)
    return folder


def parquet(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    for name, rows in SPLITS.items():
        hugging_face(rows).to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


def shards(folder: Path) -> Path:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    folder.mkdir()
    for name, rows in SPLITS.items():
        with webdataset.ShardWriter(str(folder / f"{name}-%04d.tar"), maxcount=5, verbose=0) as writer:
            for n in rows:
                writer.write({"__key__": f"{n:06d}", "png": png(IMAGES[n]), "cls": str(LABELS[n])})
    return folder


@pytest.mark.parametrize("write", [saved, parquet, shards])
def test_splits_classes_and_pixels_are_those_that_were_written(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    found = read_dataset(write(tmp_path / "set"))
    assert found.classes == CLASSES
    assert [found.classes[k] for k in found.labels] == sorted_by_split(found.splits)
    assert {name: found.splits.count(name) for name in ("train", "val", "test")} == {
        "train": 12,
        "val": 6,
        "test": 6,
    }
    with Image.open(io.BytesIO(found.arrays[0].tobytes())) as image:
        first = next(n for n, split in enumerate(found.splits) if split == found.splits[0])
        assert first == 0
        assert (np.asarray(image) == IMAGES[next(iter(SPLITS[long(found.splits[0])]))]).all()
    again = read_images(tmp_path / "set", CLASSES)
    assert again.ids == found.ids
    assert (again.labels == found.labels).all()


def long(split: str) -> str:
    return "validation" if split == "val" else split


def sorted_by_split(splits: tuple[str, ...]) -> list[str]:
    """Return the labels in the order in which a reader gives the splits."""
    order = list(dict.fromkeys(splits))
    return [LABELS[n] for split in order for n in SPLITS[long(split)]]


def test_one_saved_dataset_has_no_splits(tmp_path: Path) -> None:
    hugging_face(range(24)).save_to_disk(tmp_path / "set")
    found = read_dataset(tmp_path / "set")
    assert (len(found), found.splits, found.classes) == (24, (), CLASSES)


def test_one_shard_with_labels_in_json(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    with webdataset.TarWriter(str(tmp_path / "photos.tar")) as writer:
        for n in range(24):
            writer.write({"__key__": f"a/{n}", "png": png(IMAGES[n]), "json": {"label": str(LABELS[n])}})
    found = read_dataset(tmp_path / "photos.tar")
    assert (len(found), found.splits, found.classes) == (24, (), CLASSES)


def test_training_from_shards(tmp_path: Path) -> None:
    words = ("--backbone", "small-cnn", "--epochs", 1, "--image-size", 16, "--method", "plain", "--quiet")
    assert command(("train", shards(tmp_path / "set"), "-o", tmp_path / "run", *words)) == 0
    assert (tmp_path / "run" / "model" / "model.json").is_file()


def test_medmnist_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDMNIST_ROOT", str(tmp_path))
    six = {
        f"{split}_{what}": (IMAGES[rows] if what == "images" else np.arange(24)[rows, None] % 3)
        for split, rows in {"train": slice(0, 12), "val": slice(12, 18), "test": slice(18, 24)}.items()
        for what in ("images", "labels")
    }
    np.savez(tmp_path / "pathmnist.npz", **six)
    found = read_dataset("medmnist://pathmnist")
    assert (len(found), found.classes) == (24, ("0", "1", "2"))
    assert found.splits.count("val") == 6
    assert command(("check", "medmnist://pathmnist")) in (0, 1)
    assert "24 images" in capsys.readouterr().out


def test_medmnist_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDMNIST_ROOT", str(tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "medmnist", None)
    with pytest.raises(ConfigError, match=r"pip install 'sit2\[medmnist\]'") as error:
        read_dataset("medmnist://pathmnist")
    assert len(str(error.value).splitlines()) <= 3


def test_medmnist_offline_and_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    medmnist = pytest.importorskip("medmnist", reason="medmnist is not installed")
    monkeypatch.setenv("MEDMNIST_ROOT", str(tmp_path))
    with pytest.raises(DataError, match="did you mean 'pathmnist'"):
        read_dataset("medmnist://pathmnst")

    def refused(self: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(medmnist.dataset.MedMNIST, "download", refused)
    with pytest.raises(DataError, match="cannot download pathmnist of MedMNIST: no network") as error:
        read_dataset("medmnist://pathmnist")
    assert f"put pathmnist.npz into {tmp_path}" in str(error.value)


def test_the_hub_offline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")

    def refused(name: str) -> None:
        raise ConnectionError(f"Couldn't reach {name!r} on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", refused)
    with pytest.raises(DataError) as error:
        read_dataset("hf://someone/photos")
    assert str(error.value).splitlines() == [
        "cannot load hf://someone/photos: Couldn't reach 'someone/photos' on the Hub",
        "without a network: save it with `save_to_disk` elsewhere, and name that folder",
    ]
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": hugging_face(range(24))})
    assert len(read_dataset("hf://someone/photos")) == 24
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert command(("check", "hf://someone/photos")) == 2
    assert "pip install 'sit2[huggingface]'" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
def test_a_damaged_shard(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError) as error:
        read_dataset(tmp_path)
    assert len(str(error.value).splitlines()) <= 3


@pytest.mark.parametrize("name", ["photos.tar", "photos.parquet"])
def test_an_archive_beside_class_folders_is_not_the_set(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "set")
    if name.endswith("parquet"):
        hugging_face(range(24)).to_parquet(tmp_path / "set" / name)
    else:
        (tmp_path / "set" / name).write_bytes(b"")
    assert len(read_dataset(tmp_path / "set")) == 36
