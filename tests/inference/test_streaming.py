"""Many images: in order, in constant memory, with what is done kept and gone on with."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from synthetic import Finished, arrays, command, finished, save

from sit2.data import pixels
from sit2.errors import RunFolderError
from sit2.inference import streaming
from sit2.inference.model import Model
from sit2.inference.predictions_writer import PredictionsFile
from sit2.storage.output_folder import PARTIAL


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


@pytest.fixture(name="heap")
def _heap(tmp_path: Path) -> Path:
    """40 images, the tenth of which is no image."""
    images, _ = arrays(14, seed=3)
    for n, image in enumerate(images[:40]):
        save(tmp_path / "heap" / f"{n:02d}.png", image)
    (tmp_path / "heap" / "09.png").write_text("no image")
    return tmp_path / "heap"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_order_is_kept_and_few_images_are_in_memory_at_once(
    done: Finished, heap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(("predict", heap, "--model", done.run, "-o", tmp_path / "whole")) == 0
    sizes: list[int] = []
    room = pixels._room
    monkeypatch.setattr(pixels, "_room", lambda shape, cache: (sizes.append(shape[0]), room(shape, cache))[1])
    monkeypatch.setattr(streaming, "CHUNK", 7)
    assert command(("predict", heap, "--model", done.run, "-o", tmp_path / "parts")) == 0
    assert sizes == [7] * 5 + [5]
    whole, parts = (table(tmp_path / name / "predictions.csv") for name in ("whole", "parts"))
    assert [row["path"] for row in parts] == [f"{n:02d}.png" for n in range(40)]
    for one, other in zip(whole, parts, strict=True):
        assert (one["predicted"], one["problem"]) == (other["predicted"], other["problem"])
        for name in one:
            if name.startswith("p_") and not one["problem"]:
                assert float(one[name]) == pytest.approx(float(other[name]), abs=2e-6)
    assert [row["path"] for row in parts if row["problem"]] == ["09.png"]


def test_notes_are_told_once_for_all_chunks(
    done: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(6):
        save(tmp_path / "deep" / f"{n}.png", np.full((16, 16), 1000 * n, np.uint16))
    monkeypatch.setattr(streaming, "CHUNK", 2)
    assert command(("predict", tmp_path / "deep", "--model", done.run)) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    assert all(note.startswith("note: 6 images") or "5 images" in note for note in notes)
    assert len(notes) == len(set(notes))


class TestInterrupted:
    def stop_after(self, chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the user press Ctrl-C in the middle."""
        monkeypatch.setattr(streaming, "CHUNK", 7)
        answers, calls = Model.answers, itertools.count()

        def impatient(self: Model, *given: object, **more: object) -> object:
            if next(calls) == chunks:
                raise KeyboardInterrupt
            return answers(self, *given, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Model, "answers", impatient)

    def test_what_is_done_stays_and_is_gone_on_with(
        self, done: Finished, heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out, words = tmp_path / "out", ("predict", heap, "--model", done.run)
        with pytest.MonkeyPatch.context() as patched:
            self.stop_after(3, patched)
            assert command((*words, "-o", out)) == 130
        assert f"to go on: sit2 predict {heap}" in capsys.readouterr().err
        assert len(table(out / PARTIAL)) == 21
        assert not (out / "predictions.csv").exists()
        with (out / PARTIAL).open("a") as file:
            file.write("21.png,disc,0.")  # the power went in the middle of a line
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(streaming, "CHUNK", 7)
            assert command((*words, "-o", out, "--resume")) == 0
            assert command((*words, "-o", tmp_path / "at once")) == 0
        assert [path.name for path in out.iterdir()] == ["predictions.csv"]
        assert (out / "predictions.csv").read_bytes() == (
            tmp_path / "at once" / "predictions.csv"
        ).read_bytes()

    @pytest.mark.parametrize("chunks", [1, 3])
    def test_images_that_cannot_be_read_are_named_whenever_they_came(
        self, chunks: int, done: Finished, heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (heap / "30.png").write_text("no image")
        words = ("predict", heap, "--model", done.run, "-o", tmp_path / "out")
        with pytest.MonkeyPatch.context() as patched:
            self.stop_after(chunks, patched)
            assert command(words) == 130
        capsys.readouterr()
        assert command((*words, "--resume")) == 0
        assert "note: 2 images cannot be read; see the column problem: 09.png (" in capsys.readouterr().err

    def test_that_it_can_go_on_is_said(
        self, done: Finished, heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ("predict", heap, "--model", done.run, "-o", tmp_path / "out")
        with pytest.MonkeyPatch.context() as patched:
            self.stop_after(2, patched)
            assert command(words) == 130
        assert command(words) == 2
        assert "use --resume to go on with them" in capsys.readouterr().err
        assert command((*words, "--overwrite")) == 0

    def test_rows_of_another_model_are_not_added_to(
        self, done: Finished, heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out"
        with pytest.MonkeyPatch.context() as patched:
            self.stop_after(2, patched)
            assert command(("predict", heap, "--model", done.run, "-o", out)) == 130
        before = (out / PARTIAL).read_bytes()
        other = done.run / "model" / "plain"
        assert command(("predict", heap, "--model", other, "-o", out, "--resume")) == 2
        assert "was begun with another model" in capsys.readouterr().err
        assert command(("predict", heap / "00.png", "--model", done.run, "-o", out, "--resume")) == 2
        elsewhere = heap.rename(heap.with_name("elsewhere"))
        assert command(("predict", elsewhere, "--model", done.run, "-o", out, "--resume")) == 2
        heap = elsewhere.rename(heap)
        whole = (heap / "00.png").read_bytes()
        (heap / "00.png").write_bytes((heap / "01.png").read_bytes())
        assert command(("predict", heap, "--model", done.run, "-o", out, "--resume")) == 2
        (heap / "00.png").write_bytes(whole)
        assert (out / PARTIAL).read_bytes() == before
        assert command(("predict", heap, "--model", other, "-o", out)) == 2
        assert command(("predict", heap, "--model", other, "-o", out, "--overwrite")) == 0
        assert len(table(out / "predictions.csv")) == 40

    def test_flags_that_do_not_fit(
        self, done: Finished, heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ("predict", heap, "--model", done.run, "--resume")
        assert command(words) == 2
        assert "--resume needs the folder" in capsys.readouterr().err
        assert command((*words, "-o", tmp_path / "out", "--overwrite")) == 2
        assert command((*words, "-o", tmp_path / "out")) == 0  # there is nothing to go on with: it begins

    def test_an_error_leaves_nothing_half(self, done: Finished, tmp_path: Path) -> None:
        file = PredictionsFile(tmp_path / "out", done.run, ["a"], None, resume=False)
        file.header(["x"])
        file.__exit__(RunFolderError, None, None)
        assert list((tmp_path / "out").iterdir()) == []
