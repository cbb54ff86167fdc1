"""Tables of predictions from users: what is read, and what each mistake is called."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sit2.confusion.external_predictions import Columns
from sit2.confusion.pairs import select_pairs
from sit2.confusion.pairs_file import read_pairs
from sit2.confusion.predictions_file import (
    is_predictions_file,
    predictions_table,
    read_predictions,
    read_predictions_for,
)
from sit2.errors import DataError
from sit2.records import Dataset, Predictions
from sit2.storage.escaping import neutral_table

GOOD = "id,label,p_cat,p_dog\n1.png,cat,0.9,0.1\n2.png,dog,0.25,0.75\n"


@pytest.fixture
def read(tmp_path: Path):
    def write_and_read(text: str, name: str = "mine.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_predictions(tmp_path / name)

    return write_and_read


def test_a_table(read):
    probabilities, labels, classes = read(GOOD)
    assert probabilities.tolist() == [[0.9, 0.1], [0.25, 0.75]]
    assert labels.tolist() == [0, 1]
    assert (probabilities.dtype, labels.dtype) == (np.float64, np.int64)
    assert classes == ("cat", "dog")
    assert select_pairs(probabilities, labels, classes=classes, min_confused=0)[0].class_b == "dog"


@pytest.mark.parametrize("names", [("7", "007"), ("NA", "null"), ("1.0", "True"), ("größer", "a b")])
def test_names_stay_text(read, names):
    a, b = names
    assert read(f"label,p_{a},p_{b}\n{b},0.9,0.1\n{a},0.2,0.8\n")[1].tolist() == [1, 0]
    assert read(f"label,p_{a},p_{b}\n{b},0.9,0.1\n")[2] == names


def test_what_editors_do_to_a_file_is_no_error(read):
    windows = "\ufeff" + GOOD.replace(",", ", ").replace("\n", "\r\n") + "\r\n,,,\r\n"
    for mine, plain in zip(read(windows), read(GOOD), strict=True):
        assert np.array_equal(mine, plain)


@pytest.mark.parametrize("sign", [";", "\t"])
def test_what_spreadsheets_put_between_columns(read, sign):
    exported = GOOD.replace(",", sign)
    exported = "\ufeff" + (exported.replace(".", ",") if sign == ";" else exported).replace("\n", "\r\n")
    for mine, plain in zip(read(exported), read(GOOD), strict=True):
        assert np.array_equal(mine, plain)


def test_parquet_gives_the_same(tmp_path, read):
    table = pd.DataFrame({"label": [7, 8], "p_7": [0.9, 0.25], "p_8": [0.1, 0.75]}, index=[5, 6])
    table.to_parquet(tmp_path / "mine.parquet")
    probabilities, labels, classes = read_predictions(tmp_path / "mine.parquet")
    assert (probabilities.tolist(), labels.tolist(), classes) == (
        [[0.9, 0.1], [0.25, 0.75]],
        [0, 1],
        ("7", "8"),
    )
    table.loc[6, "p_8"] = np.nan
    table.to_parquet(tmp_path / "hole.parquet")
    with pytest.raises(DataError) as error:
        read_predictions(tmp_path / "hole.parquet")
    assert str(error.value) == (
        f"{tmp_path / 'hole.parquet'}, row 1: p_8 is 'nan'\nexpected a number from 0 to 1"
    )
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"cannot read .*broken.parquet: "):
        read_predictions(tmp_path / "broken.parquet")


COLUMNS = "expected a column 'label' and a column p_<class> for each class"
SOFTMAX = "expected probabilities that sum to 1; apply softmax to scores or logits first"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "what,p_a,p_b\na,1,0\n",
            (
                "mine.csv has no column of the true class: its columns are what, p_a, p_b\n"
                "expected 'label', 'target' or the like; name it with --label-column"
            ),
        ),
        (
            "label,a,b\nc,1,0\n",
            (
                "mine.csv has no predictions: its columns are label, a, b\n"
                "expected a column p_<class> for each class (another prefix: --probability-prefix), or one of the "
                "predicted class (another name: --predicted-column)"
            ),
        ),
        ("label,p_a\na,1\n", "mine.csv has one class only, 'a'\nexpected two or more columns p_<class>"),
        ("label,p_a,p_b,p_a\na,1,0,1\n", "mine.csv has 2 columns named 'p_a'\nkeep one of them"),
        ("label,p_a,p_b\n", f"mine.csv holds no predictions\n{COLUMNS}, and a line for each image"),
        (
            "label,p_cat,p_dog\ncat,1,0\ndgo,0,1\n",
            "mine.csv, line 3: label 'dgo' has no column 'p_dgo'\ndid you mean 'dog'?",
        ),
        (
            "label,p_a,p_b\na,1,0\n,0,1\n",
            "mine.csv, line 3: the label is empty\nexpected the name of the image's true class",
        ),
        ("label,p_a,p_b\n\na,1,\n", "mine.csv, line 3: p_b is ''\nexpected a number from 0 to 1"),
        ("label,p_a,p_b\na,1\n", "mine.csv, line 2: p_b is ''\nexpected a number from 0 to 1"),
        ('label,p_a,p_b\na,"0,5","0,5"\n', "mine.csv, line 2: p_a is '0,5'\nexpected a number from 0 to 1"),
        ("label,p_a,p_b\na,NaN,1\n", "mine.csv, line 2: p_a is 'NaN'\nexpected a number from 0 to 1"),
        (
            "label,p_a,p_b\na,inf,1\n",
            "mine.csv, line 2 holds a number that is not finite\nexpected probabilities from 0 to 1",
        ),
        ("label,p_a,p_b\na,-1,2\n", f"mine.csv, line 2 holds the negative number -1\n{SOFTMAX}"),
        ("label,p_a,p_b\na,1,0\na,90,10\n", f"mine.csv, line 3 sums to 100\n{SOFTMAX}"),
        ("", "cannot read mine.csv: No columns to parse from file"),
        (
            "label,p_a,p_b\na,1,0,0\n",
            "cannot read mine.csv: Error tokenizing data. C error: Expected 3 fields in line 2, saw 4",
        ),
    ],
)
def test_each_mistake_has_its_sentence(read, tmp_path, text, message):
    with pytest.raises(DataError) as error:
        read(text)
    assert str(error.value).replace(f"{tmp_path}/", "") == message


@pytest.mark.parametrize(
    "text",
    [
        "filename,target,cat,dog\n1.png,cat,0.9,0.1\n2.png,dog,0.25,0.75\n",
        "filename,target,cat,dog,width\n1.png,cat,0.9,0.1,640\n2.png,dog,0.25,0.75,480\n",
        "True Class,prob_cat,prob_dog,y_pred\ncat,0.9,0.1,cat\ndog,0.25,0.75,dog\n",
        "path,y_true,score_cat,score_dog\n1.png,cat,0.9,0.1\n2.png,dog,0.25,0.75\n",
        "image,class,cat,dog,confidence\n1.png,cat,0.9,0.1,0.9\n2.png,dog,0.25,0.75,0.75\n",
    ],
)
def test_usual_names_are_guessed(read, tmp_path, text):
    probabilities, labels, classes = read(text)
    assert (probabilities.tolist(), labels.tolist(), classes) == (
        [[0.9, 0.1], [0.25, 0.75]],
        [0, 1],
        ("cat", "dog"),
    )
    assert is_predictions_file(tmp_path / "mine.csv")


def test_a_class_of_which_there_is_no_image(read):
    probabilities, _, classes = read("id,target,cat,dog,owl\n1,cat,0.8,0.1,0.1\n2,dog,0.25,0.5,0.25\n")
    assert classes == ("cat", "dog", "owl")
    assert probabilities.shape == (2, 3)


@pytest.mark.parametrize("header", ["label,predicted", "target,prediction", "y_true,y_pred", "Actual,Pred"])
def test_hard_predictions(read, tmp_path, header):
    probabilities, labels, classes = read(f"{header}\n3,10\n10,10\n3,3\n")
    assert classes == ("10", "3")
    assert labels.tolist() == [1, 0, 1]
    assert probabilities.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert is_predictions_file(tmp_path / "mine.csv")


def test_whole_numbers_with_a_point_are_the_same_classes(tmp_path):
    place = tmp_path / "mine.csv"
    place.write_text("label,predicted\n1,1.0\n2,1.0\n1,2.0\n")
    assert read_predictions(place)[2] == ("1", "2")


def test_names_that_are_asked_for(tmp_path):
    place = tmp_path / "mine.csv"
    place.write_text("label,was,m1:cat,m1:dog,m2:cat,m2:dog\nx,dog,0.9,0.1,0.3,0.7\nx,cat,0.5,0.5,1,0\n")
    probabilities, labels, classes = read_predictions(place, Columns(label="was", prefix="m2:"))
    assert (probabilities.tolist(), labels.tolist(), classes) == (
        [[0.3, 0.7], [1, 0]],
        [1, 0],
        ("cat", "dog"),
    )
    for asked, message in (
        (Columns(label="wass"), "has no column 'wass'\ndid you mean 'was'"),
        (Columns(label="was", prefix="m3:"), "has no column that begins with 'm3:'"),
    ):
        with pytest.raises(DataError, match=message):
            read_predictions(place, asked)


def test_a_manifest_of_images_is_no_table_of_predictions(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,group\na.png,cat,1\n")
    assert not is_predictions_file(tmp_path / "m.csv")


def test_names_that_a_spreadsheet_would_compute(tmp_path):
    """sit2 writes "-neg" as "'-neg" into its CSV files, and reads it back."""
    names = ("-neg/1.png", "@home/1.png")
    dataset = Dataset("x", tmp_path, ("-neg", "@home"), names, names, np.array([0, 1]))
    predictions = Predictions(names, dataset.labels, np.array([[0.9, 0.1], [0.2, 0.8]]))
    table = neutral_table(predictions_table(predictions, dataset.classes, names))
    table.to_csv(tmp_path / "p.csv", index=False)
    assert "'-neg/1.png" in (tmp_path / "p.csv").read_text()
    assert read_predictions_for(dataset, tmp_path / "p.csv").tolist() == [[0.9, 0.1], [0.2, 0.8]]


def test_no_such_file_and_no_such_kind(tmp_path):
    with pytest.raises(DataError) as error:
        read_predictions(Path("gone.csv"))
    assert str(error.value) == f"no such file: gone.csv\n{COLUMNS}, as CSV or Parquet"
    with pytest.raises(DataError) as error:
        read_predictions(Path("mine.xlsx"))
    assert str(error.value) == "cannot read mine.xlsx\nexpected a file that ends in .csv or .parquet"


def test_a_pair_that_stands_twice(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("class_a,class_b\nant,bee\nbee,ant\n")
    with pytest.raises(DataError, match=r"line 3: ant and bee stand twice\nkeep one"):
        read_pairs(file, ("ant", "bee"))


def test_rounded_rows_are_read(read):
    assert read("label,p_a,p_b,p_c\na,0.333,0.333,0.333\n")[0].sum() == pytest.approx(0.999)
