"""Bad settings and models end in one to three lines that name the thing and the hint, and cost nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import MEASURED, Finished, command, listing

Printed = pytest.CaptureFixture[str]
Error = Callable[..., str]


class TestWords:
    """Unknown words, and values that a setting cannot take."""

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("trian", "DATA"), "unknown verb 'trian'\ndid you mean 'train'?"),
            (
                ("zzz",),
                (
                    "unknown verb 'zzz'\n"
                    "choose from demo, check, train, compare, confusion, synthesize, predict, evaluate, "
                    "suggest, report, export, serve, cache"
                ),
            ),
            (
                ("train",),
                "the following arguments are required: DATA\n`sit2 train --help` lists what there is",
            ),
            (
                ("predict", "DATA"),
                "the following arguments are required: --model\n`sit2 predict --help` lists what there is",
            ),
            (
                ("train", "DATA", "--epoch", "3"),
                "unknown option '--epoch' of `sit2 train`\ndid you mean '--epochs'?",
            ),
            (
                ("train", "DATA", "--zzz=3"),
                "unknown option '--zzz' of `sit2 train`\n`sit2 train --help` lists what there is",
            ),
            (
                ("predict", "DATA", "--model", "RUN", "--overwite"),
                "unknown option '--overwite' of `sit2 predict`\ndid you mean '--overwrite' or '--coverage'?",
            ),
            (
                ("train", "DATA", "--method", "multilabel"),
                "unknown method 'multilabel'\ndid you mean 'multi-label' or 'soft-label'?",
            ),
            (
                ("train", "DATA", "--control", "plane"),
                "unknown method 'plane'\ndid you mean 'plain'?",
            ),
            (
                ("train", "DATA", "--method", "mixup@random"),
                (
                    "'mixup@random' uses no pairs\n"
                    "'@random' and '@all' follow not-sure, sure-or-not, multi-label, soft-label, "
                    "confusion-smoothing, confusion-margin, confusion-batches, not-sure-fading, …+pairwise, "
                    "…+experts"
                ),
            ),
            (
                ("train", "DATA", "--method", "second-look"),
                "'second-look' is no method any more\nwrite 'plain+tta+ensemble+pairwise'",
            ),
            (
                ("train", "DATA", "--method", "second-look@all"),
                "'second-look@all' is no method any more\nwrite 'plain+tta+ensemble'",
            ),
            (
                ("train", "DATA", "--method", "plain+ttta"),
                "unknown predictor 'ttta' in 'plain+ttta'\ndid you mean 'tta'?",
            ),
            (
                ("train", "DATA", "--method", "plain+tta+tta"),
                "'plain+tta+tta' names a predictor twice\nexpected each once",
            ),
            (
                ("train", "DATA", "--method", "plain*1"),
                "'plain*1' has '1' members\nexpected a number from 2 to 16 after '*'",
            ),
            (
                ("confusion", "DATA", "--method", "plain"),
                "unknown option '--method' of `sit2 confusion`\n`sit2 confusion --help` lists what there is",
            ),
            (
                ("train", "DATA", "--method", "not-sure@some"),
                "unknown pairs '@some' in 'not-sure@some'\nexpected '@random' or '@all'",
            ),
            (
                ("train", "DATA", "--operators", "blend,halfs"),
                "operators cannot be 'halfs'\ndid you mean 'halves'?",
            ),
            (("train", "DATA", "--epochs", "many"), "epochs is 'many'\nexpected a number"),
            (("train", "DATA", "--epochs", "-1"), "epochs is '-1'\nexpected a number at least 0.01"),
            (
                ("train", "DATA", "--image-size", "4"),
                "image_size is '4'\nexpected a whole number from 8 to 1024",
            ),
            (("train", "DATA", "--folds", "2.5"), "folds is '2.5'\nexpected a whole number"),
            (
                ("train", "DATA", "--val-fraction", "0.5", "--test-fraction", "0.5"),
                (
                    "val_fraction 0.5 and test_fraction 0.5 leave less than a tenth of the images for "
                    "training\nexpected a sum of at most 0.9; lower one of them"
                ),
            ),
            (
                ("synthesize", "DATA", "-o", "run", "--count", "0"),
                "--count is 0\nexpected at least 1",
            ),
        ],
        ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
    )
    def test_on_the_command_line(
        self, error: Error, done: Finished, words: tuple[str, ...], message: str
    ) -> None:
        places = {"DATA": done.data, "RUN": done.run}
        assert error(*(places.get(word, word) for word in words)) == message
        assert listing(Path()) == []

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("epoch: 3", "unknown setting 'epoch'\ndid you mean 'epochs'?"),
            (
                "method: multilabel",
                "unknown method 'multilabel'\ndid you mean 'multi-label' or 'soft-label'?",
            ),
            ("epochs: [1]", "epochs is [1]\nexpected a number"),
            ("pretrained: maybe", "pretrained is 'maybe'\nexpected true or false"),
            ("seed: true", "seed is True\nexpected a whole number"),
            ("- epochs", "c.yaml is not a list of settings\nexpected lines such as 'epochs: 60'"),
        ],
    )
    def test_in_the_yaml(self, error: Error, done: Finished, text: str, message: str) -> None:
        Path("c.yaml").write_text(text)
        assert error("train", done.data, "-o", "run", "--config", "c.yaml") == message
        assert listing(Path()) == ["c.yaml"]

    def test_no_yaml(self, error: Error, done: Finished) -> None:
        assert error("train", done.data, "--config", "c.yaml") == (
            "no such settings file: c.yaml\n--config expects a YAML file"
        )
        Path("c.yaml").write_text("a: [1")
        assert error("train", done.data, "--config", "c.yaml").startswith(
            "cannot read the settings file c.yaml: "
        )

    def test_a_flag_wins_over_the_yaml(self, error: Error, done: Finished) -> None:
        Path("c.yaml").write_text("epochs: 7\nseed: -1\n")
        assert error("train", done.data, "--config", "c.yaml", "--seed", "-2") == (
            "seed is '-2'\nexpected a whole number at least 0"
        )


class TestModel:
    HINT = "expected a run folder that `sit2 train` finished, or its model folder"

    def test_a_folder_without_a_model(self, error: Error, done: Finished) -> None:
        message = error("predict", done.data, "--model", done.data)
        assert message == f"there is no model.json in {done.data}\n{self.HINT}"

    def test_no_such_model(self, error: Error, done: Finished) -> None:
        assert error("evaluate", done.data, "--model", "nowhere") == f"no such folder: nowhere\n{self.HINT}"

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("model.json", "{", "cannot read copy/model.json: "),
            (
                "model.json",
                '{"format_version": 9}',
                "copy/model.json has format version 9, and this sit2 reads",
            ),
            (
                "model.json",
                '{"format_version": 2}',
                "copy/model.json has format version 2, and this sit2 reads",
            ),
            ("model.json", '{"format_version": 3}', "copy/model.json is damaged: "),
            ("model.safetensors", "x", "the weights in copy cannot be loaded: "),
        ],
    )
    def test_a_damaged_model(
        self, error: Error, done: Finished, file: str, content: str, message: str
    ) -> None:
        shutil.copytree(done.run / "model", "copy")
        Path("copy", file).write_text(content)
        assert error("predict", done.data, "--model", "copy").startswith(message)

    def test_nothing_to_predict(self, error: Error, done: Finished) -> None:
        Path("empty").mkdir()
        assert error("predict", "empty", "--model", done.run) == (
            "no images in empty\nexpected image files, or a folder that holds some"
        )
        assert error("predict", "nowhere.png", "--model", done.run).startswith(
            "no such file or folder: nowhere.png\n"
        )


class TestPairsFile:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("class_a,class_b\ndisc,ovel\n", "pairs.csv, line 2: unknown class 'ovel'\ndid you mean 'oval'?"),
            (
                "a,b\ndisc,oval\n",
                "pairs.csv has no column 'class_a'\nexpected class_a,class_b[,score,…,chosen]",
            ),
            (
                "class_a,class_b\ndisc,disc\n",
                "pairs.csv, line 2: 'disc' is paired with itself\nexpected two classes",
            ),
        ],
    )
    def test_it_is_refused(self, error: Error, done: Finished, text: str, message: str) -> None:
        Path("pairs.csv").write_text(text)
        assert error("synthesize", done.data, "-o", "out", "--pairs", "pairs.csv", *MEASURED) == message
        assert listing(Path()) == ["pairs.csv"]


def test_debug_shows_where_it_came_from(done: Finished, capsys: Printed) -> None:
    assert command(("train", done.data, "--method", "plane", "--debug")) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback (most recent call last):\n")
    assert "sit2.errors.ConfigError: unknown method 'plane'" in printed
    assert printed.endswith("\nsit2: unknown method 'plane'\ndid you mean 'plain'?\n")


def test_what_is_not_the_users_fault_keeps_its_traceback(
    done: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sit2.experiments.run.run_experiment", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command(("train", done.data, "-o", "run"))
