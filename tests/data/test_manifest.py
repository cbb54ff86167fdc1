"""CSV and Parquet manifests."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sit2.data.readers import read_dataset
from sit2.errors import DataError

GOOD = "path,label\na.png,ant\nb.png,ant\nc.png,bee\nd.png,bee\n"


@pytest.fixture
def write(tmp_path):
    """Write a manifest; its text may come as lines."""

    def write(text: str, name: str = "list.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def error(path: Path, **settings: str) -> str:
    with pytest.raises(DataError) as caught:
        read_dataset(path, **settings)
    return str(caught.value)


def test_paths_and_labels(write, tmp_path):
    dataset = read_dataset(write(GOOD))
    assert (dataset.name, dataset.root) == ("list", tmp_path)
    assert dataset.ids == dataset.paths == ("a.png", "b.png", "c.png", "d.png")
    assert dataset.classes == ("ant", "bee")
    assert dataset.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["samples.csv", "samples.parquet"])
def test_a_folder_with_a_manifest_is_read_by_it(name, write, save_image, tmp_path):
    save_image("cat/1.png")
    if name == "samples.csv":
        write(GOOD, name)
    else:
        rows = [line.split(",") for line in GOOD.split()]
        pd.DataFrame(rows[1:], columns=rows[0]).to_parquet(tmp_path / name)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("ant", "bee")
    assert dataset.name == tmp_path.name


def test_labels_are_text_as_written(write):
    labels = ["007", "7", "NA", "None", "nan", "1.0", "true", ""]
    rows = [f"{label}{n}.png,{label}" for label in labels[:-1] for n in range(2)]
    dataset = read_dataset(write("path,label\n" + "\n".join(rows)))
    assert dataset.classes == tuple(sorted(labels[:-1]))


LABELS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(lambda t: t.strip() == t)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LABELS, min_size=2, max_size=5, unique=True))
def test_any_label_survives(tmp_path, labels):
    frame = pd.DataFrame({"label": labels * 2, "path": [f"{n}.png" for n in range(2 * len(labels))]})
    frame.to_csv(tmp_path / "any.csv", index=False)
    dataset = read_dataset(tmp_path / "any.csv")
    assert [dataset.classes[k] for k in dataset.labels] == labels * 2


def test_a_byte_order_mark_and_blank_lines_do_not_matter(write):
    text = GOOD.replace("\n", "\r\n\r\n")
    assert read_dataset(write(text, encoding="utf-8-sig")).ids == read_dataset(write(GOOD)).ids


def test_numbers_in_parquet(tmp_path):
    frame = pd.DataFrame({"path": ["a", "b", "c", "d"], "label": [7, 7, 10, 10]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_dataset(tmp_path / "t.parquet").classes == ("10", "7")


def test_a_column_of_lists_in_parquet(tmp_path):
    paths = [f"{n}.png" for n in range(4)]
    rows = {"path": paths, "label": ["ant", "bee"] * 2, "embedding": [[0.1, 0.2], None] * 2}
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    assert read_dataset(tmp_path / "t.parquet").classes == ("ant", "bee")


def test_missing_label_in_parquet(tmp_path):
    frame = pd.DataFrame({"path": ["a", "b", "c", "d"], "label": [7, None, 10, 10]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert error(tmp_path / "t.parquet").startswith(f"{tmp_path}/t.parquet, row 2: the label is empty\n")


def test_groups_and_splits(write):
    text = (
        "path,label,group,split,slide\na,x,g1,Train,s1\nb,x,g2,validation,s1\nc,y,g1,TRAIN,s2\nd,y,g3,test,s3"
    )
    dataset = read_dataset(write(text))
    assert dataset.groups == ("g1", "g2", "g1", "g3")
    assert dataset.splits == ("train", "val", "train", "test")
    assert read_dataset(write(text), groups="slide").groups == ("s1", "s1", "s2", "s3")


def test_empty_optional_columns_are_as_if_absent(write):
    dataset = read_dataset(write("path,label,group,split\na,x,,\nb,x,,\nc,y,,\nd,y,,"))
    assert (dataset.groups, dataset.splits) == ((), ())


def test_unused_rows_are_left_out_and_said(write):
    rows = ["a,x,train", "b,x,train", "c,y,train", "d,y,test", "e,z,unused"]
    dataset = read_dataset(write("path,label,split\n" + "\n".join(rows)))
    assert dataset.classes == ("x", "y")
    assert dataset.ids == ("a", "b", "c", "d")
    assert dataset.notes == ("left out 1 unused row: e",)


def test_backslashes_separate_unless_such_a_file_exists(write, tmp_path):
    (tmp_path / "odd\\name.png").write_bytes(b"x")
    dataset = read_dataset(write("path,label\nx\\1.png,x\nodd\\name.png,x\n./y//1.png,y\ny/2.png,y"))
    assert dataset.ids == ("x/1.png", "odd\\name.png", "y/1.png", "y/2.png")


def test_absolute_paths(write, tmp_path):
    dataset = read_dataset(write(f"path,label\n{tmp_path}/1.png,x\n/far/2.png,x\n3.png,y\n4.png,y"))
    assert dataset.ids == ("1.png", "/far/2.png", "3.png", "4.png")
    assert dataset.root / dataset.paths[1] == Path("/far/2.png")


def test_missing_columns(write):
    path = write("file,label\na,x")
    assert error(path) == (
        f"{path} has no column 'path'\nits columns are file, label; rename the one that holds the path"
    )
    assert error(write("path,group\na,x")).endswith(
        "has no column 'label'\nexpected one with the label of each image"
    )


@pytest.mark.parametrize("sign", [";", "\t"])
def test_what_spreadsheets_put_between_columns(write, sign):
    rows = ("path,label,group", "a.png,x,1", "b.png,x,2", "c.png,y,3", 'd.png,"y",4')
    text = "\n".join(rows).replace(",", sign)
    dataset = read_dataset(write(f"\ufeff{text}\n"))
    assert (dataset.ids, dataset.classes) == (("a.png", "b.png", "c.png", "d.png"), ("x", "y"))
    assert dataset.groups == ("1", "2", "3", "4")


def test_unknown_group_column(write):
    path = write("path,label,patient\na,x,1")
    assert error(path, groups="patients") == (
        f"{path} has no column 'patients' for groups\ndid you mean 'patient'?"
    )


@pytest.mark.parametrize("column", ["path", "label", "group"])
def test_empty_values_are_named_by_line(write, column):
    row = {"path": "e.png", "label": "ant", "group": "g"} | {column: " "}
    path = write("path,label,group\na,ant,g\n\n" + ",".join(row.values()) + "\n")
    assert error(path) == (
        f"{path}, line 4: the {column} is empty\nexpected a value in every row: fill it in, or remove the row"
    )


def test_a_path_listed_twice(write):
    path = write(GOOD + "./a.png,bee\n")
    assert error(path) == (
        f"{path}, line 6: a.png was listed before, in line 2\n"
        "expected every image once: remove one of the rows"
    )


def test_unknown_split(write):
    path = write("path,label,split\na,x,trian")
    assert error(path) == f"{path}, line 2: unknown split 'trian'\ndid you mean 'train' or 'training'?"


def test_some_rows_with_a_split_and_some_without(write):
    path = write("path,label,split\na,x,train\nb,x,")
    assert error(path) == (
        f"{path}, line 3: the split is empty, but other rows have one\n"
        "expected a split in every row or in none; write 'unused' to leave an image out"
    )


def test_tables_that_cannot_be_read(write, tmp_path):
    assert "line 3: 3 values, but the header names 2" in error(write("path,label\na,x\nb,x,y\n"))
    assert "cannot be read as CSV" in error(write('path,label\n"a,x\n'))
    assert error(write("path,label\né,x", encoding="latin-1")).endswith("save it as CSV in UTF-8")
    assert "has two columns 'label'" in error(write("path,label,label\na,x,y"))
    assert "lists no images" in error(write("path,label\n"))
    assert "lists no images" in error(write(""))
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    assert "cannot be read as Parquet" in error(tmp_path / "t.parquet")


def test_classes_are_checked_as_in_folders(write):
    assert "has only one class, 'x'" in error(write("path,label\na,x\nb,x"))
    assert error(write("path,label\na,x\nb,x\nc,y\nd,z")).startswith(
        "classes y, z have each only one image\n"
    )
    assert error(write("path,label,split\na,x,unused")) == (
        "list has no images\nexpected at least two classes of images"
    )


@pytest.mark.parametrize(("written", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_either_normal_form(tmp_path, written, on_disk):
    """A list made on one system, files that were copied by another: both spell é, differently."""
    names = [f"café {kind} {n}.png" for kind in ("ant", "bee") for n in range(2)]
    for name in names:
        Image.new("L", (8, 8)).save(tmp_path / unicodedata.normalize(on_disk, name))
    lines = [f"{unicodedata.normalize(written, name)},{name.split()[1]}" for name in names]
    (tmp_path / "samples.csv").write_text("\n".join(["path,label", *lines]) + "\n", encoding="utf-8")
    dataset = read_dataset(tmp_path)
    assert all((tmp_path / path).is_file() for path in dataset.paths)
    assert [unicodedata.normalize("NFC", path) for path in dataset.paths] == [
        unicodedata.normalize("NFC", name) for name in names
    ]
