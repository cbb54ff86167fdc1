"""The command: its help, and the verbs check, confusion and synthesize."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from synthetic import (
    CLASSES,
    MEASURED,
    Finished,
    command,
    contents,
    finished,
    save,
    write_folder,
    write_manifest,
)

import sit2
from sit2.cli.command import main
from sit2.cli.parser import parse
from sit2.cli.verbs.verb import config_of
from sit2.config.schema import SETTINGS, Config
from sit2.inference.predictors import PREDICTORS
from sit2.methods import METHODS
from sit2.parameters import parameters_of
from sit2.training.loop import Training

Printed = pytest.CaptureFixture[str]
VERBS = (
    *("demo", "check", "train", "compare", "confusion", "synthesize", "predict", "evaluate"),
    *("suggest", "report", "export", "serve", "cache"),
)


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


class TestHelp:
    def help(self, capsys: Printed, *words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main([*words, "--help"])
        assert caught.value.code == 0
        return capsys.readouterr().out

    def test_it_lists_the_verbs(self, capsys: Printed) -> None:
        text = self.help(capsys)
        assert tuple(re.findall(r"^    ([a-z]+)\b", text, re.MULTILINE)) == VERBS

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_says_what_it_does(self, capsys: Printed, verb: str) -> None:
        text = self.help(capsys, verb)
        assert text.startswith(f"usage: sit2 {verb} ")
        for flag in ("--quiet", "--debug"):
            assert flag in text

    def flags(self, text: str) -> set[str]:
        """Return the settings that a help shows, by their names in YAML."""
        found = re.findall(r"^  (?:-\w [A-Z]+, )?--([a-z-]+)", text, re.MULTILINE)
        return {name.replace("-", "_") for name in found} & set(SETTINGS)

    def help_all(self, capsys: Printed, verb: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main([verb, "--help-all"])
        assert caught.value.code == 0
        return capsys.readouterr().out

    @pytest.mark.parametrize("verb", ["train", "compare"])
    def test_help_all_shows_every_setting(self, capsys: Printed, verb: str) -> None:
        text = self.help_all(capsys, verb)
        assert self.flags(text) == set(SETTINGS) - ({"method"} if verb == "compare" else set())
        assert "_fraction" not in text  # flags have dashes
        words = " ".join(text.split())
        for name in self.flags(text):
            assert " ".join(SETTINGS[name].rule.text.split()[:2]) in words, name

    def test_help_of_train_shows_few_settings(self, capsys: Printed) -> None:
        text = self.help(capsys, "train")
        basic = {name for name, one in SETTINGS.items() if one.rule.basic}
        assert self.flags(text) == basic
        assert {"method", "control", "image_size", "epochs", "labels_per_class", "seed"} <= basic
        assert len(basic) <= 16
        assert "--help-all" in text

    @pytest.mark.parametrize("verb", ["train", "compare"])
    def test_methods_and_predictors_have_a_line_each(self, capsys: Printed, verb: str) -> None:
        for text in (self.help(capsys, verb), self.help_all(capsys, verb)):
            for names, after in ((METHODS, "methods ("), (PREDICTORS, "predictors (")):
                lines = text.partition(after)[2].split("\n\n")[0].splitlines()[1:]
                assert [line.split()[0] for line in lines] == list(names)
                assert all(len(line.split()) > 4 and len(line) < 140 for line in lines)

    @pytest.mark.parametrize("verb", ["confusion", "synthesize"])
    def test_verbs_that_train_no_method_take_none(self, capsys: Printed, verb: str) -> None:
        some, every = self.flags(self.help(capsys, verb)), self.flags(self.help_all(capsys, verb))
        assert {"confusion", "folds", "min_confused", "seed"} <= some < every
        assert {"epochs", "lr", "test_fraction", "resize"} <= every
        unconcerned = {"method", "control", "ensemble_weight"}
        unconcerned |= {one.name for kind in METHODS.values() for one in parameters_of(kind)} - {"operators"}
        assert not every & unconcerned
        assert ("operators" in every) == (verb == "synthesize")

    def test_what_help_does_not_show_is_taken(self) -> None:
        options = parse(["train", "data", "--folds", "3", "--no-resplit"])
        assert config_of(options) == Config(folds=3, resplit=False)

    @pytest.mark.parametrize("verb", ["train", "compare", "confusion", "synthesize"])
    def test_settings_may_stand_in_a_file(self, tmp_path: Path, verb: str) -> None:
        (tmp_path / "c.yaml").write_text("folds: 3\nmethod: mixup\n")
        options = parse([verb, "data", "-o", "out", "--config", str(tmp_path / "c.yaml"), "--seed", "7"])
        assert config_of(options) == Config(folds=3, method="mixup", seed=7)

    def test_version(self, capsys: Printed) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["--version"])
        assert caught.value.code == 0
        assert capsys.readouterr().out == f"sit2 {sit2.__version__}\n"

    def test_no_verb_at_all(self, capsys: Printed) -> None:
        assert main([]) == 2
        assert capsys.readouterr().out.startswith("usage: sit2 ")

    def test_help_needs_no_torch(self) -> None:
        """Or it would take seconds to appear."""
        script = (
            "import sys; from sit2.cli.command import main\n"
            "try: main(['train', '--help'])\n"
            "except SystemExit: pass\n"
            "print([name for name in ('torch', 'pandas', 'sklearn') if name in sys.modules])"
        )
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == "[]"
        assert ran.stderr == ""

    def test_it_is_installed_as_a_command(self) -> None:
        """And what it prints into a pipe holds no control codes."""
        place = Path(sys.executable).with_name("sit2")
        ran = subprocess.run([place, "trian"], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr == "sit2: unknown verb 'trian'\ndid you mean 'train'?\n"


class TestCheck:
    def test_a_clean_folder(self, done: Finished, capsys: Printed) -> None:
        assert command(("check", done.data)) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        lines = [line.split() for line in printed.out.splitlines()]
        assert lines == [
            ["shapes:", "36", "images"],
            ["class", "images", "unreadable"],
            *([name, "12", "0"] for name in CLASSES),
            [],
            ["Files"],
            ["kind", "images", "smallest", "median", "largest"],
            ["PNG,", "colour,", "8", "bits", "36", *["16", "×", "16"] * 3],
            [],
            ["Nothing", "found", "that", "would", "make", "results", "wrong."],
        ]

    def test_an_image_in_two_given_splits(self, tmp_path: Path, capsys: Printed) -> None:
        manifest = write_manifest(tmp_path)
        shutil.copy(tmp_path / "disc" / "disc_00.png", tmp_path / "disc" / "disc_11.png")  # train and test
        before = contents(tmp_path, "**/*")
        assert command(("check", manifest)) == 1
        text = capsys.readouterr().out
        assert (
            "\nwrong: 1 image appears in more than one split: disc/disc_00.png = disc/disc_11.png.\n"
            "  keep each image in one split, or let sit2 make its own splits: --resplit\n"
        ) in text
        assert contents(tmp_path, "**/*") == before

    def test_a_copy_within_a_class_is_no_error(self, tmp_path: Path, capsys: Printed) -> None:
        data = write_folder(tmp_path / "shapes")
        shutil.copy(data / "disc" / "disc_00.png", data / "disc" / "copy.png")
        (data / "oval" / "bad.png").write_bytes(b"")
        assert command(("check", data)) == 0
        text = capsys.readouterr().out
        assert "\nwarning: 1 image appears more than once in a class: " in text
        assert "\nwarning: 1 image cannot be read and will be left out: oval/bad.png: an empty" in text
        assert re.search(r"^oval +13 +1$", text, re.MULTILINE)

    def test_groups_in_two_splits(self, tmp_path: Path, capsys: Printed) -> None:
        manifest = write_manifest(tmp_path)
        lines = manifest.read_text().splitlines()
        patients = [f"{line},{n % 5}" for n, line in enumerate(lines[1:])]
        manifest.write_text("\n".join([lines[0] + ",patient", *patients]) + "\n")
        assert command(("check", manifest)) == 0
        assert command(("check", manifest, "--groups", "patient")) == 1
        assert "wrong: 5 groups appear in more than one split" in capsys.readouterr().out


def wilson(p: NDArray[np.float64], n: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return the 95 % interval of Wilson (1927) of a share p of n."""
    z = 1.959963984540054
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def by_hand(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> list[dict[str, object]]:
    """Compute pairs.csv with nothing but NumPy, by METHOD.md."""
    classes = np.unique(labels)
    mass = np.array([probabilities[labels == k].sum(axis=0) for k in classes])
    count = np.array([(labels == k).sum() for k in classes])
    share = mass / count[:, None]
    rows: list[dict[str, object]] = []
    for i in classes:
        for j in classes[classes > i]:
            p, n = np.array([share[i, j], share[j, i]]), count[[i, j]]
            low, high = wilson(p, n)
            rows.append(
                {
                    "class_a": str(i),
                    "class_b": str(j),
                    "score": p.sum(),
                    "lower": p.sum() - np.hypot(*(p - low)),
                    "upper": p.sum() + np.hypot(*(high - p)),
                    "confused": mass[i, j] + mass[j, i],
                    "samples": n.sum(),
                }
            )
    rows.sort(key=lambda row: -float(str(row["score"])))
    scores = np.array([row["score"] for row in rows])
    half = int(np.argmax(np.cumsum(scores) >= scores.sum() / 2)) + 1  # the fewest with half of it all
    for n, row in enumerate(rows):
        row["chosen"] = n < half and float(str(row["confused"])) >= 1 and n < 2 * len(classes)
    return rows


class TestConfusionOfPredictions:
    @pytest.fixture(scope="class")
    @classmethod
    def digits(cls) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return out-of-fold probabilities of scikit-learn's own classifier, and the labels."""
        images, labels = load_digits(return_X_y=True)
        model = LogisticRegression(C=0.01, max_iter=1000)
        return cross_val_predict(model, images[:900], labels[:900], cv=3, method="predict_proba"), labels[
            :900
        ]

    def test_the_pairs_are_those_of_a_hand_computation(
        self, digits: tuple[NDArray[np.float64], NDArray[np.int64]], tmp_path: Path, capsys: Printed
    ) -> None:
        probabilities, labels = digits
        table = pd.DataFrame(probabilities, columns=[f"p_{k}" for k in range(10)])
        table.insert(0, "label", labels)
        table.to_csv(tmp_path / "theirs.csv", index=False)
        expected = by_hand(probabilities, labels)
        chosen = [row for row in expected if row["chosen"]]
        assert 3 <= len(chosen) < 20  # so that the rule chose something

        assert command(("confusion", tmp_path / "theirs.csv", "-o", tmp_path / "out")) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        accuracy, *lines = printed.out.splitlines()
        right = float((probabilities.argmax(axis=1) == labels).mean())
        assert accuracy.startswith(
            f"Confusion is that of the predictions of theirs.csv: {100 * right:.1f} % of {len(labels):,} images"
        )
        assert lines[0].startswith(f"Confused pairs: {len(chosen)} of 45 chosen, with 5")
        first = chosen[0]
        assert lines[2].split() == [
            first["class_a"],
            "–",
            first["class_b"],
            f"{first['score']:.3f}",
            f"{first['lower']:.3f}",
            "to",
            f"{first['upper']:.3f}",
            f"{first['confused']:.1f}",
            "of",
            str(first["samples"]),
        ]

        written = pd.read_csv(tmp_path / "out" / "pairs.csv", dtype={0: str, 1: str})
        assert list(written.columns) == list(expected[0])
        assert len(written) == 45
        for column in written:
            values = [row[column] for row in expected]
            if written[column].dtype.kind == "f":
                np.testing.assert_allclose(written[column], np.array(values, float), atol=1e-6)
            else:
                assert written[column].tolist() == values

        matrix = pd.read_csv(tmp_path / "out" / "matrix.csv")
        mass = np.array([probabilities[labels == k].sum(axis=0) for k in range(10)])
        np.testing.assert_allclose(matrix[[str(k) for k in range(10)]], mass, atol=1e-6)
        assert matrix["samples"].tolist() == np.bincount(labels).tolist()
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
            *("config.yaml", "matrix.csv", "pairs.csv", "report.html", "run.json"),
        ]
        page = (tmp_path / "out" / "report.html").read_text()
        assert f"How good is what measured the confusion? {100 * right:.1f}\u00a0% correct" in page
        assert 'aria-label="Measured confusion"' in page
        assert "No model was evaluated" not in page

    def test_without_o_it_only_prints(
        self, done: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert command(("confusion", done.run / "predictions" / "plain.csv", "--max-pairs", 1)) == 0
        text = capsys.readouterr().out
        assert "\nConfused pairs: 1 of 3 chosen, with " in text
        assert "report" not in text
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_confused(self, tmp_path: Path, capsys: Printed) -> None:
        (tmp_path / "theirs.csv").write_text("label,p_a,p_b\na,1,0\nb,0,1\n")
        assert command(("confusion", tmp_path / "theirs.csv")) == 0
        assert "\nNo pair of classes is confused enough (of 1)" in capsys.readouterr().out

    def test_hard_predictions_under_any_names(self, tmp_path: Path, capsys: Printed) -> None:
        place = tmp_path / "theirs.csv"
        place.write_text("file,was,said\n1,cat,dog\n2,cat,cat\n3,dog,cat\n4,dog,dog\n5,owl,owl\n")
        words = (
            "confusion",
            place,
            "--label-column",
            "was",
            "--predicted-column",
            "said",
            "-o",
            tmp_path / "out",
        )
        assert command(words) == 0
        assert "60.0 % of 5 images classified correctly" in capsys.readouterr().out
        pairs = pd.read_csv(tmp_path / "out" / "pairs.csv")
        assert pairs.loc[0, ["class_a", "class_b", "score", "confused"]].tolist() == ["cat", "dog", 1.0, 2.0]

    def test_columns_of_a_folder(self, done: Finished, capsys: Printed) -> None:
        assert command(("confusion", done.data, "--label-column", "was")) == 2
        assert "is no table\nexpected a .csv or .parquet file" in capsys.readouterr().err

    def test_a_row_that_is_no_probability(self, tmp_path: Path, capsys: Printed) -> None:
        place = tmp_path / "theirs.csv"
        place.write_text("label,p_a,p_b\na,0.9,0.1\nb,3.5,-1\n")
        assert command(("confusion", place, "-o", tmp_path / "out")) == 2
        assert capsys.readouterr().err == (
            f"sit2: {place}, line 3 holds the negative number -1\n"
            "expected probabilities that sum to 1; apply softmax to scores or logits first\n"
        )
        assert not (tmp_path / "out").exists()


def test_confusion_of_images_is_that_of_a_run(done: Finished, tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "out"
    assert command(("confusion", done.data, "-o", out, *MEASURED)) == 0
    text = capsys.readouterr().out
    assert "\nConfused pairs: " in text
    assert "\nConfusion is that of networks trained on 2 folds: " in text
    assert text.endswith(f"The report, for a browser: {out / 'report.html'}\n")
    for name in ("pairs.csv", "matrix.csv"):
        assert (out / name).read_bytes() == (done.run / "confusion" / name).read_bytes()
    assert contents(out, "samples.csv") == contents(done.run, "samples.csv")
    assert "How good is what measured the confusion? " in (out / "report.html").read_text()


class TestSynthesize:
    COLUMNS = ("file", "operator", "weight", "left_id", "right_id", "left_label", "right_label")

    def rows(self, out: Path) -> list[dict[str, str]]:
        with (out / "sources.csv").open() as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        assert tuple(reader.fieldnames or ()) == self.COLUMNS
        return rows

    def pixels(self, path: Path) -> NDArray[np.int64]:
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("RGB", (16, 16))
            return np.asarray(image).astype(np.int64)

    def test_every_image_can_be_made_again_from_its_parents(
        self, done: Finished, tmp_path: Path, capsys: Printed
    ) -> None:
        out, pairs = tmp_path / "made", tmp_path / "pairs.csv"
        pairs.write_text("class_a,class_b\noval,disc\ncross,disc\n")
        words = ("--pairs", pairs, "--count", 12, "--sure", "--augment", "none", *MEASURED)
        assert command(("synthesize", done.data, "-o", out, *words)) == 0
        assert capsys.readouterr().out.endswith(
            f"Written: 60 images in {out / 'synthesis'}, listed in sources.csv\n"
        )
        rows = self.rows(out)
        files = sorted(p.relative_to(out).as_posix() for p in (out / "synthesis").rglob("*.png"))
        assert sorted(row["file"] for row in rows) == files
        folders = {"001_disc__oval": 12, "002_cross__disc": 12, "sure": 36}
        assert {f: sum(f"/{f}/" in row["file"] for row in rows) for f in folders} == folders
        assert {row["operator"] for row in rows} == {"blend", "halves", "patches"}

        samples = pd.read_csv(out / "samples.csv").set_index("id")
        for row in rows:
            for side in ("left", "right"):
                assert samples.loc[row[f"{side}_id"], "split"] == "train"
                assert samples.loc[row[f"{side}_id"], "label"] == row[f"{side}_label"]
            labels = {row["left_label"], row["right_label"]}
            if "/sure/" in row["file"]:
                assert len(labels) == 1
                assert row["left_id"] != row["right_id"]
            else:
                assert labels == ({"disc", "oval"} if "/001_" in row["file"] else {"cross", "disc"})

            weight = float(row["weight"])
            made = self.pixels(out / row["file"])
            left, right = (self.pixels(done.data / row[f"{side}_id"]) for side in ("left", "right"))
            if row["operator"] == "blend":
                assert 0.4 <= weight <= 0.6
                assert abs(made - (weight * left + (1 - weight) * right)).max() <= 1
                continue
            # Halves and patches take every pixel from one parent.
            from_left = (made == left).all(axis=2)
            assert (from_left | (made == right).all(axis=2)).all()
            share = (from_left & ~(left == right).all(axis=2)).mean()
            assert share <= weight <= from_left.mean()
            assert weight == 0.5 if row["operator"] == "halves" else 0.4 < weight < 0.6

    def test_with_measured_pairs(self, done: Finished, tmp_path: Path) -> None:
        out, again = tmp_path / "made", tmp_path / "again"
        words = ("--count", 3, *MEASURED, "--operators", "halves", "--quiet")
        assert command(("synthesize", done.data, "-o", out, *words)) == 0
        assert contents(out, "confusion/*") == contents(done.run, "confusion/*")
        rows = self.rows(out)
        chosen = pd.read_csv(out / "confusion" / "pairs.csv").query("chosen")
        assert len(rows) == 3 * len(chosen)
        assert {row["operator"] for row in rows} == {"halves"}
        assert not (out / "synthesis" / "sure").exists()

        # The pairs of a run, by their file, give the same images.
        words = (*words, "--pairs", done.run / "confusion" / "pairs.csv")
        assert command(("synthesize", done.data, "-o", again, *words)) == 0
        assert contents(again, "sources.csv", "**/*.png") == contents(out, "sources.csv", "**/*.png")
        assert not (again / "confusion").exists()

        # And --overwrite leaves none of the old ones.
        assert command(("synthesize", done.data, "-o", out, *words, "--overwrite", "--count", 1)) == 0
        assert len(list((out / "synthesis").rglob("*.png"))) == len(self.rows(out)) == len(chosen)

    def test_nothing_is_confused(self, done: Finished, tmp_path: Path, capsys: Printed) -> None:
        out = tmp_path / "made"
        assert command(("synthesize", done.data, "-o", out, *MEASURED, "--min-confused", "1e9")) == 2
        assert capsys.readouterr().err == (
            "sit2: no pair to make not-sure images from\n"
            "name some with --pairs FILE, or lower --min-confused\n"
        )
        assert not out.exists()

    def test_a_class_without_training_images(self, tmp_path: Path, capsys: Printed) -> None:
        """A pair of a class that only the test has cannot be mixed."""
        manifest = write_manifest(tmp_path)
        save(tmp_path / "newt.png", np.zeros((16, 16, 3), np.uint8))
        manifest.write_text(manifest.read_text() + "newt.png,newt,test\n")
        assert command(("synthesize", manifest, "-o", tmp_path / "made", *MEASURED)) == 2
        assert "class 'newt' has" in capsys.readouterr().err
        assert not (tmp_path / "made").exists()


class TestCache:
    def test_images_and_networks_are_seen_used_and_cleared(
        self, done: Finished, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache, trained, run = tmp_path / "cache", [], Training.run
        monkeypatch.setattr(Training, "run", lambda self: trained.append(self.method) or run(self))
        words = ("train", done.data, *MEASURED, "--epochs", 1, "--cache", cache, "--quiet")
        assert command((*words, "-o", tmp_path / "one", "--method", "plain")) == 0
        assert command((*words, "-o", tmp_path / "two", "--method", "plain+tta")) == 0
        assert trained == ["plain"]  # the network of the first run is that of the second
        assert not list(tmp_path.rglob("state"))
        capsys.readouterr()

        assert command(("cache", "--cache", cache)) == 0
        shown = capsys.readouterr().out
        network = sum(path.stat().st_size for path in (cache / "networks").iterdir())
        assert f"and {network / 1e6:,.1f} MB of trained networks in {cache}" in shown
        assert network > 100_000

        assert command(("cache", "--cache", cache, "--clear")) == 0
        assert capsys.readouterr().out.startswith("Removed ")
        assert [path for path in cache.rglob("*") if path.is_file()] == []
        assert command((*words, "-o", tmp_path / "three", "--method", "plain+tta")) == 0
        assert trained == ["plain", "plain"]
        predictions = [contents(tmp_path / name, "predictions/*.csv") for name in ("two", "three")]
        assert predictions[0] == predictions[1]

    def test_no_cache(self, capsys: Printed) -> None:
        assert command(("cache", "--cache", "off")) == 0
        assert capsys.readouterr().out == "Nothing is kept between runs: the cache is off.\n"
