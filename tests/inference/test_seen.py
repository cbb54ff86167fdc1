"""evaluate knows again what a model was trained on, wherever it lies, and the patients that it was trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from synthetic import CLASSES, Finished, arrays, command, finished, save

Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Return a folder of 12 images that the run has not seen, named by class and number."""
    for n, (pixels, label) in enumerate(zip(*arrays(4, seed=8), strict=True)):
        save(tmp_path / "new" / label / f"p{n % 4}_{n}.png", pixels)
    return tmp_path / "new"


def evaluated(capsys: Printed, *words: object) -> tuple[str, str]:
    """Return what `sit2 evaluate` says on both streams, without line breaks in the notes."""
    assert command(("evaluate", *words)) == 0
    printed = capsys.readouterr()
    return printed.out, " ".join(printed.err.split())


def as_npz(folder: Path, file: Path) -> Path:
    """Write the images of a folder of classes as one file of arrays."""
    files = sorted(folder.glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in files])
    np.savez(file, images=pixels, labels=np.array([path.parent.name for path in files]))
    return file


def as_bmp(folder: Path, target: Path) -> Path:
    """Write the images of a folder of classes again, in another format and under other names."""
    for n, path in enumerate(sorted(folder.glob("*/*.png"))):
        save(target / path.parent.name / f"{n}.bmp", np.asarray(Image.open(path)))
    return target


class TestCopies:
    @pytest.mark.parametrize(
        "copy",
        [
            lambda data, place: shutil.copytree(data, place / "copied"),
            lambda data, place: as_npz(data, place / "other-name.npz"),
            lambda data, place: as_bmp(data, place / "bmp"),
        ],
        ids=["a folder", "arrays", "another format and other names"],
    )
    def test_they_are_left_out(self, done: Finished, tmp_path: Path, capsys: Printed, copy) -> None:
        place = copy(done.data, tmp_path)
        printed, told = evaluated(capsys, place, "--model", done.run)
        assert told.startswith(
            "note: 29 images left out: the model was trained or validated on them (29 of them as copies that "
            "lie elsewhere), so they say nothing about new images"
        )
        assert "Test on 7 images" in printed

    def test_all_counts_them(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        copied = shutil.copytree(done.data, tmp_path / "copied")
        page = tmp_path / "evaluated"
        printed, told = evaluated(capsys, copied, "--model", done.run, "--all", "-o", page)
        text = (page / "report.html").read_text(encoding="utf-8")
        assert "29 images counted: the model was trained or validated on them" in text
        assert "No network was trained on them" not in text
        assert told.startswith("note: 29 images counted: the model was trained or validated on them")
        assert told.endswith("the figures are too good")
        assert "Test on 36 images" in printed

    def test_some_among_new_ones(self, done: Finished, new: Path, capsys: Printed) -> None:
        samples = pd.read_csv(done.run / "samples.csv")
        one = samples.path[samples.split == "train"].iloc[0]
        shutil.copy(done.data / one, new / Path(one).parent / "renamed.png")
        printed, told = evaluated(capsys, new, "--model", done.run)
        assert told.startswith(
            "note: 1 image left out: the model was trained or validated on them (1 of them as"
        )
        assert "Test on 12 images" in printed

    def test_new_images_of_the_same_names(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        for path in done.data.glob("*/*.png"):
            save(tmp_path / "new" / path.parent.name / path.name, 255 - np.asarray(Image.open(path)))
        printed, told = evaluated(capsys, tmp_path / "new", "--model", done.run)
        assert "Test on 36 images" in printed
        assert "29 images in" in told
        assert "have the names of images in" in told
        assert "but other contents" in told

    def test_a_run_of_before_has_no_digests(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        run = shutil.copytree(done.run, tmp_path / "run")
        pd.read_csv(run / "samples.csv").drop(columns="digest").to_csv(run / "samples.csv", index=False)
        copied = shutil.copytree(done.data, tmp_path / "copied")
        _, told = evaluated(capsys, copied, "--model", run)
        assert told.startswith(
            f"note: 29 images in {copied} have the names of images in {done.data.resolve()}"
        )
        assert told.endswith("if this is a copy of them, the figures are far too good")

    def test_a_model_without_its_run(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        model = shutil.copytree(done.run / "model", tmp_path / "only")
        _, told = evaluated(capsys, done.data, "--model", model)
        assert f"{model} lies in no run folder, so nothing says which images it was trained on" in told


class TestGroups:
    """The run is as if each image number of each class were a patient: p0, p1, …"""

    @staticmethod
    def grouped(done: Finished, place: Path, **settings: object) -> Path:
        run = shutil.copytree(done.run, place / "run")
        samples = pd.read_csv(run / "samples.csv", keep_default_na=False)
        samples["group"] = [
            "p0" if split == "train" else "p1" if split == "val" else "p2" for split in samples.split
        ]
        samples.to_csv(run / "samples.csv", index=False)
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**config, **settings}))
        return run

    @staticmethod
    def manifest(new: Path, name: str) -> Path:
        files = sorted(path.relative_to(new) for path in new.glob("*/*.png"))
        rows = [f"{path},{path.parent},{path.name[:2]}" for path in files]
        (new / "list.csv").write_text("\n".join([f"path,label,{name}", *rows]) + "\n")
        return new / "list.csv"

    LEFT_OUT = (
        "note: 6 new images left out: of 2 groups (patients, slides, …) that the model was trained or validated "
        "on: p0, p1; --all counts them too"
    )

    def test_of_a_manifest(self, done: Finished, new: Path, tmp_path: Path, capsys: Printed) -> None:
        run, listed = self.grouped(done, tmp_path), self.manifest(new, "group")
        printed, told = evaluated(capsys, listed, "--model", run)
        assert told == self.LEFT_OUT
        assert "Test on 6 images" in printed
        printed, told = evaluated(capsys, listed, "--model", run, "--all")
        assert told.startswith("note: 6 new images counted: of 2 groups")
        assert "Test on 12 images" in printed

    def test_as_the_run_found_them(self, done: Finished, new: Path, tmp_path: Path, capsys: Printed) -> None:
        by_name = self.grouped(done, tmp_path / "a", group_pattern="^p[0-9]")
        assert evaluated(capsys, new, "--model", by_name)[1] == self.LEFT_OUT
        by_column = self.grouped(done, tmp_path / "b", groups="patient")
        assert evaluated(capsys, self.manifest(new, "patient"), "--model", by_column)[1] == self.LEFT_OUT
        table = self.manifest(new, "patient")
        beside = self.grouped(done, tmp_path / "c", groups=f"{table}:patient")
        assert evaluated(capsys, new, "--model", beside)[1].endswith(self.LEFT_OUT)

    def test_where_they_are_not_known(
        self, done: Finished, new: Path, tmp_path: Path, capsys: Printed
    ) -> None:
        start = "note: whether these images are of groups that the model was trained on is not known: "
        told = evaluated(capsys, new, "--model", self.grouped(done, tmp_path / "a"))[1]
        assert told == start + "they come without groups"
        by_column = self.grouped(done, tmp_path / "b", groups="patient")
        assert evaluated(capsys, new, "--model", by_column)[1].startswith(start + "no column 'patient'")

    def test_of_several_sources(self, done: Finished, new: Path, tmp_path: Path, capsys: Printed) -> None:
        run, parts = self.grouped(done, tmp_path), []
        for name in CLASSES:
            lines = self.manifest(new, "group").read_text().splitlines()
            (new / f"{name}.csv").write_text(
                "\n".join([lines[0], *(one for one in lines if f",{name}," in one)])
            )
            parts.append(new / f"{name}.csv")
        assert evaluated(capsys, *parts, "--model", run)[1] == self.LEFT_OUT
