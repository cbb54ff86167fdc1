"""`sit2 suggest`: the table, the page, what is left out."""

from __future__ import annotations

import csv
import html
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from synthetic import CLASSES, TINY, Finished, arrays, command, finished, save, write_folder

from sit2.data.readers import read_dataset
from sit2.data.readers.added_labels import with_added
from sit2.suggest.page import train_again

Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


@pytest.fixture(name="new")
def _new(tmp_path: Path) -> Path:
    """15 new images, one of them twice; one that is none."""
    for n, image in enumerate(arrays(5, seed=9)[0]):
        save(tmp_path / "new" / f"{n:02d}.png", image)
    shutil.copy(tmp_path / "new" / "03.png", tmp_path / "new" / "copy.png")
    (tmp_path / "new" / "none.png").write_text("no image")
    return tmp_path / "new"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("policy", ["random", "margin", "entropy", "confusion"])
def test_the_table_says_between_which_classes_the_model_wavers(
    done: Finished, new: Path, tmp_path: Path, policy: str
) -> None:
    words = ("suggest", new, "--model", done.run, "-n", 6, "--policy", policy, "--quiet")
    assert command((*words, "-o", tmp_path / "a")) == 0
    rows = table(tmp_path / "a" / "suggestions.csv")
    assert [*rows[0]][:5] == ["rank", "path", "class_a", "class_b", "score"]
    assert [row["rank"] for row in rows] == list("123456")
    assert command(("predict", new, "--model", done.run, "-o", tmp_path / "p", "--quiet")) == 0
    said = {row["path"]: row for row in table(tmp_path / "p" / "predictions.csv")}
    for row in rows:
        own = said[Path(row["path"]).name]
        chances = sorted(((float(own[f"p_{name}"]), name) for name in CLASSES), reverse=True)
        assert [row["class_a"], row["class_b"]] == [name for _, name in chances[:2]]
        assert float(row["p_class_a"]) == pytest.approx(chances[0][0], abs=1e-5)
        assert float(row["score"]) == pytest.approx(1 - chances[0][0] + chances[1][0], abs=1e-5)
        assert (row["policy"], row["label"]) == (policy, "")
    if policy == "margin":
        scores = [float(row["score"]) for row in rows]
        assert scores == sorted(scores, reverse=True)
    assert command((*words, "-o", tmp_path / "b", "--seed", 0)) == 0
    files = [(tmp_path / name / "suggestions.csv").read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_the_page_holds_its_pictures(done: Finished, new: Path, tmp_path: Path) -> None:
    assert command(("suggest", new, "--model", done.run, "-n", 4, "-o", tmp_path / "out", "--quiet")) == 0
    page = (tmp_path / "out" / "suggestions.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<img src="data:image/', page)) == 4
    for row in table(tmp_path / "out" / "suggestions.csv"):
        assert f"image {row['rank']}: {row['path']}" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "--add" in page
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "suggestions.csv",
        "suggestions.html",
    ]


def test_what_to_do_next_is_a_command_that_trains_as_the_run_did(
    done: Finished, new: Path, tmp_path: Path, capsys: Printed
) -> None:
    assert command(("suggest", new, "--model", done.run, "-n", 3, "-o", tmp_path / "out")) == 0
    again = next(line for line in capsys.readouterr().out.splitlines() if "sit2 train" in line)
    run, added = done.run.resolve(), tmp_path / "out" / "suggestions.csv"
    words = [
        "train",
        done.data.resolve(),
        "--config",
        run / "config.yaml",
        "-o",
        f"{run}-more",
        "--add",
        added,
    ]
    assert shlex.split(again) == ["sit2", *map(str, words)]
    page = (tmp_path / "out" / "suggestions.html").read_text(encoding="utf-8")
    assert again.strip() in html.unescape(re.sub("<[^>]*>", "", page))
    shutil.copytree(done.run / "model", tmp_path / "alone")
    assert command(("suggest", new, "--model", tmp_path / "alone", "-o", tmp_path / "out-2")) == 0
    assert "sit2 train DATA --add" in capsys.readouterr().out


def test_labels_of_an_earlier_round_stay(done: Finished, tmp_path: Path) -> None:
    run = shutil.copytree(done.run, tmp_path / "run")
    settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    (run / "config.yaml").write_text(yaml.safe_dump({**settings, "add": ["/first.csv"]}), encoding="utf-8")
    assert shlex.split(train_again(run, Path("second.csv")))[-2:] == ["--add", "/first.csv,second.csv"]


def test_nothing_is_said_of_sets(new: Path, tmp_path: Path, capsys: Printed) -> None:
    words = ("--calibration-fraction", 0.2, "--method", "plain+conformal", "--epochs", 0.1, "--quiet")
    data = write_folder(tmp_path / "shapes", 30)
    assert command(("train", data, "-o", tmp_path / "run", *TINY, *words)) == 0
    capsys.readouterr()
    assert command(("suggest", new, "--model", tmp_path / "run", "-n", 3, "-o", tmp_path / "out")) == 0
    assert "in their set" not in capsys.readouterr().err
    assert (
        command(("predict", new, "--model", tmp_path / "run", "-o", tmp_path / "said", "--coverage", 0.9))
        == 0
    )
    assert "in their set" in capsys.readouterr().err


def test_what_the_run_knows_and_copies_are_left_out(
    done: Finished, new: Path, tmp_path: Path, capsys: Printed
) -> None:
    for n, path in enumerate(sorted(done.data.rglob("*.png"))[::6]):  # of train, validation and test
        shutil.copy(path, new / f"known {n}.png")
    assert command(("suggest", new, "--model", done.run, "-n", 50, "-o", tmp_path / "out")) == 0
    told = capsys.readouterr().err
    assert "6 images left out: the run has labels of them" in told
    assert "1 image left out: equal to another" in told
    assert "15 images instead of 50" in told
    names = {Path(row["path"]).name for row in table(tmp_path / "out" / "suggestions.csv")}
    assert names == {f"{n:02d}.png" for n in range(15)}
    assert command(("suggest", done.data, "--model", done.run, "-o", tmp_path / "none")) == 2
    assert "knows all these images already" in capsys.readouterr().err


def test_labels_that_are_filled_in_can_be_added(done: Finished, new: Path, tmp_path: Path) -> None:
    assert command(("suggest", new, "--model", done.run, "-n", 5, "-o", tmp_path / "out", "--quiet")) == 0
    path = tmp_path / "out" / "suggestions.csv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    filled = [line + "disc" for line in lines[:3]]
    path.write_text("\n".join([header, *filled, *lines[3:]]) + "\n", encoding="utf-8")
    found = with_added(read_dataset(write_folder(tmp_path / "shapes", 4)), [path])
    assert len(found) == 12 + 3
    assert {Path(name).name for name in found.paths[12:]} == {
        Path(line.split(",")[1]).name for line in lines[:3]
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--policy", "marign"), "unknown policy 'marign'\ndid you mean 'margin'?"),
        (("-n", 0), "-n is 0\nexpected a number of images from 1"),
    ],
)
def test_what_cannot_be_asked(
    done: Finished, new: Path, tmp_path: Path, capsys: Printed, words: tuple[object, ...], message: str
) -> None:
    assert command(("suggest", new, "--model", done.run, "-o", tmp_path / "out", *words)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
