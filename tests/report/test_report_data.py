"""What a run's folder holds is read as records, in every state of the run, and what is damaged is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_run import change_json, page_text, random_run, write_json, write_run
from PIL import Image
from synthetic import SETTINGS, command, write_folder

from sit2 import train
from sit2.errors import RunFolderError
from sit2.events import StageBegan
from sit2.report.data import load_run
from sit2.report.images import Album
from sit2.report.matrix import matrix_of, matrix_view
from sit2.report.page import write_report

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
CONTROL = np.array([0, 1, 1, 2, 1, 1, 0, 1, 2, 2])
METHOD = np.array([0, 0, 1, 2, 1, 0, 0, 1, 2, 1])


@pytest.fixture(name="run")
def _run(tmp_path: Path):
    return load_run(write_run(tmp_path / "run", CLASSES, LABELS, CONTROL, METHOD))


class TestRecords:
    def test_only_test_images_count(self, run):
        assert len(run.predictions["plain"].ids) == 10
        assert run.paths == run.predictions["plain"].ids
        assert [run.samples.labels[n] for n in run.samples.rows("train")] == ["a"] * 4 + ["b"] * 4 + ["c"] * 2
        assert run.samples.unusable == [("broken.png", "truncated")]

    def test_the_method_and_its_control(self, run):
        assert (run.method, run.control_of("multi-label"), run.control_of("plain")) == (
            "multi-label",
            "plain",
            None,
        )
        assert run.shown == ("plain", "multi-label")
        assert run.test is run.tests["multi-label"]

    def test_before_it_was_tested_the_control_follows_from_the_recipe(self, run):
        (run.folder / "comparison.json").unlink()
        again = load_run(run.folder)
        assert again.test is None
        assert again.shown == ("plain", "multi-label")
        (run.folder / "predictions" / "plain.csv").unlink()
        assert load_run(run.folder).shown == ("multi-label",)

    @pytest.mark.parametrize("asked", ["plain+tta", "none of this version's"])
    def test_a_run_for_other_recipes_than_its_setting_shows_the_last_that_was_tested(self, run, asked):
        settings = run.folder / "config.yaml"
        settings.write_text(settings.read_text().replace("method: multi-label", f"method: {asked}"))
        assert load_run(run.folder).method == "multi-label"

    def test_a_recipe_is_found_however_it_is_spelled(self, tmp_path):
        labels = np.array([0, 1])
        folder = write_run(
            tmp_path, ("a", "b"), labels, None, labels, recipes=("", "plain+tta+temperature"),
            settings={"method": "plain+temperature+tta"},
        )  # fmt: skip
        assert load_run(folder).method == "plain+tta+temperature"

    def test_groups_come_from_samples_csv(self, tmp_path):
        labels = np.array([0, 0, 1, 1])
        folder = write_run(tmp_path, ("a", "b"), labels, labels, labels, groups=["p", "p", "q", "r"])
        assert load_run(folder).predictions["plain"].groups == ("p", "p", "q", "r")

    @pytest.mark.parametrize(
        "classes", [("NA", "nan"), ("1.0", "2"), ("label", "samples"), ("predicted", ""), ("=1+1", "\x1b[2J")]
    )
    def test_names_that_a_reader_of_csv_would_take_otherwise(self, tmp_path, classes):
        labels = np.array([0, 0, 1, 1])
        run = load_run(write_run(tmp_path, classes, labels, np.array([0, 1, 1, 0]), labels))
        assert run.classes == classes
        assert matrix_of(run.predictions["plain"]).tolist() == [[1, 1], [1, 1]]
        assert run.confusion is not None
        assert run.confusion.mass.sum() == pytest.approx(4)
        assert {(pair.class_a, pair.class_b) for pair in run.pairs} == {classes}


# What a run has written when it is stopped in each of its stages, in the order of writing.
STAGES = (
    ("run.json", "config.yaml"),
    ("samples.csv", "check.json"),
    ("confusion/matrix.csv", "confusion/pairs.csv"),
    ("predictions/plain.csv",),
    ("predictions/multi-label.csv",),
    ("history.csv",),
    ("metrics.json",),
    ("comparison.json",),
)


class TestEveryState:
    @pytest.mark.parametrize("status", ["beginning", "running", "failed", "complete"])
    @pytest.mark.parametrize("stages", range(1, len(STAGES) + 1))
    def test_a_page_is_written_however_far_the_run_is(self, tmp_path, stages, status):
        whole = write_run(tmp_path / "whole", CLASSES, LABELS, CONTROL, METHOD)
        write_json(whole / "check.json", {"findings": []})
        part = tmp_path / "part"
        for name in (name for files in STAGES[:stages] for name in files):
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(whole / name, part / name)
        change_json(part / "run.json", status=status, error="no room is left\nfree some")
        if stages == 1:
            change_json(part / "run.json", dataset={}, root="")
        page = page_text(part)
        told = {
            "beginning": "This run is not finished.",
            "running": "This run is not finished.",
            "failed": "This run failed: no room is left",
            "complete": None,
        }
        assert all(
            (sentence in page) == (sentence == told[status]) for sentence in set(told.values()) - {None}
        )
        assert ("--resume" in page) == (status != "complete")
        assert ("Did it help?" in page) == (stages == len(STAGES))
        assert ("How good is it?" in page) == (stages >= 4)
        assert ("What to watch out for" in page) == (stages >= 4)

    def test_a_page_of_an_empty_folder_of_another_verb(self, tmp_path):
        write_json(
            tmp_path / "run.json",
            {"format_version": 2, "status": "complete", "seconds": {}, "data": "/photos", "command": "sit2"},
        )
        assert "Nothing has been measured yet" in page_text(tmp_path)

    def test_a_run_that_only_measured_confusion(self, run):
        for name in ("metrics.json", "comparison.json", "history.csv"):
            (run.folder / name).unlink()
        shutil.rmtree(run.folder / "predictions")
        again = load_run(run.folder)
        assert (again.method, again.shown, again.test) == (None, (), None)
        assert again.pairs == run.pairs
        page = page_text(run.folder)
        assert f"{len(run.chosen)} of 3 pairs of classes chosen as confused</h2>" in page
        assert f"{len(run.chosen)} of 3 pairs of classes are chosen as confused." in page
        assert page.count("Which classes are confused?</h2>") == 1

    def test_confusion_of_a_file_of_predictions(self, run):
        for name in ("metrics.json", "comparison.json", "samples.csv"):
            (run.folder / name).unlink()
        shutil.rmtree(run.folder / "predictions")
        change_json(run.folder / "run.json", dataset={}, methods=[])
        again = load_run(run.folder)
        assert again.classes == CLASSES
        assert again.pairs == run.pairs
        page = page_text(run.folder)
        assert 'aria-label="Measured confusion"' in page
        first = run.confusion.mass[0] / run.confusion.mass[0].sum()
        assert "".join(f"<td>{100 * value:.1f} %</td>" for value in first) in page


@pytest.mark.parametrize("status", ["beginning", "running", "failed", "complete"])
def test_the_verb_writes_page_figures_and_tables_in_every_status(tmp_path, status):
    """Without `error`, which only a failed run has, and with the history that a running one has grown so far."""
    run = write_run(tmp_path / "run", CLASSES, LABELS, CONTROL, METHOD, status=status)
    for name in ("metrics.json", "comparison.json"):
        (run / name).unlink()
    shutil.rmtree(run / "predictions")
    assert command(("report", run)) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert ("This run is not finished." in page) == (status in ("beginning", "running"))
    assert ("This run failed." in page) == (status == "failed")
    assert "Training loss of multi-label" in page
    assert (run / "figures" / "loss-0.svg").is_file()


def test_a_training_that_is_stopped_in_each_of_its_stages_has_its_page(tmp_path):
    """The same run, begun, stopped as soon as each stage begins, and gone on with."""
    photos, run = write_folder(tmp_path / "shapes"), tmp_path / "run"

    def stop_at(stage):
        def listen(event):
            if isinstance(event, StageBegan) and event.name == stage:
                raise KeyboardInterrupt

        return listen

    for stage in ("confusion", "training", "evaluation", "report"):
        with pytest.raises(KeyboardInterrupt):
            train(photos, out=run, resume=run.exists(), listener=stop_at(stage), **SETTINGS)
        page = page_text(run)
        assert "This run is not finished." in page
        assert ("Did it help?" in page) == (stage == "report")
        assert ("Confused pairs" in page) == (stage != "confusion")
    train(photos, out=run, resume=True, **SETTINGS)
    assert "This run is not finished." not in (run / "report.html").read_text(encoding="utf-8")
    assert "This run is not finished." not in page_text(run)


class TestRefusals:
    def test_not_a_run_folder(self, tmp_path):
        with pytest.raises(RunFolderError, match="not a folder that sit2 made"):
            load_run(tmp_path)

    @pytest.mark.parametrize("version", [1, 3, "2", None])
    def test_another_format_is_refused_in_one_sentence(self, run, version):
        change_json(run.folder / "run.json", format_version=version)
        with pytest.raises(RunFolderError) as error:
            write_report(run.folder)
        assert str(error.value) == (
            f"{run.folder} has format version {version!r}, and this sit2 reads version 2 only: run it again"
        )

    @pytest.mark.parametrize(
        "name",
        [
            *("run.json", "metrics.json", "comparison.json", "check.json", "samples.csv", "history.csv"),
            *("config.yaml", "thumbnails.npz", "confusion/matrix.csv", "confusion/pairs.csv"),
            "predictions/plain.csv",
        ],
    )
    def test_a_damaged_file_is_named(self, run, name):
        (run.folder / name).write_bytes(b"\xff\xfe{")
        with pytest.raises(RunFolderError, match=rf"^cannot read .*{name}: .*\nrestore it, or run again"):
            page_text(run.folder)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("metrics.json", {"plain": 3}),
            ("metrics.json", {"plain": {"test": {}}}),
            ("metrics.json", []),
            ("comparison.json", {"multi-label": 3}),
            ("comparison.json", {"multi-label": {"control": "plain"}}),
            ("check.json", {"findings": [{"severity": "dire"}]}),
            ("run.json", {"format_version": 2, "status": "running", "seconds": []}),
            ("run.json", {"format_version": 2, "status": "running", "seconds": {"images": "soon"}}),
            ("run.json", {"format_version": 2, "status": 3, "seconds": {}}),
            ("run.json", {"format_version": 2, "status": "running", "seconds": {}, "methods": "plain"}),
        ],
    )
    def test_json_of_another_kind(self, run, name, content):
        write_json(run.folder / name, content)
        with pytest.raises(RunFolderError, match=rf"^cannot read .*{name}: "):
            load_run(run.folder)

    def test_a_score_that_is_no_number(self, run):
        path = run.folder / "confusion" / "pairs.csv"
        header, first, *_ = path.read_text().splitlines()
        path.write_text(f"{header}\n{first.replace(first.split(',')[2], 'abc')}\n")
        with pytest.raises(RunFolderError, match="abc"):
            load_run(run.folder)

    @pytest.mark.parametrize("change", [lambda lines: lines[:-1], lambda lines: [*lines[1:], lines[0]]])
    def test_predictions_of_other_images_or_in_another_order(self, run, change):
        path = run.folder / "predictions" / "plain.csv"
        header, *lines = path.read_text().splitlines()
        path.write_text("\n".join([header, *change(lines)]) + "\n")
        with pytest.raises(RunFolderError, match="test images, in the order of the other files"):
            load_run(run.folder)

    def test_a_prediction_of_an_unknown_class(self, run):
        path = run.folder / "predictions" / "plain.csv"
        path.write_text(path.read_text().replace(",a,", ",zebra,"))
        with pytest.raises(RunFolderError, match=r"plain\.csv: .*zebra"):
            load_run(run.folder)

    def test_a_matrix_of_other_classes(self, run):
        change_json(run.folder / "run.json", dataset={"classes": ["a", "b", "d"]})
        with pytest.raises(RunFolderError, match=r"matrix\.csv: its classes are not those of run\.json"):
            load_run(run.folder)

    def test_a_path_that_is_not_utf8(self, run):
        change_json(run.folder / "run.json", root="/data/par\udcfc", command="sit2 train par\udcfc")
        assert "par\\udcfc" in write_report(run.folder).read_text(encoding="utf-8")

    @pytest.mark.parametrize("kind", ["EPS", "huge", "noise"])
    def test_a_sheet_is_a_png_of_common_size(self, run, kind, monkeypatch):
        def never(*_):
            raise AssertionError("another program would run")

        monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", never)
        path, picture = run.folder / "sheet.png", Image.new("RGB", (64, 64))
        if kind == "EPS":
            picture.save(path, format="EPS")
        elif kind == "huge":
            Image.new("1", (8000, 8000)).save(path)
        else:
            path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"noise")
        album = Album.of(run, 10**6)
        assert album.sheet(path) is None
        assert album.gone == 1


def test_images_above_the_limit_of_pillow_itself_are_shown(run, monkeypatch):
    """Pillow's warning escaped from the report; a warning is an error here, and the image would be gone."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    for name in ("large.tif", "large.png"):
        Image.new("RGB", (70, 50), "red").save(run.folder / name)
    album = Album(run.folder, 10**6)
    assert album.thumbnail("a", "large.tif") is not None
    assert album.sheet(run.folder / "large.png") is not None


def test_more_images_than_are_shown(tmp_path, monkeypatch):
    """Cells hold only images that are there, however many more there would be."""
    monkeypatch.setattr("sit2.report.matrix.MOST_IMAGES", 20)
    run = load_run(random_run(tmp_path / "run", 5, 100))
    view = matrix_view(run, Album.of(run, 10**6))
    assert len(view["images"]) == 20
    assert {k for cells in view["cells"] for rows in cells.values() for k in rows} == set(range(20))
