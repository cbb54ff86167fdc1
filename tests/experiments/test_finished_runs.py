"""`sit2 compare` on finished runs compares their predictions; nothing is taken for images, nothing is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_run import change_json, write_run
from synthetic import command

from sit2.evaluation.paired_test import sign_flip_exact
from sit2.evaluation.statistics import LIMIT
from sit2.experiments.finished_runs import compare_finished


def made(
    folder: Path, wrong: int, *, n: int = 100, shift: int = 0, recipe: str = "plain", labels_flip: int = 0
) -> Path:
    """Write a run of two classes whose first images are wrong."""
    labels = np.arange(n) % 2
    labels[:labels_flip] = 1 - labels[:labels_flip]
    predicted = np.where(np.arange(n) < wrong, 1 - labels, labels)
    names = [f"{k + shift}.png" for k in range(n)]
    return write_run(
        folder,
        ("a", "b"),
        labels,
        None,
        predicted,
        recipes=("", recipe),
        names=names,
        settings={"method": recipe},
    )


def test_two_runs_on_the_same_test_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = made(tmp_path / "one", 40), made(tmp_path / "two", 10, recipe="mixup")
    found = compare_finished([one, two])
    (test,) = found.tests.values()
    assert (test.n, test.accuracy, test.control_accuracy, test.verdict) == (100, 0.9, 0.6, "better")
    assert test.p == pytest.approx(sign_flip_exact(np.array([1] * 30)))
    assert command(("compare", one, two)) == 0
    said = capsys.readouterr().out
    assert "Test on 100 images" in said
    assert f"{two} (mixup) is better than {one} (plain): 90.0 % against 60.0 %" in said


def test_runs_with_folds_are_no_held_out_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = made(tmp_path / "one", 40), made(tmp_path / "two", 10, recipe="mixup")
    for run in runs:
        samples = pd.read_csv(run / "samples.csv", keep_default_na=False, dtype=str)
        samples["fold"] = [str(n % 5 + 1) for n in range(len(samples))]
        samples.to_csv(run / "samples.csv", index=False)
    assert command(("compare", *runs)) == 0
    said = capsys.readouterr().out
    assert "Left-out figures by 5-fold cross-validation over 100 images" in said
    assert LIMIT not in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shift": 30}, "tested other images: 100 and 100, of which 70 are the same"),
        ({"n": 90}, "tested other images: 100 and 90, of which 90 are the same"),
        ({"labels_flip": 3}, "have other labels for the same test images"),
    ],
)
def test_other_images_are_refused(
    change: dict[str, int], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = made(tmp_path / "one", 40), made(tmp_path / "two", 10, **change)  # type: ignore[arg-type]
    assert command(("compare", *runs)) == 2
    assert message in capsys.readouterr().err


def test_what_is_no_pair_of_finished_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = made(tmp_path / "one", 40), made(tmp_path / "two", 10)
    (tmp_path / "images").mkdir()
    for words, message in (
        ((one, tmp_path / "images", "-o", tmp_path / "c"), "is the folder of a run, not a set of images"),
        ((one, "-o", tmp_path / "c"), "is the folder of a run, not a set of images"),
        ((one, two, "-o", tmp_path / "c"), "leave -o out"),
        ((one, one), "is named twice"),
        ((tmp_path / "images",), "-o is missing"),
    ):
        assert command(("compare", *words)) == 2
        assert message in capsys.readouterr().err
    change_json(two / "run.json", status="running")
    assert command(("compare", one, two)) == 2
    assert "is not finished or has no test" in capsys.readouterr().err
