"""What folders mean: a layer above the classes is never taken for them without a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic import TINY, command, write_folder

from sit2.data.readers import read_dataset
from sit2.data.readers.layout import UnclearLayoutError, find_layout
from sit2.errors import DataError

Printed = pytest.CaptureFixture[str]


def folders(*places: str, images: int = 2) -> list[list[str]]:
    return [place.split("/") for place in places for _ in range(images)]


def across(tops: str, classes: str) -> list[list[str]]:
    return folders(*(f"{top}/{name}" for top in tops.split() for name in classes.split()))


def readings(found: list[list[str]]) -> tuple[str, str]:
    with pytest.raises(UnclearLayoutError) as caught:
        find_layout(Path("DATA"), found)
    assert all(f"--layout {one}:" in str(caught.value) for one in caught.value.readings)
    assert len(str(caught.value).splitlines()) == 3
    return caught.value.readings


class TestALayer:
    @pytest.mark.parametrize(
        "found",
        [
            across("siteA siteB", "benign malignant"),
            across("2021 2022 2023", "a b c d"),
            across("benign malignant", "benign malignant"),  # batches that bear the classes' names
            across("train bus", "train bus"),
            [*across("siteA siteB", "benign malignant"), *folders("siteC/benign")],  # one lacks a class
            folders("A/Benign", "A/Malignant", "B/benign", "B/malignant", "C/BENIGN", "C/malignant"),
            [*across("A B", "x y") * 10, ["A"], []],  # with a stray image
            [[*names, "raw"] for names in across("A B", "x y")],
        ],
    )
    def test_above_the_classes(self, found: list[list[str]]) -> None:
        assert readings(found) == ("group/class", "class")

    def test_between_splits_and_classes(self) -> None:
        found = [[split, *names] for split in ("train", "test") for names in across("A B", "x y")]
        assert readings(found) == ("split/group/class", "split/class")

    def test_two_layers_above_the_classes(self) -> None:
        found = [[top, *names] for top in ("north", "south") for names in across("A B", "sick well")]
        assert readings(found) == ("group/class", "class")
        with pytest.raises(
            UnclearLayoutError, match="if the classes are sick, well, further down, list the images in a"
        ):
            find_layout(Path("DATA"), found)

    def test_splits_below_the_classes(self) -> None:
        assert readings(across("cat dog", "train test")) == ("class/split", "class")

    @pytest.mark.parametrize(
        "found",
        [
            folders("cat", "dog"),
            folders("cat", "cat/old", "dog", "dog/old", "dog/new"),
            folders("cat/old", "dog/old"),
            folders("cat/p1", "cat/p2", "dog/p3", "dog/p4"),  # patients
            [*across("cat dog", "left right"), *folders("bird", images=4)],
        ],
    )
    def test_folders_within_classes_are_none(self, found: list[list[str]]) -> None:
        assert find_layout(Path("DATA"), found) == "class"


@pytest.mark.parametrize(
    "names", ["Training Testing", "TRAIN valid", "train Validation test", "training VAL"]
)
def test_names_of_splits(names: str) -> None:
    assert find_layout(Path("DATA"), across(names, "glioma pituitary")) == "split/class"


def test_a_training_folder_beside_others() -> None:
    with pytest.raises(DataError, match="mixes splits"):
        find_layout(Path("DATA"), [*across("train", "a b"), *folders("unlabelled")])


class TestChosen:
    @pytest.fixture(name="sites")
    def _sites(self, tmp_path: Path) -> Path:
        for n, site in enumerate(("siteA", "siteB", "siteC")):
            write_folder(tmp_path / "DATA" / site, 4, classes=("disc", "oval"), seed=n)
        return tmp_path / "DATA"

    def test_groups_above_classes(self, sites: Path) -> None:
        found = read_dataset(sites, layout="group/class")
        assert (found.classes, found.layout, found.splits) == (("disc", "oval"), "group/class", ())
        assert found.groups == tuple(name.split("/")[0] for name in found.ids)
        assert [found.classes[n] for n in found.labels] == [name.split("/")[1] for name in found.ids]
        assert read_dataset(sites, layout="group/class", groups="none").groups == ()

    def test_groups_below_classes(self, sites: Path) -> None:
        found = read_dataset(sites, layout="class/group")
        assert found.classes == ("siteA", "siteB", "siteC")
        assert set(found.groups) == {"disc", "oval"}
        assert read_dataset(sites, layout="class").groups == ()

    @pytest.mark.parametrize("layout", ["split/class", "class/split", "split/group/class"])
    def test_splits(self, tmp_path: Path, layout: str) -> None:
        place = {"split": ("Training", "testing"), "class": ("x", "y"), "group": ("A", "B")}
        words = layout.split("/")
        paths = [tmp_path]
        for word in words:
            paths = [path / name for path in paths for name in place[word]]
        for path in paths:
            write_folder(path, 2, classes=("disc",))
        found = read_dataset(tmp_path, layout=layout)
        assert found.classes == ("x", "y")
        at = words.index("split")
        expected = {"Training": "train", "testing": "test"}
        assert found.splits == tuple(expected[name.split("/")[at]] for name in found.ids)
        assert set(found.groups) == ({"A", "B"} if "group" in words else set())

    def test_a_folder_that_is_no_split(self, sites: Path) -> None:
        with pytest.raises(
            DataError, match=r"siteA, siteB, siteC are no splits\nexpected folders called train"
        ):
            read_dataset(sites, layout="split/class")

    def test_classes_called_train_and_test(self, tmp_path: Path) -> None:
        write_folder(tmp_path, 2, classes=("disc", "oval"))
        (tmp_path / "disc").rename(tmp_path / "train")
        (tmp_path / "oval").rename(tmp_path / "test")
        assert read_dataset(tmp_path, layout="class").classes == ("test", "train")

    def test_of_what_has_no_folders(self, tmp_path: Path) -> None:
        (tmp_path / "m.csv").write_text("path,label\na.png,x\nb.png,x\nc.png,y\nd.png,y\n")
        with pytest.raises(DataError, match="is not read by its folders"):
            read_dataset(tmp_path / "m.csv", layout="class")

    def test_command(self, sites: Path, tmp_path: Path, capsys: Printed) -> None:
        """`check` exits 1 and `train` 2; both say the two readings; the flag chooses."""
        assert command(("check", sites, "--json")) == 1
        wrong = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["severity"] == "wrong"]
        assert command(("train", sites, "-o", tmp_path / "run", *TINY)) == 2
        told = capsys.readouterr().err
        assert not (tmp_path / "run").exists()
        for text in (told, " ".join([wrong[0]["text"], wrong[0]["hint"]])):
            assert "--layout group/class: classes disc, oval; siteA, siteB, siteC are groups" in text
            assert "--layout class: classes siteA, siteB, siteC" in text
        assert command(("check", sites, "--layout", "group/class", "--groups", "none", "--quiet")) == 0
        assert command(("train", sites, "-o", tmp_path / "run", "--layout", "split/classes", *TINY)) == 2
        assert "layout" in capsys.readouterr().err


class TestEveryVerb:
    """A run on sites that bear the classes' names, and the same labels in everything that is done with it."""

    def test_train_predict_evaluate(self, tmp_path: Path, capsys: Printed) -> None:
        data, new, run = tmp_path / "DATA", tmp_path / "new", tmp_path / "run"
        for n, site in enumerate(("disc", "oval", "north")):
            write_folder(data / site, 6, classes=("disc", "oval"), seed=n)
        for n, site in enumerate(("disc", "oval")):
            write_folder(new / site, 3, classes=("disc", "oval"), seed=10 + n)
        how = ("--layout", "group/class", "--groups", "none", "--quiet")
        settings = ("--method", "plain", "--backbone", "small-cnn", "--epochs", 1, "--image-size", 16)
        assert command(("train", data, "-o", run, *settings, *how)) == 0
        samples = (run / "samples.csv").read_text().splitlines()[1:]
        assert {tuple(line.split(",")[1].split("/")[1:2]) == (line.split(",")[2],) for line in samples} == {
            True
        }
        for verb, more in (
            ("confusion", settings[2:]),
            ("compare", ("--methods", "plain,label-smoothing", *settings[2:])),
        ):
            assert command((verb, data, "-o", tmp_path / verb, *more, *how)) == 0, verb
        for layout in ("auto", "group/class"):
            out = tmp_path / layout.replace("/", "-")
            words = ("evaluate", new, "--model", run, "-o", out, "--layout", layout)
            assert command((*words, "--quiet")) == 0
            lines = [line.split(",") for line in (out / "predictions.csv").read_text().splitlines()]
            path, label = lines[0].index("path"), lines[0].index("label")
            assert {line[path].split("/")[-2] == line[label] for line in lines[1:]} == {True}
        capsys.readouterr()
