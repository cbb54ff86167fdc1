"""What a program hands over, and tables with images in them, are the same images however they come."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from synthetic import CLASSES, arrays, command, write_folder

import sit2
from sit2.data.pixels import load_pixels
from sit2.data.readers import read_dataset, read_images
from sit2.data.readers.python_objects import is_one_source, read_handed
from sit2.errors import DataError

X, Y = arrays(4)
NUMBERS = np.array([CLASSES.index(label) for label in Y.tolist()])
PATHS = [f"shapes/{label}/{label}_{n // 3:02d}.png" for n, label in enumerate(Y.tolist())]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "shapes", 4)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def structs() -> list[dict[str, Any]]:
    return [{"bytes": png(pixels), "path": None} for pixels in X]


class Feature:
    def __init__(self, names: Sequence[str]) -> None:
        self.names = names


class HuggingFace:
    """What sit2 uses of ``datasets.Dataset``: it was tried with the package's own, 3.6."""

    def __init__(self, table: pa.Table, names: Sequence[str] = ()) -> None:
        self.table, self.column_names = table, table.column_names
        self.features = dict.fromkeys(table.column_names, object()) | (
            {"label": Feature(names)} if names else {}
        )

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def with_format(self, kind: str) -> pa.Table:
        assert kind == "arrow"
        return self.table


def hugging_face(rows: slice = slice(None)) -> HuggingFace:
    table = pa.table({"image": structs(), "label": NUMBERS})
    return HuggingFace(table.take(list(range(12))[rows]), CLASSES)


def same(source: Any, *, names: Sequence[str] = CLASSES) -> None:
    """The source is read as the 12 images and their labels."""
    dataset = read_dataset(source)
    assert dataset.classes == tuple(names)
    assert dataset.labels.tolist() == NUMBERS.tolist()
    pixels = load_pixels(dataset, size=16)
    assert set(pixels.problems) == {""}
    np.testing.assert_array_equal(pixels.images, X.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: (X, Y),
        lambda: [X, Y.tolist()],
        lambda: (X, pd.Series(Y, index=range(30, 42))),
        lambda: (X / 255, Y),
        lambda: ((X / 255).astype(np.float32).transpose(0, 3, 1, 2), Y),
        lambda: (X.transpose(0, 3, 1, 2), Y),
        lambda: (list(X), Y),
        lambda: ([Image.fromarray(pixels) for pixels in X], Y),
        lambda: ([png(pixels) for pixels in X], Y),
        lambda: (PATHS, Y),
        lambda: (pd.Series([Path(path) for path in PATHS]), pd.Series(Y)),
        lambda: {"images": X, "labels": Y},
        lambda: pd.DataFrame({"path": PATHS, "label": Y}, index=range(5, 17)),
        lambda: pd.DataFrame({"path": PATHS, "label": pd.Categorical(Y)}),
        lambda: pd.DataFrame({"image": list(X), "label": Y}),
        lambda: pd.DataFrame({"image": structs(), "label": Y}),
        lambda: pa.table({"path": PATHS, "label": Y}),  # anything with to_pandas
        hugging_face,
    ],
)
def test_every_way(make: Callable[[], Any]) -> None:
    assert is_one_source(make())
    same(make())


def test_whole_numbers_are_classes_in_their_order() -> None:
    numbers = NUMBERS * 5  # 10 comes after 5
    for source in ((X, numbers), (list(X), numbers), pd.DataFrame({"image": list(X), "label": numbers})):
        same(source, names=("0", "5", "10"))


def test_whole_floats_are_the_whole_numbers() -> None:
    """pandas makes floats of a column that ever held a missing value."""
    numbers = np.array([10, 2, 10, 2])
    for labels in (numbers, numbers.astype(float)):
        for given in (
            (X[:4], labels),
            (list(X[:4]), labels),
            pd.DataFrame({"image": list(X[:4]), "label": labels}),
            {"images": X[:4], "labels": labels},
        ):
            assert read_handed(given, None).classes == ("2", "10")
        assert set(read_handed(pd.DataFrame({"path": PATHS[:4], "label": labels}), None).classes) == {
            "2",
            "10",
        }
    with pytest.raises(DataError, match=r"label holds 2\.5, which names no class"):
        read_handed(pd.DataFrame({"path": PATHS[:4], "label": numbers / 4}), None)


def test_groups_and_splits_of_a_frame() -> None:
    frame = pd.DataFrame(
        {"path": PATHS, "label": Y, "patient": NUMBERS + 7, "split": ["train"] * 9 + ["test"] * 3}
    )
    dataset = read_dataset(frame, groups="patient")
    assert dataset.groups == tuple(str(n + 7) for n in NUMBERS)
    assert dataset.splits == tuple(frame["split"])
    assert read_dataset(frame.rename(columns={"patient": "group"})).groups == dataset.groups
    with pytest.raises(DataError, match="DataFrame has no column 'nurse' for groups"):
        read_dataset(frame, groups="nurse")


def test_hugging_face_by_split() -> None:
    parts = {
        "train": hugging_face(),
        "validation": hugging_face(slice(0, 3)),
        "test": hugging_face(slice(3, 9)),
    }
    dataset = read_dataset(parts)
    assert dataset.splits == ("train",) * 12 + ("val",) * 3 + ("test",) * 6
    assert dataset.labels.tolist() == [*NUMBERS, *NUMBERS[:3], *NUMBERS[3:9]]


class TestParquet:
    @pytest.mark.parametrize("column", ["image", "img"])
    def test_as_hugging_face_writes_it(self, tmp_path: Path, column: str) -> None:
        told = {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
        table = pa.table({column: structs(), "label": NUMBERS})
        pa.parquet.write_table(
            table.replace_schema_metadata({"huggingface": json.dumps(told)}), tmp_path / "set.parquet"
        )
        same(tmp_path / "set.parquet")
        images = read_images(tmp_path / "set.parquet", ("disc", "cross"))
        assert images.labels.tolist() == [{0: 1, 1: 0, 2: -1}[n] for n in NUMBERS.tolist()]

    def test_without_names_and_with_text_labels(self, tmp_path: Path) -> None:
        for labels, names in ((NUMBERS, ("0", "1", "2")), (Y, CLASSES)):
            pd.DataFrame({"image": structs(), "label": labels}).to_parquet(tmp_path / "set.parquet")
            same(tmp_path / "set.parquet", names=names)

    def test_paths_in_place_of_bytes(self, tmp_path: Path) -> None:
        cells = [{"bytes": None, "path": path} for path in PATHS]
        pd.DataFrame({"image": cells, "label": Y}).to_parquet(tmp_path / "set.parquet")
        same(tmp_path / "set.parquet")

    def test_a_damaged_image_is_left_out_as_ever(self, tmp_path: Path) -> None:
        cells = structs()
        cells[2], cells[3] = {"bytes": b"nothing", "path": None}, {"bytes": b"", "path": None}
        pd.DataFrame({"image": cells, "label": Y}).to_parquet(tmp_path / "set.parquet")
        problems = load_pixels(read_dataset(tmp_path / "set.parquet"), size=16).problems
        assert problems[2:5] == ("not an image, or of an unknown format", "an empty file", "")

    def test_check_train_and_evaluate(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        pd.DataFrame({"image": structs(), "label": Y}).to_parquet(tmp_path / "set.parquet")
        assert command(("check", tmp_path / "set.parquet")) == 0
        assert "PNG, colour, 8 bits" in capsys.readouterr().out
        how = {"backbone": "small-cnn", "image_size": 16, "epochs": 1, "method": "plain", "batch_size": 4}
        run = sit2.train("set.parquet", out="run", **how)
        assert run.classes == CLASSES
        assert (run.folder / "report.html").is_file()
        assert command(("evaluate", "shapes", "--model", "run")) == 0  # the same images, as files
        assert "as copies that lie" in " ".join(capsys.readouterr().err.split())


MISSING = "missing (None, NaN or empty), in row 1, counted from 0\nexpected"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: (X, [None if n == 1 else y for n, y in enumerate(Y)]),
            f"labels: 1 label of 12 is {MISSING}",
        ),
        (
            lambda: pd.DataFrame({"path": PATHS, "label": [Y[0], None, *Y[2:]]}),
            "DataFrame, row 1 (counted from 0): the label is empty\nexpected a value in every row",
        ),
        (
            lambda: pd.DataFrame({"path": PATHS, "label": Y, "group": [1, np.nan, *range(10)]}),
            "DataFrame, row 1 (counted from 0): the group is empty\nexpected a value in every row",
        ),
        (
            lambda: pd.DataFrame({"image": [X[0], None, *X[2:]], "label": Y}),
            f"DataFrame, image: 1 image of 12 is {MISSING}",
        ),
        (
            lambda: HuggingFace(pa.table({"image": structs(), "label": [0, -1, *NUMBERS[2:]]}), CLASSES),
            "dataset, row 2: the label is empty\nexpected a value in every row",
        ),
        (
            lambda: HuggingFace(pa.table({"image": [structs()[0], None, *structs()[2:]], "label": NUMBERS})),
            "dataset, row 2: the image is empty\nexpected one in every row",
        ),
        (
            lambda: HuggingFace(pa.table({"label": NUMBERS})),
            "dataset has no column of images\nits columns are label",
        ),
        (lambda: {"train": hugging_face(), "extra": hugging_face()}, "unknown split 'extra'\n"),
        (lambda: pd.DataFrame({"file": PATHS, "label": Y}), "DataFrame has no column 'path'\n"),
        (
            lambda: pd.DataFrame({"image": list(X)}),
            "DataFrame has no column 'label'\nexpected one with the label of each image",
        ),
        (lambda: (X, Y[:5]), "12 images, but 5 labels\nexpected a label for each image"),
        (lambda: 7, "data is int 7\nexpected a path; a DataFrame with"),
        (lambda: ["shapes", "shapes"], "data is list ['shapes', 'shapes']\nexpected a path"),
        (lambda: {"pictures": X}, "data is dict {'pictures': "),
    ],
)
def test_what_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        sit2.train(make(), out="run")
    assert message in str(caught.value)
    assert not Path("run").exists()


def test_a_list_of_sources_is_not_one() -> None:
    assert not is_one_source(["a", "b"])
    assert not is_one_source([pd.DataFrame({"path": []}), pd.DataFrame({"path": []})])
    assert not is_one_source(["a"])
