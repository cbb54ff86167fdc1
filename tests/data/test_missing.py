"""Labels and groups that a program hands over: nothing that is missing becomes a class or a group."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sit2.data.readers.missing import labels_of, none_missing
from sit2.errors import DataError

NAN = float("nan")
TEXTS = ["a", "b", "a", None, "b", NAN]


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        (["a", None, "b"], "row 1"),
        (["a", NAN, "b"], "row 1"),
        (["a", pd.NA, "b"], "row 1"),
        (["a", " ", "b"], "row 1"),
        ([0, None, 1, None], "rows 1, 3"),
        (np.array([0.0, NAN, 1.0]), "row 1"),
        (np.array(["a", "", "b"]), "row 1"),
        (np.array(TEXTS, dtype=object), "rows 3, 5"),
        (np.ma.masked_array([0, 1, 2], mask=[False, True, False]), "row 1"),
        (pd.Series(TEXTS), "rows 3, 5"),
        (pd.Series(TEXTS, dtype="string", index=range(7, 13)), "rows 3, 5"),
        (pd.Series(pd.Categorical(["a", None, "b"])), "row 1"),
        (pd.Series([1, None, 2], dtype="Int64"), "row 1"),
        (pd.Series([True, None, False], dtype="boolean"), "row 1"),
        (pd.Series([pd.Timestamp(0), pd.NaT]), "row 1"),
        ([NAN] * 9, "rows 0, 1, 2, 3, 4 and 4 more"),
    ],
)
def test_what_is_missing_is_named(values, rows):
    for look in (lambda: labels_of(values, "y"), lambda: none_missing(values, "label", "y")):
        with pytest.raises(DataError) as caught:
            look()
        first, second = str(caught.value).splitlines()
        assert first.startswith("y: ")
        assert f"missing (None, NaN or empty), in {rows}, counted from 0" in first
        assert second == "expected a label for each image: fill them in, or leave the images out"


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        ([2, 10, 2], [2, 10, 2], "i"),
        ([True, False], [True, False], "b"),
        ([1, 2.0], [1.0, 2.0], "f"),
        (["a", np.str_("b")], ["a", "b"], "U"),
        (["nan", "None", "NA"], ["nan", "None", "NA"], "U"),  # names, as texts always are
        (np.array([2, 10], dtype=object), [2, 10], "i"),
        (np.array(["a", "b"], dtype=object), ["a", "b"], "O"),
        (pd.Series([3, 4], dtype="Int64"), [3, 4], "i"),
        (pd.Series(pd.Categorical(["a", "b"])), ["a", "b"], "O"),
    ],
)
def test_what_is_there_keeps_its_kind(values, expected, kind):
    found = labels_of(values, "y")
    assert found.tolist() == expected
    assert found.dtype.kind == kind


@pytest.mark.parametrize("values", [["1", 1], np.array([1, "1"], dtype=object)])
def test_texts_beside_numbers(values):
    with pytest.raises(
        DataError, match=r"^y holds labels of several kinds\nexpected all numbers, or all texts$"
    ):
        labels_of(values, "y")
    assert none_missing(values, "group", "groups").tolist() == list(values)  # groups may be


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1, 2.5], "2.5"),
        (np.array([0.0, 0.25]), "0.25"),
        (np.array([[0.0], [0.25]]), "0.25"),
        (np.array([1.0, np.inf]), "inf"),
        (np.array([1 + 0j, 2 + 1j]), r"\(1\+0j\)"),
        (pd.Series([1.0, 1.5], dtype="Float64"), "1.5"),
        (np.array([1, 1.5], dtype=object), "1.5"),
    ],
)
def test_measurements_are_no_labels(values, shown):
    with pytest.raises(
        DataError, match=rf"^y holds {shown}, which names no class\nexpected whole numbers or texts"
    ):
        labels_of(values, "y")
