"""Classes of a model that folders and labels spell otherwise: in another form of Unicode, or nearly."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from synthetic import command, finished, write_folder

from sit2.data.readers import read_images

Save = Callable[..., Path]
Printed = pytest.CaptureFixture[str]
CLASSES = ("brühe", "café", "tee")


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("trained", ["NFC", "NFD"])
class TestUnicode:
    def names(self, form: str) -> tuple[str, ...]:
        return tuple(unicodedata.normalize(form, name) for name in CLASSES)

    def test_folders(self, save_image: Save, tmp_path: Path, written: str, trained: str) -> None:
        for name in self.names(written):
            save_image(f"new/{name}/1.png")
        found = read_images(tmp_path / "new", self.names(trained))
        assert sorted(found.labels.tolist()) == [0, 1, 2]
        assert found.notes == ()

    def test_one_class_and_single_files(
        self, save_image: Save, tmp_path: Path, written: str, trained: str
    ) -> None:
        name = self.names(written)[1]
        file = save_image(f"new/{name}/1.png")
        for source in (file, file.parent):
            assert read_images(source, self.names(trained)).labels.tolist() == [1]

    def test_tables_and_arrays(self, tmp_path: Path, written: str, trained: str) -> None:
        lines = [f"{n}.png,{name}" for n, name in enumerate(self.names(written))]
        (tmp_path / "m.csv").write_text("\n".join(["path,label", *lines]) + "\n", encoding="utf-8")
        np.savez(
            tmp_path / "a.npz", images=np.zeros((3, 8, 8), np.uint8), labels=np.array(self.names(written))
        )
        for source in ("m.csv", "a.npz"):
            assert read_images(tmp_path / source, self.names(trained)).labels.tolist() == [0, 1, 2]


def test_two_classes_that_differ_in_their_form_stay_two(save_image: Save, tmp_path: Path) -> None:
    classes = tuple(sorted(unicodedata.normalize(form, "café") for form in ("NFC", "NFD")))
    for name in classes:
        save_image(f"new/{name}/1.png")
    found = read_images(tmp_path / "new", classes)
    assert [classes[n] for n in found.labels] == [name.split("/")[0] for name in found.ids]


@pytest.mark.parametrize("name", ["Benign", "BENIGN", "bening", "benign "])
def test_the_near_name_is_offered(save_image: Save, tmp_path: Path, name: str) -> None:
    save_image(f"new/{name}/1.png")
    save_image("new/malignant/1.png")
    found = read_images(tmp_path / "new", ("benign", "malignant"))
    assert sorted(found.labels.tolist()) == [-1, 1]
    assert found.notes == (
        (
            "1 image without a label, in folders that are no class of the model: "
            f"{name!r} (did you mean 'benign'?)"
        ),
    )


def test_the_near_name_of_a_label_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\n1.png,Benign\n2.png,lorry\n3.png,benign\n")
    assert read_images(tmp_path / "m.csv", ("benign", "malignant")).notes == (
        "2 labels unknown to the model, taken as no label: 'Benign' (did you mean 'benign'?), lorry",
    )


def test_folders_of_no_class_are_no_news_where_none_has_a_label(save_image: Save, tmp_path: Path) -> None:
    save_image("new/2024/1.png")
    assert read_images(tmp_path / "new", ("benign", "malignant")).notes == ()


def test_evaluate_names_what_was_found(tmp_path: Path, capsys: Printed) -> None:
    done = finished()
    for names, told in (
        (("DISC", "Oval"), "'DISC' (did you mean 'disc'?), 'Oval' (did you mean 'oval'?)"),
        (("lorry", "ship"), "lorry, ship"),
    ):
        new = write_folder(tmp_path / names[0], 2, classes=names)
        capsys.readouterr()
        assert command(("evaluate", new, "--model", done.run, "--quiet")) == 2
        assert capsys.readouterr().err == (
            f"sit2: no labelled image is left to evaluate: found {told}\n"
            "expected images in folders named like the classes: cross, disc, oval\n"
        )
