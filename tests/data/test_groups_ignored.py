"""`--groups none`, what `check` says of too few groups, and intervals that come from few."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic import TINY, command, write_folder

from sit2.data.readers import read_dataset
from sit2.evaluation.proportions import FEW_GROUPS, few_groups

Printed = pytest.CaptureFixture[str]


def grouped(root: Path, groups: int, *, per_class: int = 6, gaps: bool = False) -> Path:
    """Write images and root/samples.csv with a column ``group``."""
    write_folder(root, per_class)
    files = sorted(root.glob("*/*.png"))
    lines = [
        f"{path.relative_to(root)},{path.parent.name},{'' if gaps and n == 3 else f'p{n % groups}'}"
        for n, path in enumerate(files)
    ]
    (root / "samples.csv").write_text("\n".join(["path,label,group", *lines]) + "\n")
    return root


def refusals(capsys: Printed, data: Path, *words: str) -> list[str]:
    """Return what ``check`` finds wrong, its exit code looked at."""
    capsys.readouterr()
    code = command(("check", data, "--json", *words))
    wrong = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["severity"] == "wrong"]
    assert code == bool(wrong)
    return [f"{one['text']} {one['hint']}" for one in wrong]


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_check_says_what_train_refuses(tmp_path: Path, capsys: Printed, groups: int) -> None:
    data = grouped(tmp_path / "DATA", groups)
    (said,) = refusals(capsys, data)
    assert said.startswith("sit2 train will refuse this: ")
    assert "--groups none" in said
    assert command(("train", data, "-o", tmp_path / "run", *TINY, "--quiet")) == 2
    assert "--groups none ignores" in capsys.readouterr().err
    assert refusals(capsys, data, "--groups", "none") == []


def test_check_says_what_train_refuses_of_unreadable_images(tmp_path: Path, capsys: Printed) -> None:
    data = write_folder(tmp_path / "DATA", 4)
    for path in sorted((data / "oval").iterdir())[1:]:
        path.write_bytes(b"no image")
    (said,) = refusals(capsys, data)
    assert said.startswith("sit2 train will refuse this: class 'oval' has only one image.")


def test_enough_groups_are_no_finding(tmp_path: Path, capsys: Printed) -> None:
    assert refusals(capsys, grouped(tmp_path / "DATA", 6)) == []


def test_the_column_is_ignored(tmp_path: Path) -> None:
    data = grouped(tmp_path / "DATA", 2, gaps=True)
    assert read_dataset(data, groups="none").groups == ()
    folder = write_folder(tmp_path / "photos", 2)
    assert read_dataset(folder, groups="none").groups == ()


def test_few_groups_in_words(tmp_path: Path, capsys: Printed) -> None:
    data = grouped(tmp_path / "DATA", 7, per_class=12)
    for groups, said in (("group", True), ("none", False)):
        run = tmp_path / groups
        how = ("--method", "plain", "--backbone", "small-cnn", "--epochs", 1, "--image-size", 16)
        assert command(("train", data, "-o", run, *how, "--groups", groups)) == 0
        told, page = " ".join(capsys.readouterr().out.split()), (run / "report.html").read_text()
        for text in (told, page):
            assert ("images of one group are alike: the intervals allow for that" in text) == said


def test_few_are_fewer_than_ten() -> None:
    assert few_groups(()) == few_groups(tuple("abc")) == ""  # none; each image its own
    many = [str(n % FEW_GROUPS) for n in range(50)]
    assert few_groups(many) == ""
    assert few_groups(many[:9] * 4).startswith("The 36 test images come from only 9 groups, and")
