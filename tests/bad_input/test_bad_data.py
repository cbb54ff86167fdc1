"""Bad data and bad folders end in one to three lines that name the thing and the hint, and cost nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from synthetic import MEASURED, TINY, Finished, command, contents, listing, save, write_folder

Printed = pytest.CaptureFixture[str]
Error = Callable[..., str]


class TestData:
    """What is wrong with the images or labels: no output folder is made, none is emptied."""

    @pytest.fixture(autouse=True)
    def _nothing_is_written(self, tmp_path: Path) -> object:
        yield
        assert not (tmp_path / "run").exists()

    def train(self, error: Error, data: object) -> str:
        return error("train", data, "-o", "run", *TINY)

    EXPECTED = (
        "expected a folder with one folder of images for each class; an .npz file with images and labels; a .csv "
        "or .parquet manifest with the columns path,label; a .parquet file with images in it, as Hugging Face "
        "writes them"
    )

    def test_no_such_folder(self, error: Error) -> None:
        assert self.train(error, "nowhere") == f"no such file or folder: nowhere\n{self.EXPECTED}"

    def test_a_folder_with_a_similar_name(self, error: Error) -> None:
        write_folder(Path("shapes"), 2)
        assert self.train(error, "shape") == "no such file or folder: shape\ndid you mean 'shapes'?"

    @pytest.mark.parametrize("verb", ["check", "confusion", "synthesize"])
    def test_the_other_verbs(self, error: Error, verb: str) -> None:
        out = [] if verb == "check" else ["-o", "run"]
        assert error(verb, "nowhere", *out) == f"no such file or folder: nowhere\n{self.EXPECTED}"

    def test_a_class_with_one_image(self, error: Error) -> None:
        write_folder(Path("shapes"), 3)
        for n in (1, 2):
            Path(f"shapes/oval/oval_{n:02d}.png").unlink()
        assert self.train(error, "shapes") == (
            "class 'oval' has only one image\n"
            "expected at least two of each class: add images, or move the class away"
        )

    def test_one_class_only(self, error: Error) -> None:
        write_folder(Path("shapes"), 3, classes=("disc",))
        assert self.train(error, "shapes") == (
            "shapes has only one class, 'disc'\na classifier needs at least two: check the folders or labels"
        )

    def test_no_images_at_all(self, error: Error) -> None:
        Path("empty/cats").mkdir(parents=True)
        assert self.train(error, "empty") == (
            "empty holds no images\nexpected one folder for each class, such as empty/cat/1.jpg"
        )

    def test_images_without_a_class(self, error: Error) -> None:
        write_folder(Path("shapes"), 2)
        assert self.train(error, "shapes/disc") == (
            "the images lie directly in shapes/disc, so they have no class\n"
            "expected one folder for each class, such as shapes/disc/cat/disc_00.png"
        )

    def test_a_file_that_is_no_data(self, error: Error) -> None:
        Path("notes.txt").write_text("x")
        assert self.train(error, "notes.txt") == (
            f"cannot read notes.txt as a set of images\n{self.EXPECTED}"
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "file,label\na.png,disc\n",
                (
                    "list.csv has no column 'path'\n"
                    "its columns are file, label; rename the one that holds the path"
                ),
            ),
            (
                "path,kind\na.png,disc\n",
                (
                    "list.csv has no column 'label'\n"
                    "its columns are path, kind; rename the one that holds the label"
                ),
            ),
            (
                "path,label\na.png,disc\nb.png,\n",
                (
                    "list.csv, line 3: the label is empty\n"
                    "expected a value in every row: fill it in, or remove the row"
                ),
            ),
            (
                "path,label,split\na.png,disc,train\nb.png,oval,tset\n",
                "list.csv, line 3: unknown split 'tset'\ndid you mean 'test'?",
            ),
            ("path,label\n", "list.csv lists no images\nexpected one line for each: path,label"),
        ],
        ids=["no path", "no label", "label missing", "split", "nothing"],
    )
    def test_a_manifest(self, error: Error, text: str, message: str) -> None:
        Path("list.csv").write_text(text)
        assert self.train(error, "list.csv") == message

    @pytest.mark.parametrize("verb", ["train", "check", "predict", "evaluate"])
    @pytest.mark.parametrize(
        ("paths", "hint"),
        [
            ("gone/{}", "expected paths relative to the folder of the manifest, or absolute ones"),
            (
                "lists/shapes/{}",
                "they are there as seen from the current folder: move the manifest into it",
            ),
            ("old/{}", "files of these names lie right there: take the folders out of the paths"),
        ],
        ids=["anywhere", "here", "beside"],
    )
    def test_a_manifest_none_of_whose_files_is_there(
        self, error: Error, done: Finished, verb: str, paths: str, hint: str
    ) -> None:
        names = [file.name for file in sorted(write_folder(Path("lists/shapes"), 3).rglob("*.png"))]
        for folder in sorted(Path("lists/shapes").iterdir()):
            for file in sorted(folder.iterdir()):
                file.rename(file.parent.parent / file.name)
        if "old" in paths:
            Path("lists/shapes").rename("lists/all")
        rows = [f"{paths.format(name)},{name[:4]}" for name in names]
        table = Path("lists/all/list.csv") if "old" in paths else Path("lists/list.csv")
        table.write_text("\n".join(["path,label", *rows]) + "\n")
        more = {"train": ("-o", "run", *TINY), "check": ()}.get(verb, ("--model", done.run))
        first = ", ".join(paths.format(name) for name in names[:3])
        assert error(verb, table, *more) == (
            f"none of the 9 images that list lists is there: {first} and 6 more\n"
            f"looked for below {table.parent.absolute()}; {hint}"
        )

    def test_images_none_of_which_can_be_read(self, error: Error) -> None:
        for file in write_folder(Path("shapes"), 2).rglob("*.png"):
            file.write_bytes(b"")
        message = self.train(error, "shapes")
        assert message.startswith("no image of shapes can be read: cross/cross_00.png (an empty file), ")
        assert message.endswith("\nexpected two classes of images that can be read")

    @pytest.mark.parametrize("verb", ["predict", "evaluate", "check"])
    def test_what_an_unreadable_image_advises_holds_for_every_verb(
        self, done: Finished, capsys: Printed, verb: str
    ) -> None:
        """`predict` advised --depth-window, which it does not have."""
        write_folder(Path("shapes"), 2)
        tifffile.imwrite("shapes/disc/a.tif", np.full((16, 16), 70_000, np.uint32))
        tifffile.imwrite("shapes/disc/b.tif", np.zeros((16, 16, 2), np.uint8), planarconfig="contig")
        more = () if verb == "check" else ("--model", done.run)
        assert command((verb, "shapes", *more)) == 0
        said = "".join(capsys.readouterr())
        assert "train with --depth-window LO,HI or percentile" in said
        assert "a TIFF file of 2 channels, more than gray or RGB: train with --channels-from 0,1,1" in said

    def test_an_unknown_column_of_groups(self, error: Error) -> None:
        Path("list.csv").write_text("path,label,patient\na.png,disc,1\nb.png,oval,2\n")
        assert error("train", "list.csv", "-o", "run", "--groups", "pacient") == (
            "list.csv has no column 'pacient' for groups\ndid you mean 'patient'?"
        )

    def test_too_many_images_that_cannot_be_read(self, error: Error) -> None:
        write_folder(Path("shapes"), 3)
        for n in range(2):
            Path(f"shapes/oval/oval_{n:02d}.png").write_bytes(b"")
        assert self.train(error, "shapes").startswith("class 'oval' has only one image\n")

    def test_a_weights_file_that_is_not_there(self, error: Error, done: Finished) -> None:
        assert error("train", done.data, "-o", "run", *TINY, "--weights", "w.pth") == (
            "no such weights file: w.pth\nexpected .safetensors or .pth"
        )

    def test_a_foreign_weights_file(self, error: Error, done: Finished) -> None:
        torch.save({"a": torch.zeros(2)}, "w.pth")
        assert error("train", done.data, "-o", "run", *TINY, "--weights", "w.pth") == (
            "w.pth does not fit this backbone: 36 of 36 tensors are missing or have another shape, such as "
            "'stages.0.weight'\nname the backbone that the weights were trained with"
        )

    def test_a_damaged_weights_file(self, error: Error, done: Finished) -> None:
        Path("w.safetensors").write_bytes(b"hello")
        message = error("train", done.data, "-o", "run", *TINY, "--weights", "w.safetensors")
        assert message.startswith("cannot read the weights file w.safetensors: ")

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("smal-cnn", "did you mean 'small-cnn'"),
            ("resnet-18", "did you mean 'resnet18'"),
            ("zzzz", "expected 'efficientnet-lite0', 'small-cnn' or a timm model, such as 'resnet18'"),
        ],
    )
    def test_an_unknown_backbone(self, error: Error, done: Finished, name: str, hint: str) -> None:
        message = error("train", done.data, "-o", "run", *TINY, "--backbone", name)
        assert message.startswith(f"unknown backbone {name!r}\n{hint}")


class TestLeftOut:
    """What can be left out is left out, and said."""

    def test_odd_files_and_folders(self, tmp_path: Path, capsys: Printed) -> None:
        data = write_folder(tmp_path / "shapes")
        (data / "void").mkdir()
        save(data / ".cache" / "disc" / "a.png", np.zeros((9, 9, 3), np.uint8))
        (data / "disc" / "notes.txt").write_text("x")
        save(data / "loose.png", np.zeros((9, 9, 3), np.uint8))
        whole = (data / "oval" / "oval_02.png").read_bytes()
        (data / "oval" / "oval_02.png").write_bytes(whole[: len(whole) // 2])
        (data / "disc" / "disc_03.png").write_bytes(b"not an image")

        assert command(("train", data, "-o", "run", *TINY, "--method", "plain", "--epochs", "0.5")) == 0
        printed = capsys.readouterr()
        assert printed.err.splitlines() == [
            "note: ignored 1 hidden or system file or folder: .cache",
            "note: ignored 1 file that is not an image: disc/notes.txt",
            "note: ignored 1 folder without images: void",
            "note: ignored 1 image outside the class folders: loose.png",
            (
                "note: 2 images cannot be read and are left out: disc/disc_03.png (not an image, or of an "
                "unknown format), oval/oval_02.png (truncated)"
            ),
        ]
        assert printed.out.startswith("shapes: 34 images in 3 classes\n")

        samples = pd.read_csv("run/samples.csv", keep_default_na=False)
        assert len(samples) == 36
        bad = samples[samples["problem"] != ""]
        assert bad[["id", "label", "split", "problem"]].to_numpy().tolist() == [
            ["disc/disc_03.png", "disc", "unused", "not an image, or of an unknown format"],
            ["oval/oval_02.png", "oval", "unused", "truncated"],
        ]
        assert set(samples[samples["problem"] == ""]["split"]) == {"train", "val", "test"}
        predicted = pd.read_csv("run/predictions/plain.csv")
        assert not set(predicted["id"]) & set(bad["id"])


class TestOutputFolder:
    NOT_EMPTY = (
        "is not empty\nuse --resume to finish the run in it, --overwrite to replace what a run wrote, or "
        "another -o"
    )

    @pytest.fixture
    def run(self, done: Finished, tmp_path: Path) -> Path:
        """A run that somebody would be sorry to lose."""
        shutil.copytree(done.run, tmp_path / "precious")
        (tmp_path / "precious" / "notes.txt").write_text("mine")
        return tmp_path / "precious"

    def test_it_is_not_empty(self, error: Error, done: Finished, run: Path) -> None:
        before = contents(run, "**/*")
        assert error("train", done.data, "-o", "precious", *TINY) == (
            f"the output folder precious {self.NOT_EMPTY}"
        )
        assert contents(run, "**/*") == before

    @pytest.mark.parametrize("verb", ["confusion", "synthesize"])
    def test_verbs_that_cannot_resume_do_not_offer_it(
        self, error: Error, done: Finished, run: Path, verb: str
    ) -> None:
        before = contents(run, "**/*")
        assert error(verb, done.data, "-o", "precious", *MEASURED) == (
            "the output folder precious is not empty\n"
            "use --overwrite to replace what a run wrote, or another -o"
        )
        assert contents(run, "**/*") == before

    @pytest.mark.parametrize(
        "words",
        [
            ("train", "nowhere"),
            ("train", "DATA", "--backbone", "resnet81"),
            ("train", "DATA", "--weights", "nowhere.pth"),
            ("train", "DATA", "--method", "multilabel"),
            ("confusion", "nowhere"),
            ("synthesize", "nowhere"),
            ("synthesize", "DATA", "--pairs", "nowhere.csv"),
            ("synthesize", "DATA", "--count", "0"),
        ],
        ids=" ".join,
    )
    def test_overwrite_with_bad_input_loses_nothing(
        self, error: Error, done: Finished, run: Path, words: tuple[str, ...]
    ) -> None:
        before = contents(run, "**/*")
        given = [done.data if word == "DATA" else word for word in words]
        settings = TINY if given[0] == "train" else MEASURED
        error(given[0], *settings, *given[1:], "-o", "precious", "--overwrite")
        assert contents(run, "**/*") == before

    @pytest.mark.parametrize("flag", ["--overwrite", "--resume"])
    def test_a_folder_of_somebody_else_is_left_alone(self, error: Error, done: Finished, flag: str) -> None:
        mine = Path("mine")
        for name in ("metrics.json", "model/best.pth", "predictions/a.csv"):
            (mine / name).parent.mkdir(parents=True, exist_ok=True)
            (mine / name).write_text("mine")
        before = contents(mine, "**/*")
        assert error("train", done.data, "-o", "mine", flag, *TINY) == (
            "mine is not a folder that sit2 made\ngive another -o"
        )
        assert contents(mine, "**/*") == before

    def test_overwrite_replaces_what_is_ours(self, done: Finished, run: Path) -> None:
        words = (
            "train",
            done.data,
            "-o",
            "precious",
            "--overwrite",
            *TINY,
            "--method",
            "plain",
            "--epochs",
            1,
        )
        assert command((*words, "--quiet")) == 0
        assert listing(run / "predictions") == ["plain.csv"]
        assert not (run / "confusion").exists()
        assert not (run / "model" / "plain").exists()
        assert (run / "notes.txt").read_text() == "mine"

    def test_flags_that_contradict_each_other(self, error: Error, done: Finished) -> None:
        assert error("train", done.data, "-o", "run", "--resume", "--overwrite") == (
            "--resume and --overwrite contradict each other\nuse one of them"
        )
        assert error("train", done.data, "--resume") == (
            "--resume needs the folder of the run\nname it with -o"
        )

    def test_a_file_is_in_the_way(self, error: Error, done: Finished) -> None:
        Path("out").write_text("")
        for verb, *more in (("train",), ("predict", "--model", done.run), ("evaluate", "--model", done.run)):
            assert error(verb, done.data, "-o", "out", *more) == (
                "out is a file\nexpected a folder; give another -o"
            )

    def test_a_damaged_run_json(self, error: Error, done: Finished, run: Path) -> None:
        (run / "run.json").write_text("{")
        message = error("train", done.data, "-o", "precious", "--resume", *TINY)
        assert message.startswith("cannot read precious/run.json: Expecting property name")
