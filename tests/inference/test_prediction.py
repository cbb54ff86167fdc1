"""predict and evaluate: a model on images gives what it gave in its run, however the images come."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import SETTINGS, Finished, arrays, command, finished, save, write_folder

from sit2.experiments.run import train
from sit2.inference.model import PREDICT_BATCH

Printed = pytest.CaptureFixture[str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


def rows(text: str) -> dict[str, list[str]]:
    """Return what a table says of each path: the predicted class and the probabilities."""
    return {
        row["path"]: [row["predicted"], *(cell for name, cell in row.items() if name.startswith("p_"))]
        for row in csv.DictReader(io.StringIO(text))
    }


def probabilities(text: str) -> dict[str, list[str]]:
    """Return the same for each file's name."""
    return {Path(path).name: row for path, row in rows(text).items()}


def assert_same(found: dict[str, list[str]], expected: dict[str, list[str]]) -> None:
    """Compare rows that end with three probabilities: these may differ in their last digit.

    In a batch of another size the same sums are rounded otherwise.
    """
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        assert found[name][:-3] == row[:-3]
        assert [float(p) for p in found[name][-3:]] == pytest.approx([float(p) for p in row[-3:]], abs=2e-6)


def of_the_run(done: Finished, method: str = "multi-label", split: str = "test") -> dict[str, list[str]]:
    """Return what the run itself says of one split."""
    samples = pd.read_csv(done.run / "samples.csv")
    wanted = set(samples[samples["split"] == split]["path"])
    own = rows((done.run / "predictions" / f"{method}.csv").read_text())
    return {name: line for name, line in own.items() if name in wanted}


class TestPredict:
    def test_a_folder_gives_the_lines_of_the_run(self, done: Finished, capsys: Printed) -> None:
        assert command(("predict", done.data, "--model", done.run)) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        assert (
            printed.out.splitlines()[0]
            == "path,predicted,confidence,decision,set,p_cross,p_disc,p_oval,problem"
        )
        lines = rows(printed.out)
        assert len(lines) == 36
        own = of_the_run(done) | of_the_run(done, split="val")
        assert len(own) == 13
        assert_same({name: lines[name] for name in own}, own)

    @pytest.mark.parametrize(("folder", "method"), [("model", "multi-label"), ("model/plain", "plain")])
    def test_a_model_folder_does_as_well(
        self, done: Finished, capsys: Printed, folder: str, method: str
    ) -> None:
        assert command(("predict", done.data, "--model", done.run / folder)) == 0
        lines = rows(capsys.readouterr().out)
        own = of_the_run(done, method)
        assert_same({name: lines[name] for name in own}, own)

    def test_a_moved_model_needs_nothing_else(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        shutil.copytree(done.run / "model", tmp_path / "elsewhere")
        assert command(("predict", done.data, "--model", tmp_path / "elsewhere")) == 0
        lines = rows(capsys.readouterr().out)
        own = of_the_run(done)
        assert_same({name: lines[name] for name in own}, own)

    def test_files_in_any_order_and_company(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        own = {Path(name).name: line for name, line in of_the_run(done).items()}
        files = [done.data / name for name in of_the_run(done)]
        assert command(("predict", *files[::-1], "--model", done.run)) == 0
        printed = capsys.readouterr().out
        assert_same(probabilities(printed), own)
        assert [row["path"] for row in csv.DictReader(io.StringIO(printed))] == [
            file.as_posix() for file in files[::-1]
        ]
        assert command(("predict", files[3], "--model", done.run)) == 0
        alone = capsys.readouterr().out
        assert_same(probabilities(alone), {files[3].name: own[files[3].name]})
        # With more images than fit into one batch, each has other company.
        crowd = tmp_path / "crowd"
        for n in range(2 * PREDICT_BATCH):
            save(crowd / f"{n:03d}.png", np.full((16, 16, 3), n, np.uint8))
        assert command(("predict", crowd, *files, "--model", done.run)) == 0
        crowded = probabilities(capsys.readouterr().out)
        assert len(crowded) == 2 * PREDICT_BATCH + len(files)
        assert_same({name: crowded[name] for name in own}, own)

    def test_an_unlabelled_heap_of_images(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        heap = tmp_path / "heap"
        heap.mkdir()
        for name in of_the_run(done):
            shutil.copy(done.data / name, heap)
        assert command(("predict", heap, "--model", done.run)) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        own = {Path(name).name: line for name, line in of_the_run(done).items()}
        assert_same(probabilities(printed.out), own)

    def test_a_manifest(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        own = of_the_run(done)
        manifest = tmp_path / "list.csv"
        lines = [f"{done.data / name},{name.split('/')[0]}" for name in own]
        manifest.write_text("\n".join(["path,label", *lines[:-1], f"{done.data / [*own][-1]},newt"]) + "\n")
        assert command(("predict", manifest, "--model", done.run)) == 0
        printed = capsys.readouterr()
        assert printed.err == "note: 1 label unknown to the model, taken as no label: newt\n"
        expected = {Path(name).name: line for name, line in own.items()}
        assert_same(probabilities(printed.out), expected)

    def test_into_a_folder(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        out = tmp_path / "out"
        assert command(("predict", done.data, "--model", done.run)) == 0
        printed = capsys.readouterr().out
        assert command(("predict", done.data, "--model", done.run, "-o", out)) == 0
        assert capsys.readouterr() == (f"36 images, a row for each: {out / 'predictions.csv'}\n", "")
        assert [p.name for p in out.iterdir()] == ["predictions.csv"]
        assert (out / "predictions.csv").read_text() == printed
        assert command(("predict", done.data, "--model", done.run, "-o", out)) == 2
        assert capsys.readouterr().err == (
            f"sit2: the output folder {out} is not empty\nuse --overwrite, or another -o\n"
        )
        assert command(("predict", done.data, "--model", done.run, "-o", out, "--overwrite", "--quiet")) == 0
        assert capsys.readouterr() == ("", "")

    def test_what_cannot_be_read_is_named_and_has_its_row(
        self, done: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        data = tmp_path / "data"
        shutil.copytree(done.data / "disc", data)
        (data / "disc_00.png").write_bytes(b"")
        assert command(("predict", data, "--model", done.run)) == 0
        printed = capsys.readouterr()
        assert (
            printed.err
            == "note: 1 image cannot be read; see the column problem: disc_00.png (an empty file)\n"
        )
        table = {row["path"]: row for row in csv.DictReader(io.StringIO(printed.out))}
        assert len(table) == 12
        assert table.pop("disc_00.png") == dict.fromkeys([*table["disc_01.png"]], "") | {
            "path": "disc_00.png",
            "problem": "an empty file",
        }
        assert all(row["decision"] == row["predicted"] and not row["set"] for row in table.values())
        assert all(float(row["confidence"]) == float(row[f"p_{row['predicted']}"]) for row in table.values())
        assert command(("predict", data / "disc_00.png", "--model", done.run)) == 2
        assert capsys.readouterr().err == (
            f"sit2: no image can be read: {data / 'disc_00.png'} (an empty file)\n"
            "expected at least one that can\n"
        )

    def test_a_run_with_predictors(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        recipe = "plain+tta+ensemble+temperature"
        run = train(done.data, out=tmp_path / "run", **{**SETTINGS, "method": recipe})
        assert command(("predict", done.data, "--model", run.folder)) == 0
        lines = rows(capsys.readouterr().out)
        with_them = Finished(done.data, run.folder)
        own = of_the_run(with_them, recipe)
        assert len(own) == 7
        assert_same({name: lines[name] for name in own}, own)
        # For the validation images the run answers by predictors that were fitted without each of them.
        val = of_the_run(with_them, recipe, split="val")
        assert {name: lines[name] for name in val} != val

    def test_a_run_of_a_grey_npz_file(self, tmp_path: Path, capsys: Printed) -> None:
        images, labels = arrays()
        np.savez(tmp_path / "shapes.npz", images=images[:, :, :, 0], labels=labels)
        run = train(tmp_path / "shapes.npz", out=tmp_path / "run", **{**SETTINGS, "method": "mixup"})
        assert command(("predict", tmp_path / "shapes.npz", "--model", run.folder)) == 0
        lines = rows(capsys.readouterr().out)
        own = rows((run.folder / "predictions" / "mixup.csv").read_text())
        assert_same({name: lines[name] for name in own}, own)

        # An .npz that the model was trained on is no better a test than a folder it was trained on.
        assert command(("evaluate", tmp_path / "shapes.npz", "--model", run.folder)) == 0
        printed = capsys.readouterr()
        assert "note: 29 images left out: the model was trained or validated on them" in printed.err
        assert "Test on 7 images" in printed.out


class TestEvaluate:
    def test_it_leaves_out_what_the_model_has_seen(
        self, done: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        out = tmp_path / "out"
        assert command(("evaluate", done.data, "--model", done.run, "-o", out)) == 0
        printed = capsys.readouterr()
        assert printed.err == (
            "note: 29 images left out: the model was trained or validated on them, so they say nothing "
            "about new images; --all counts them too\n"
        )
        assert printed.out.startswith("\nTest on 7 images, in percent except AUROC and log-loss\n")
        own = json.loads((done.run / "metrics.json").read_text())["multi-label"]["test"]
        (found,) = json.loads((out / "metrics.json").read_text()).items()
        sets = found[1]["test"].pop("sets")
        assert found == ("multi-label", {"test": pytest.approx(own, abs=1e-6)})
        assert sets["coverage"] is None
        assert sets["all"]["right"]["value"] == pytest.approx(own["accuracy"])
        assert_same(rows((out / "predictions.csv").read_text()), of_the_run(done))

    def test_images_that_are_new_to_it(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        images, labels = arrays(4, seed=8)
        for n, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            save(tmp_path / "new" / label / f"{n}.png", pixels)
        save(tmp_path / "new" / "newt" / "1.png", images[0])
        assert command(("evaluate", tmp_path / "new", "--model", done.run)) == 0
        printed = capsys.readouterr()
        assert printed.err == (
            "note: 1 image without a label, in folders that are no class of the model: 'newt'\n"
            "note: 1 image without a label of the model left out\n"
        )
        assert "Test on 12 images" in printed.out

    def test_a_class_of_which_there_is_no_image_is_named(
        self, done: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        images, labels = arrays(4, seed=8)
        for n, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            if label != "oval":
                save(tmp_path / "new" / label / f"{n}.png", pixels)
        assert command(("evaluate", tmp_path / "new", "--model", done.run)) == 0
        assert (
            "\nNo test images of oval: nothing is known of it. Macro-F1, balanced accuracy and AUROC are means "
            "over the 2 other classes.\n"
        ) in capsys.readouterr().out

    def test_rows_that_are_marked_unused_are_not_scored(
        self, done: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        images, labels = arrays(4, seed=8)
        lines = ["path,label,split"]
        for n, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            save(tmp_path / f"{n}.png", pixels)
            lines.append(f"{n}.png,{label},{'Unused ' if n < 3 else 'test'}")
        (tmp_path / "m.csv").write_text("\n".join(lines))
        assert command(("evaluate", tmp_path / "m.csv", "--model", done.run)) == 0
        printed = capsys.readouterr()
        assert "Test on 9 images" in printed.out
        assert "note: 3 rows marked unused: predicted, but not evaluated\n" in printed.err
        assert command(("predict", tmp_path / "m.csv", "--model", done.run)) == 0
        assert len(rows(capsys.readouterr().out)) == 12

    def test_a_runs_own_metrics_stay(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        run = shutil.copytree(done.run, tmp_path / "run")
        before = (run / "metrics.json").read_bytes()
        assert command(("evaluate", done.data, "--model", run, "-o", run, "--overwrite")) == 2
        assert "is the folder of a run" in capsys.readouterr().err
        assert (run / "metrics.json").read_bytes() == before

    def test_nothing_is_left(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        shutil.copytree(done.data / "disc", tmp_path / "heap")
        assert command(("evaluate", tmp_path / "heap", "--model", done.run)) == 2
        assert capsys.readouterr().err == (
            "note: 12 images without a label of the model left out\n"
            "sit2: no labelled image is left to evaluate: found heap\n"
            "expected images in folders named like the classes: cross, disc, oval\n"
        )
        training = list(of_the_run(done, split="val"))
        files = [done.data / name for name in training]
        assert command(("evaluate", *files, "--model", done.run, "--quiet")) == 2
        assert capsys.readouterr().err == (
            "sit2: no labelled image is left to evaluate: the model was trained or validated on all of them\n"
            "expected new images, or --all to count them too\n"
        )

    @pytest.mark.parametrize(
        ("layout", "why"),
        [
            ("group/class", "the folders at level 2, and these do not exist"),
            ("class/group", "the folders at level 1, and these are batch"),
        ],
    )
    def test_a_layout_that_does_not_fit(
        self, layout: str, why: str, done: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        shutil.copytree(done.data / "disc", tmp_path / "new" / "batch")
        words = ("evaluate", tmp_path / "new", "--model", done.run, "--layout", layout, "--quiet")
        assert command(words) == 2
        assert capsys.readouterr().err == (
            f"sit2: no labelled image is left to evaluate: by --layout {layout} the classes are {why}\n"
            "expected cross, disc, oval there; without --layout they are looked for at every level\n"
        )


def of_site(done: Finished, place: Path, *, empty: bool = False) -> Path:
    """Write a manifest of the run's images with a column for where they were taken."""
    lines = ["path,label,site"]
    for n, image in enumerate(sorted(done.data.glob("*/*.png"))):
        site = "" if empty and n % 2 else ("north", "south")[n % 2]
        lines.append(f"{image},{image.parent.name},{site}")
    place.write_text("\n".join(lines) + "\n")
    return place


class TestBy:
    def test_a_column_of_the_manifest(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        manifest, out = of_site(done, tmp_path / "list.csv"), tmp_path / "out"
        assert command(("evaluate", manifest, "--model", done.run, "--by", "site", "-o", out)) == 0
        assert "By site, in percent" in capsys.readouterr().out
        table = pd.read_csv(out / "predictions.csv").merge(pd.read_csv(manifest)[["path", "site"]], on="path")
        assert len(table) == 7
        content = json.loads((out / "metrics.json").read_text())["multi-label"]["test"]["by"]
        assert content["column"] == "site"
        written = pd.read_csv(out / "by.csv").set_index("value")
        expected = dict(iter(table.groupby("site")))
        assert [one["value"] for one in content["values"]] == list(expected)
        for one in content["values"]:
            own = expected[one["value"]]
            right = own["label"] == own["predicted"]
            assert one["n"] == len(own) == written.loc[one["value"], "n"]
            assert one["accuracy"] == pytest.approx(right.mean())
            assert one["balanced_accuracy"] == pytest.approx(right.groupby(own["label"]).mean().mean())
            low, high = one["accuracy_interval"]
            assert low <= one["accuracy"] <= high
            assert written.loc[one["value"], "accuracy_lower"] == pytest.approx(low, abs=1e-6)

    def test_a_table_beside_the_images(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        manifest = of_site(done, tmp_path / "list.csv")
        table = pd.read_csv(manifest).assign(path=lambda t: t["path"].map(lambda p: Path(p).name))
        table.drop(columns="label").to_csv(tmp_path / "sites.csv", index=False)
        printed = []
        for source, by in ((manifest, "site"), (done.data, f"{tmp_path / 'sites.csv'}:site")):
            assert command(("evaluate", source, "--model", done.run, "--by", by)) == 0
            text = capsys.readouterr().out
            printed.append([line.split()[:2] for line in text.splitlines() if line[:5] in ("north", "south")])
        assert printed[0] == printed[1]
        assert len(printed[0]) == 2

    def test_a_value_may_be_missing_in_a_manifest(
        self, done: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        manifest = of_site(done, tmp_path / "list.csv", empty=True)
        assert command(("evaluate", manifest, "--model", done.run, "--by", "site")) == 0
        assert "(empty)" in capsys.readouterr().out

    def test_a_column_that_is_not_there(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        manifest = of_site(done, tmp_path / "list.csv")
        assert command(("evaluate", manifest, "--model", done.run, "--by", "sites")) == 2
        error = capsys.readouterr().err
        assert error == f"sit2: {manifest} has no column 'sites'\ndid you mean 'site'?\n"
        assert command(("evaluate", done.data, "--model", done.run, "--by", "site")) == 2
        assert capsys.readouterr().err == (
            f"sit2: no column 'site': {done.data} is no manifest, or not the only source\n"
            "name the table too: --by TABLE.csv:site\n"
        )


@pytest.fixture(name="two", scope="module")
def _two(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of two classes."""
    place = tmp_path_factory.mktemp("two")
    data = write_folder(place / "shapes", 20, classes=("disc", "oval"))
    train(data, out=place / "run", **{**SETTINGS, "method": "plain", "epochs": 1})
    return Finished(data, place / "run")


class TestPositive:
    def test_the_threshold_is_of_the_validation_images_and_tested_on_others(
        self, two: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        out = tmp_path / "out"
        words = ("--positive", "oval", "--sensitivity", "0.7", "-o", out)
        assert command(("evaluate", two.data, "--model", two.run, *words)) == 0
        printed = capsys.readouterr().out
        assert "oval from a probability of" in printed
        assert "so it is uncertain" in printed  # so few images
        found = json.loads((out / "metrics.json").read_text())["plain"]["test"]["threshold"]
        assert (found["positive"], found["sensitivity_wanted"]) == ("oval", 0.7)
        samples = pd.read_csv(two.run / "samples.csv").set_index("id")["split"]
        own = pd.read_csv(two.run / "predictions" / "plain.csv")
        threshold = found["threshold"]
        for split in ("validation", "test"):
            part = own[own["id"].map(samples) == {"validation": "val"}.get(split, split)]
            true, said = part["label"] == "oval", part["p_oval"] >= threshold
            for name, rows, holds in (
                ("sensitivity", true, said),
                ("specificity", ~true, ~said),
                ("ppv", said, true),
                ("npv", ~said, ~true),
            ):
                assert (found[split][name]["hits"], found[split][name]["n"]) == (
                    (rows & holds).sum(),
                    rows.sum(),
                )
        assert found["validation"]["sensitivity"]["value"] >= 0.7
        scores = own["p_oval"][(own["id"].map(samples) == "val") & (own["label"] == "oval")]
        assert (scores > threshold + 1e-6).mean() < 0.7

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--positive", "ovl"), "unknown class 'ovl'\ndid you mean 'oval'?"),
            (("--positive", "oval", "--sensitivity", "0"), "sensitivity is 0.0\nexpected a number above 0"),
            (("--positive", "oval", "--sensitivity", "nan"), "sensitivity is nan\nexpected a number above 0"),
            (("--sensitivity", "0.9"), "--sensitivity needs the class"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, two: Finished, capsys: Printed, words: tuple[str, ...], message: str
    ) -> None:
        assert command(("evaluate", two.data, "--model", two.run, *words)) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"sit2: {message}")
        assert error.count("\n") <= 3

    def test_three_classes(self, done: Finished, capsys: Printed) -> None:
        assert command(("evaluate", done.data, "--model", done.run, "--positive", "disc")) == 2
        assert capsys.readouterr().err == (
            "sit2: a threshold needs a model of two classes\nthis one has 3 classes: cross, disc, oval\n"
        )

    def test_a_model_without_its_run(self, two: Finished, tmp_path: Path, capsys: Printed) -> None:
        moved = shutil.copytree(two.run / "model", tmp_path / "moved")
        assert command(("evaluate", two.data, "--model", moved, "--positive", "oval")) == 2
        assert capsys.readouterr().err == (
            f"sit2: {moved} is not in a run folder: a threshold is chosen on the validation images of the run\n"
            "give the folder that `sit2 train -o` wrote\n"
        )

    def test_a_run_without_its_predictions(self, two: Finished, tmp_path: Path, capsys: Printed) -> None:
        run = shutil.copytree(two.run, tmp_path / "run")
        (run / "predictions" / "plain.csv").unlink()
        assert command(("evaluate", two.data, "--model", run, "--positive", "oval")) == 2
        error = capsys.readouterr().err
        assert "predictions/plain.csv is missing" in error
        assert error.count("\n") <= 3
