"""`sit2 check` beyond the table of classes, and what `sit2 train` refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from synthetic import CLASSES, TINY, command, save, write_folder, write_manifest

from sit2.data.splits import SplitArray

Printed = pytest.CaptureFixture[str]


def checked(capsys: Printed, *words: object) -> tuple[int, dict]:
    code = command(("check", *words, "--json"))
    return code, json.loads(capsys.readouterr().out)


def kinds(report: dict) -> list[str]:
    return [finding["kind"] for finding in report["findings"]]


def finding(report: dict, kind: str) -> dict:
    return next(found for found in report["findings"] if found["kind"] == kind)


def splits_of(run: Path) -> dict[str, SplitArray]:
    return pd.read_csv(run / "samples.csv").set_index("id")["split"].to_dict()


class TestJson:
    def test_all_of_it(self, tmp_path: Path, capsys: Printed) -> None:
        manifest = write_manifest(tmp_path)
        shutil.copy(tmp_path / "disc/disc_00.png", tmp_path / "disc/disc_11.png")  # train and test
        (tmp_path / "oval/oval_01.png").write_bytes(b"no image")
        code, report = checked(capsys, manifest, "--quiet")
        assert code == report["exit_code"] == 1
        assert (report["format_version"], report["images"], report["groups"]) == (1, 36, 0)
        assert report["classes"][2] == {
            "name": "oval",
            "images": 12,
            "train": 7,
            "val": 2,
            "test": 3,
            "unreadable": 1,
        }
        assert report["files"] == [
            {
                "kind": "PNG",
                "channels": "colour",
                "bits": 8,
                "images": 35,
                "smallest": [16, 16],
                "median": [16, 16],
                "largest": [16, 16],
            }
        ]
        leak = finding(report, "leak")
        assert (leak["severity"], leak["files"]) == ("wrong", ["disc/disc_00.png", "disc/disc_11.png"])
        assert leak["details"][0]["splits"] == ["train", "test"]
        assert finding(report, "unreadable")["details"] == [
            {"id": "oval/oval_01.png", "problem": "not an image, or of an unknown format"}
        ]
        assert all(found["hint"] for found in report["findings"])

    def test_bad_input_prints_no_json(self, tmp_path: Path, capsys: Printed) -> None:
        assert command(("check", tmp_path / "nothing", "--json")) == 2
        assert capsys.readouterr().out == ""


class TestFiles:
    def test_kinds_depths_and_sizes(self, tmp_path: Path, capsys: Printed) -> None:
        draw = np.random.default_rng(0)
        for name in ("ant", "bee"):
            for n in range(3):
                gray = draw.integers(0, 65536, (9, 7)).astype(np.uint16)
                save(tmp_path / name / f"{n}.png", gray)
                colour = Image.fromarray(draw.integers(0, 256, (8, 6 + n, 3), dtype=np.uint8))
                colour.save(tmp_path / name / f"{n}.jpg")
        _, report = checked(capsys, tmp_path)
        assert [(row["kind"], row["channels"], row["bits"], row["images"]) for row in report["files"]] == [
            ("JPEG", "colour", 8, 6),
            ("PNG", "gray", 16, 6),
        ]
        assert report["files"][0]["smallest"] == [6, 8]
        assert report["files"][0]["largest"] == [8, 8]

    def test_a_class_that_its_files_give_away(self, tmp_path: Path, capsys: Printed) -> None:
        draw = np.random.default_rng(0)
        for name, suffix in (("ant", "png"), ("bee", "jpg")):
            for n in range(6):
                save(tmp_path / name / f"{n}.{suffix}", draw.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        code, report = checked(capsys, tmp_path)
        assert code == 0
        assert (
            "tell the class of 100% of the images (always the largest class: 50%)"
            in (finding(report, "shortcut")["text"])
        )


class TestLookalikes:
    def photo(self, seed: int) -> Image.Image:
        noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((96, 96))

    def write(self, root: Path) -> Path:
        """Write photos of two classes into train and test, one of them twice: saved again as JPEG."""
        for split in ("train", "test"):
            for k, name in enumerate(("ant", "bee")):
                for n in range(5):
                    folder = root / split / name
                    folder.mkdir(parents=True, exist_ok=True)
                    self.photo(100 * k + 10 * n + (split == "test")).save(folder / f"{n}.png")
        self.photo(0).save(root / "test/ant/again.jpg", quality=90)
        return root

    def test_a_picture_saved_again_in_the_test_is_a_leak(self, tmp_path: Path, capsys: Printed) -> None:
        code, report = checked(capsys, self.write(tmp_path / "DATA"))
        assert code == 1
        leak = finding(report, "near leak")
        assert set(leak["files"]) == {"train/ant/0.png", "test/ant/again.jpg"}
        assert leak["details"][0]["likeness"] > 0.99
        assert "near-duplicates" not in kinds(report)

    def test_within_a_group_it_is_none(self, tmp_path: Path, capsys: Printed) -> None:
        data = self.write(tmp_path / "DATA")
        shutil.move(data / "test/ant/again.jpg", data / "train/ant/0again.jpg")
        _, report = checked(capsys, data)
        assert len(finding(report, "near-duplicates")["details"]) == 1
        _, report = checked(capsys, data, "--group-pattern", r"train/ant/0|/\w+/\d")
        assert report["groups"] == 11
        assert "near-duplicates" not in kinds(report)


class TestLabels:
    WRONG = ("cross/disc_03.png", "disc/cross_05.png")

    def write(self, root: Path) -> Path:
        pytest.importorskip("cleanlab")
        write_folder(root, 20, classes=("cross", "disc"))
        shutil.move(root / "disc/disc_03.png", root / "cross/disc_03.png")
        shutil.move(root / "cross/cross_05.png", root / "disc/cross_05.png")
        return root

    def test_the_closed_form_classifier_finds_labels_that_were_swapped(
        self, tmp_path: Path, capsys: Printed
    ) -> None:
        pytest.importorskip("cleanlab")
        draw = np.random.default_rng(2)
        images = draw.normal(110, 20, (200, 32, 32))
        images[100:, :16] += 60
        labels = ["flat"] * 100 + ["split"] * 100
        labels[3], labels[150] = "split", "flat"
        data = tmp_path / "set.npz"
        np.savez(data, images=images.clip(0, 255).astype(np.uint8), labels=np.array(labels))
        code, report = checked(capsys, data, "--labels")
        suspects = finding(report, "suspicious label")
        assert code == 0
        assert suspects["files"]
        assert set(suspects["files"]) <= {"000003", "000150"}
        assert all(one["suggested"] != one["label"] for one in suspects["details"])
        assert all(one["p_label"] <= 0.02 < one["p_suggested"] for one in suspects["details"])

    def test_predictions_of_the_user(self, tmp_path: Path, capsys: Printed) -> None:
        data = self.write(tmp_path / "shapes")
        rows = ["id,label,p_disc,p_cross"]
        for path in sorted(data.rglob("*.png"))[:-1]:  # the last has no row
            sure = 0.9 if path.name.startswith("disc") else 0.1
            rows.append(f"{path.relative_to(data).as_posix()},{path.parent.name},{sure},{1 - sure:.1f}")
        predictions = tmp_path / "predictions.csv"
        predictions.write_text("\n".join(rows) + "\n")
        _, report = checked(capsys, data, "--predictions", predictions)
        assert sorted(finding(report, "suspicious label")["files"]) == sorted(self.WRONG)
        assert finding(report, "suspicious label")["details"][0]["p_suggested"] == 0.9

    def test_nothing_that_looks_wrong_is_said(self, tmp_path: Path, capsys: Printed) -> None:
        pytest.importorskip("cleanlab")
        data = write_folder(tmp_path / "shapes", 10, classes=("cross", "disc"))
        lines = ["id,label,p_cross,p_disc"]
        for path in sorted(data.rglob("*.png"))[:-3]:
            sure = "1,0" if path.parent.name == "cross" else "0,1"
            lines.append(f"{path.relative_to(data).as_posix()},{path.parent.name},{sure}")
        (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
        assert command(("check", data, "--predictions", tmp_path / "p.csv")) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert (
            "note: No label looks wrong: 17 labels examined (3 images without a prediction not)." in printed
        )
        code, report = checked(capsys, data, "--labels", "--backbone", "small-cnn")
        assert code == 0
        assert [kind for kind in kinds(report) if "label" in kind]

    def test_labels_that_cannot_be_examined(self, tmp_path: Path, capsys: Printed) -> None:
        data = write_folder(tmp_path / "shapes", 3, classes=("cross", "disc"))
        for path in (data / "disc").iterdir():
            path.write_bytes(b"broken")
        command(("check", data, "--labels"))
        assert "labels were not examined" in " ".join(capsys.readouterr().err.split())

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("id,label,p_cross,p_oval\nx,oval,0.5,0.5\n", "expected the classes of shapes: cross, disc"),
            ("label,p_cross,p_disc\ndisc,0.5,0.5\n", "has no column 'id' or 'path'"),
            ("id,label,p_cross,p_disc\nx.png,disc,0.5,0.5\n", "line 2: shapes has no image 'x.png'"),
            (
                "id,label,p_cross,p_disc\n" + "disc/disc_00.png,disc,0.5,0.5\n" * 2,
                "line 3: disc/disc_00.png appears twice",
            ),
        ],
    )
    def test_predictions_of_something_else(
        self, tmp_path: Path, capsys: Printed, text: str, message: str
    ) -> None:
        data = self.write(tmp_path / "shapes")
        predictions = tmp_path / "predictions.csv"
        predictions.write_text(text)
        assert command(("check", data, "--predictions", predictions)) == 2
        assert message in capsys.readouterr().err


class TestTraining:
    def test_given_splits_that_leak_are_refused(self, tmp_path: Path, capsys: Printed) -> None:
        manifest = write_manifest(tmp_path)
        shutil.copy(tmp_path / "disc/disc_00.png", tmp_path / "disc/disc_11.png")  # train and test
        train = ("train", manifest, "-o", tmp_path / "run", *TINY, "--method", "plain", "--epochs", "1")
        assert command(train) == 2
        error = capsys.readouterr().err
        assert error.startswith(
            "sit2: 1 image appears in more than one split: disc/disc_00.png = disc/disc_11.png. The test would"
        )
        assert error.count("\n") == 3
        assert command((*train, "--allow-leaks")) == 0
        assert "1 image appears in more than one split" in capsys.readouterr().err
        assert command((*train, "--resplit", "--overwrite")) == 0
        splits = splits_of(tmp_path / "run")
        assert splits["disc/disc_00.png"] == splits["disc/disc_11.png"]

    def test_groups_in_two_given_splits_are_refused(self, tmp_path: Path, capsys: Printed) -> None:
        manifest = write_manifest(tmp_path)
        train = ("train", manifest, "-o", tmp_path / "run", *TINY, "--method", "plain", "--epochs", "1")
        grouped = ("--group-pattern", r"_(\d)\d.png")
        assert command((*train, *grouped)) == 2
        assert capsys.readouterr().err.startswith(
            "sit2: 1 group appears in more than one split: 0 (test, train, val)."
        )
        assert command((*train, *grouped, "--allow-leaks")) == 0

    def test_copies_go_into_one_split_and_a_conflict_is_said(self, tmp_path: Path, capsys: Printed) -> None:
        data = write_folder(tmp_path / "shapes")
        for n in range(4):
            shutil.copy(data / f"disc/disc_0{n}.png", data / f"oval/copy_{n}.png")
        assert (
            command(("train", data, "-o", tmp_path / "run", *TINY, "--method", "plain", "--epochs", "1")) == 0
        )
        assert (
            "4 images appear in more than one class: disc/disc_00.png = oval/copy_0.png"
            in capsys.readouterr().err
        )
        splits = splits_of(tmp_path / "run")
        for n in range(4):
            assert splits[f"disc/disc_0{n}.png"] == splits[f"oval/copy_{n}.png"]

    def test_groups_of_a_side_table_reach_splits_and_samples(self, tmp_path: Path) -> None:
        data = write_folder(tmp_path / "shapes")
        rows = [f"{name}_{n:02d},{n // 2}{name}" for name in CLASSES for n in range(12)]
        table = tmp_path / "patients.csv"
        table.write_text("\n".join(["image,patient", *rows]) + "\n")
        run = tmp_path / "run"
        words = ("train", data, "-o", run, *TINY, "--method", "plain", "--epochs", "1")
        assert command((*words, "--groups", f"{table}:patient")) == 0
        samples = pd.read_csv(run / "samples.csv")
        assert samples["group"].nunique() == 18
        assert samples.groupby("group")["split"].nunique().max() == 1


def test_what_is_too_large_for_training_is_unreadable_here_too(tmp_path: Path, capsys: Printed) -> None:
    data = write_folder(tmp_path / "shapes", 3)
    Image.new("L", (1100, 1000)).save(data / "cross" / "large.png")
    _, report = checked(capsys, data)
    assert "unreadable" not in kinds(report)
    _, report = checked(capsys, data, "--max-megapixels", "1")
    assert finding(report, "unreadable")["files"] == ["cross/large.png"]
