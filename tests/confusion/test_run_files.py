"""pairs.csv, matrix.csv and predictions/<recipe>.csv are read as they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sit2.confusion.matrix_file import matrix_table, read_matrix
from sit2.confusion.pairs import measure, select_pairs
from sit2.confusion.pairs_file import pairs_table, read_pairs
from sit2.confusion.predictions_file import predictions_table, read_predictions, read_run_predictions
from sit2.errors import RunFolderError
from sit2.records import Predictions
from sit2.storage.run_folder import RunFolder

TEXT = st.text(st.characters(), max_size=6)  # halves of characters too, as in file names that are not UTF-8
NAMES = st.lists(TEXT, min_size=2, max_size=4, unique=True).map(lambda names: tuple(sorted(names)))


@st.composite
def predicted(draw: st.DrawFn) -> tuple[Predictions, tuple[str, ...]]:
    """Draw probabilities of images of any classes, some of them even or nearly so."""
    classes = draw(NAMES)
    count = draw(st.integers(1, 6))
    whole = st.lists(st.integers(0, 3), min_size=len(classes), max_size=len(classes)).filter(any)
    weights = np.array([draw(whole) for _ in range(count)], dtype=np.float64)
    weights += draw(st.sampled_from([0.0, 1e-9, 1e-4])) * np.arange(len(classes))
    labels = np.array(draw(st.lists(st.integers(0, len(classes) - 1), min_size=count, max_size=count)))
    names = draw(st.lists(TEXT, min_size=count, max_size=count, unique=True))
    return Predictions(tuple(names), labels, weights / weights.sum(axis=1, keepdims=True)), classes


@settings(deadline=None, max_examples=50)
@given(predicted())
def test_predictions_come_back_and_so_does_what_is_predicted(tmp_path_factory: pytest.TempPathFactory, drawn):
    predictions, classes = drawn
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    paths = [f"photos/{name}" for name in predictions.ids]
    folder.write_table("predictions/plain.csv", predictions_table(predictions, classes, paths))
    found = read_run_predictions(folder.path / "predictions" / "plain.csv")
    assert (found.predictions.ids, found.paths, found.classes) == (predictions.ids, tuple(paths), classes)
    np.testing.assert_array_equal(found.predictions.labels, predictions.labels)
    np.testing.assert_allclose(found.predictions.probabilities, predictions.probabilities, atol=1e-6)
    np.testing.assert_array_equal(found.predictions.predicted, predictions.predicted)


def test_the_same_file_is_a_file_of_predictions_for_anyone(tmp_path: Path):
    probabilities = np.array([[0.75, 0.25], [0.4, 0.6]])
    predictions = Predictions(("1", "2"), np.array([0, 1]), probabilities)
    RunFolder(tmp_path).write_table("plain.csv", predictions_table(predictions, ("a", "b"), ["1", "2"]))
    found, labels, classes = read_predictions(tmp_path / "plain.csv")
    assert (found.tolist(), labels.tolist(), classes) == (probabilities.tolist(), [0, 1], ("a", "b"))


def test_no_file_is_none(tmp_path: Path):
    assert read_run_predictions(tmp_path / "plain.csv") is None
    assert read_matrix(tmp_path / "matrix.csv") is None


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("1,1.png,a,b,0.9,0.1", "a predicted class is not the most probable one"),
        ("1,1.png,a,c,0.9,0.1", "a predicted class is not the most probable one"),
        ("1,1.png,c,a,0.9,0.1", "line 2: label 'c' has no column"),
        ("1,1.png,a,a,0.9,0.3", "line 2 sums to 1.2"),
        ("1,1.png,a,a,0.9,x", "line 2: p_b is 'x'"),
    ],
)
def test_damaged_predictions(tmp_path: Path, row: str, why: str):
    path = tmp_path / "plain.csv"
    path.write_text(f"id,path,label,predicted,p_a,p_b\n{row}\n")
    with pytest.raises(RunFolderError, match=rf"^cannot read .*plain\.csv: .*{why}"):
        read_run_predictions(path)


@settings(deadline=None, max_examples=50)
@given(predicted())
def test_confusion_and_pairs_come_back(tmp_path_factory: pytest.TempPathFactory, drawn):
    predictions, classes = drawn
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    confusion = measure(predictions.probabilities, predictions.labels, list(classes))
    folder.write_table("matrix.csv", matrix_table(confusion))
    found = read_matrix(folder.path / "matrix.csv")
    assert found.classes == confusion.classes
    np.testing.assert_array_equal(found.samples, confusion.samples)
    np.testing.assert_allclose(found.mass, confusion.mass, atol=1e-6)
    pairs = select_pairs(predictions.probabilities, predictions.labels, classes=classes, min_confused=0.1)
    folder.write_table("pairs.csv", pairs_table(pairs))
    again = read_pairs(folder.path / "pairs.csv", classes)
    assert [(p.a, p.b, p.class_a, p.class_b, p.samples, p.chosen) for p in again] == [
        (p.a, p.b, p.class_a, p.class_b, p.samples, p.chosen) for p in pairs
    ]
    for name in ("score", "lower", "upper", "confused"):
        written, read = ([getattr(p, name) for p in some] for some in (pairs, again))
        np.testing.assert_allclose(read, written, atol=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "label,a,b,samples\n",
        "label,a,b\na,1,0\nb,0,1\n",
        "label,a,b,samples\nb,1,0,1\na,0,1,1\n",
        "label,a,b,samples\na,1,x,1\nb,0,1,1\n",
        "label,a,b,samples\na,1,0,many\nb,0,1,1\n",
    ],
)
def test_a_damaged_matrix(tmp_path: Path, content: str):
    path = tmp_path / "matrix.csv"
    path.write_text(content)
    with pytest.raises(RunFolderError, match=r"^cannot read .*matrix\.csv: "):
        read_matrix(path)
