"""Lists for labelling tools have the form that these document."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from synthetic import CLASSES, arrays, command, finished, save, write_folder

from sit2.storage.labelling_files import Listed, write_lists


def read(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def check_label_studio(folder: Path, classes: tuple[str, ...]) -> list[dict]:
    """Hold the tasks against https://labelstud.io/guide/predictions and the interface beside them."""
    tasks = read(folder / "label-studio.json")
    view = ElementTree.parse(folder / "label-studio.xml").getroot()
    image, choices = view.find("Image"), view.find("Choices")
    assert image is not None
    assert choices is not None
    assert choices.get("toName") == image.get("name")
    assert [one.get("value") for one in choices] == list(classes)
    for task in tasks:
        assert image.get("value") == "$image"
        place = unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        assert Path("/", place).is_file()
        for prediction in task.get("predictions", []):
            assert isinstance(prediction["model_version"], str)
            assert 0 <= prediction.get("score", 0) <= 1
            (result,) = prediction["result"]
            assert (result["from_name"], result["to_name"]) == (choices.get("name"), image.get("name"))
            assert result["type"] == "choices"
            assert set(result["value"]["choices"]) <= set(classes)
    return tasks


def check_fiftyone(folder: Path, classes: tuple[str, ...]) -> dict:
    """Hold the folder against FiftyOneImageClassificationDataset: uuid → target, uuid → place."""
    labels, places = read(folder / "fiftyone" / "labels.json"), read(folder / "fiftyone" / "data.json")
    assert labels["classes"] == list(classes)
    assert labels["labels"].keys() == places.keys()
    assert all(Path(place).is_absolute() and Path(place).is_file() for place in places.values())
    for target in filter(None, labels["labels"].values()):
        assert 0 <= target["label"] < len(classes)
        assert set(target) <= {"label", "confidence", "attributes"}
    return labels["labels"]


def test_an_odd_name_and_an_image_without_a_label(tmp_path: Path) -> None:
    paths = [save(tmp_path / name, arrays(1)[0][0]) for name in ("a & b?.png", "two.png")]
    images = [Listed(paths[0], 'x"<', 0.25, {"why": "seen"}), Listed(paths[1])]
    write_lists(tmp_path / "out", images, ('x"<', "y"), author="me")
    first, second = check_label_studio(tmp_path / "out", ('x"<', "y"))
    assert first["data"]["why"] == "seen"
    assert first["predictions"][0]["score"] == 0.25
    assert "predictions" not in second
    assert list(check_fiftyone(tmp_path / "out", ('x"<', "y")).values()) == [
        {"label": 0, "confidence": 0.25, "attributes": {"why": "seen"}},
        None,
    ]


def test_what_check_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write_folder(tmp_path / "data"), tmp_path / "out"
    shutil.copy(data / "disc" / "disc_00.png", data / "oval" / "oval_03.png")  # two labels of one photo
    assert command(("check", data, "-o", out)) == 1
    assert f"Lists for labelling tools: {out}" in capsys.readouterr().out
    tasks = check_label_studio(out, CLASSES)
    named = {Path(unquote(task["data"]["image"])).name for task in tasks}
    assert {"disc_00.png", "oval_03.png"} <= named
    assert "label conflict" in tasks[0]["data"]["findings"]
    assert len(check_fiftyone(out, CLASSES)) == len(tasks)
    assert command(("check", data, "-o", out)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert command(("check", data, "-o", out, "--overwrite", "--quiet")) == 1


def test_what_was_found_is_said_also_where_no_list_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = arrays(4)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    assert command(("check", tmp_path / "data.npz", "-o", tmp_path / "out")) == 2
    printed = capsys.readouterr()
    assert "disc" in printed.out  # the table of classes
    assert "the images are no files of their own" in printed.err


def test_what_suggest_chose(tmp_path: Path) -> None:
    for n, image in enumerate(arrays(3, seed=9)[0]):
        save(tmp_path / "new" / f"{n}.png", image)
    words = ("suggest", tmp_path / "new", "--model", finished().run, "-n", 4, "--quiet", "--lists")
    assert command((*words, "-o", tmp_path / "out")) == 0
    tasks = check_label_studio(tmp_path / "out" / "lists", CLASSES)
    assert [task["data"]["rank"] for task in tasks] == [1, 2, 3, 4]
    assert len(check_fiftyone(tmp_path / "out" / "lists", CLASSES)) == 4
