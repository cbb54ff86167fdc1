"""Names that anybody may have chosen."""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from synthetic import TINY, command, shape

from sit2.cli.progress import Screen
from sit2.data.readers import read_dataset
from sit2.data.words import listed
from sit2.storage.escaping import neutral, neutral_table, restored, visible
from sit2.storage.untrusted import to_json

NAMES = st.text(st.characters(codec=None), max_size=12) | st.text("'=+-@\\x1b\n\udcff\x1b u0", max_size=8)


@given(NAMES)
def test_a_cell_comes_back(name: str) -> None:
    assert restored(neutral(name)) == name


@given(NAMES)
def test_a_cell_does_no_harm(name: str) -> None:
    cell = neutral(name)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in cell)
    assert cell[:1] not in ("=", "+", "-", "@") or len(cell) == 1 or isinstance(float(cell), float)
    cell.encode()  # a file name of broken characters can be written


USUAL = ("a", "7", "-1", "+1.5e3", "+", "-", "=", "'tis", "a\\b", "Käfer 🐞", "<script>", "", "it's", "x=1")


@pytest.mark.parametrize("name", USUAL)
def test_usual_names_stay_as_they_are(name: str) -> None:
    assert neutral(name) == restored(name) == name


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"), ("-2+3", "'-2+3"), ("@SUM(A1)", "'@SUM(A1)"), ("\tx", "'\\x09x"),
        ("a\x1b[2J", "'a\\x1b[2J"), ("a\\\n", "'a\\\\\\x0a"), ("'=1", "''=1"),
        ("caf\udce9.png", "'caf\\udce9.png"), ("a\u202egnp.exe", "'a\\u202egnp.exe"),
    ],
)  # fmt: skip
def test_others_get_an_apostrophe(name: str, cell: str) -> None:
    assert neutral(name) == cell


def test_a_table_keeps_its_numbers() -> None:
    table = pd.DataFrame({"=x": ["=a", None], "y": [1.5, -2.0], "z": [True, False], "w": [-1, 1]})
    made = neutral_table(table)
    assert made.to_csv(index=False) == "'=x,y,z,w\n'=a,1.5,True,-1\n,-2.0,False,1\n"


@given(NAMES)
def test_nothing_acts_on_the_terminal(name: str) -> None:
    shown = io.StringIO()
    console = Console(
        file=shown, force_terminal=True, width=10_000, highlight=False, soft_wrap=True, color_system=None
    )
    screen = Screen(out=console, err=console)
    for put in (screen.say, screen.warn):
        put(f"{name!s}")
    screen.table(name, ("a",), [(name,)])
    screen.say(listed([name]))
    text = shown.getvalue()
    assert not any(unicodedata.category(c) in ("Cc", "Cs") and c != "\n" for c in text)


def test_newlines_are_kept_where_they_are_ours() -> None:
    assert visible("a\nb\r") == "a\nb\\x0d"
    assert visible("a\nb", newlines=False) == "a\\x0ab"
    assert listed(["a\nsit2: all is well"]) == "a\\x0asit2: all is well"


@given(NAMES)
def test_json_of_any_name_can_be_written_and_read(name: str) -> None:
    import json

    assert json.loads(to_json({name: name}).encode()) == {name: name}


ODD_CLASSES = ("=1+1", "<script>", "\x1b[31mred")


def test_a_run_on_odd_names(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Train, predict and measure on folders and files with odd names: they come back from every CSV."""
    draw = np.random.default_rng(0)
    data = tmp_path / "data"
    for name, kind in zip(ODD_CLASSES, ("cross", "disc", "oval"), strict=True):
        (data / name).mkdir(parents=True)
        for n in range(8):
            odd = ("\n", "\udcff", "'=", ",", '"')[n % 5]
            Image.fromarray(shape(kind, draw)).save(data / name / f"{n}{odd}.png", "PNG")
    out = tmp_path / "run"
    assert command(["train", data, "-o", out, *TINY, "--min-confused", "0"]) == 0
    assert command(["predict", data, "--model", out]) == 0
    assert command(["confusion", out / "predictions" / "plain.csv"]) == 0
    assert command(["evaluate", data, "--model", out]) == 0
    printed = capfd.readouterr()
    assert not any(unicodedata.category(c) == "Cc" and c != "\n" for c in printed.out + printed.err)
    assert "left out: the model was trained or validated on them" in printed.err.replace("\n", " ")
    with (out / "samples.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {restored(row["label"]) for row in rows} == set(ODD_CLASSES)
    assert all((data / restored(row["path"])).is_file() for row in rows)
    (data / "samples.csv").write_bytes((out / "samples.csv").read_bytes())
    dataset = read_dataset(data)
    assert sorted(dataset.classes) == sorted(ODD_CLASSES)
    assert set(dataset.ids) == {restored(row["path"]) for row in rows}
    for file in out.rglob("*.csv"):
        cells = [cell for row in csv.reader(file.read_text(encoding="utf-8").splitlines()) for cell in row]
        assert not any("\x1b" in cell or cell.startswith("=") for cell in cells)
