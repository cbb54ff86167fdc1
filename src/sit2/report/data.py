"""A run folder → dataclasses. Every number on the page comes from here, or from arithmetic on it.

N test images, K classes. This module never imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from sit2.data.quality.findings import Finding, Severity
from sit2.errors import RunFolderError
from sit2.evaluation.metrics import METRICS
from sit2.records import BoolArray, ClassPair, Confusion, FloatArray, IntArray
from sit2.report.files import damaged, read_json, read_table, read_yaml, reading


@dataclass(frozen=True)
class Answers:
    """What one method said about the test images."""

    method: str
    ids: tuple[str, ...]  # N
    paths: tuple[str, ...]  # N, relative to the dataset's root
    labels: IntArray  # (N,) int64
    predicted: IntArray  # (N,) int64
    probabilities: FloatArray  # (N, K)
    groups: tuple[str, ...] = ()  # N or none

    @property
    def correct(self) -> BoolArray:
        """(N,) bool."""
        right: BoolArray = self.predicted == self.labels
        return right

    @property
    def matrix(self) -> IntArray:
        """(K, K) int64: images of class i that were taken for class j."""
        classes = self.probabilities.shape[1]
        counts = np.bincount(self.labels * classes + self.predicted, minlength=classes**2)
        return counts.reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True)
class Gap:
    """A difference and its 95 % interval."""

    difference: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Test:
    """One method against its control: an entry of ``comparison.json``."""

    __test__ = False

    method: str
    control: str
    n: int  # test images
    groups: int  # that they come from; 0: none known
    gap: Gap  # in accuracy
    test: str
    p: float
    p_adjusted: float
    comparisons: int
    verdict: str  # better, worse, no evidence
    sentence: str
    only_method_right: int
    only_control_right: int
    gaps: Mapping[str, Gap] = field(default_factory=dict)  # by metric


@dataclass(frozen=True)
class Step:
    """One line of a training's history."""

    phase: str
    samples_seen: int
    loss: float
    validation: float | None  # log-loss on the validation images, where early stopping measured it


@dataclass(frozen=True)
class RunData:
    """Everything that a run folder holds and the page shows."""

    folder: Path
    info: dict[str, Any]  # run.json
    settings: Mapping[str, Any]  # config.yaml
    classes: tuple[str, ...]
    methods: tuple[str, ...]  # the control first
    samples: pd.DataFrame  # samples.csv, all text
    answers: Mapping[str, Answers]
    metrics: Mapping[str, Mapping[str, float | None]]  # method → metric, of the test images
    tests: tuple[Test, ...]
    pairs: tuple[ClassPair, ...]  # ranked
    measured: Confusion | None  # out of fold, on the training images
    history: Mapping[str, tuple[Step, ...]]
    findings: tuple[Finding, ...] | None  # None: the data set was not checked

    @property
    def control(self) -> str:
        """The method that the others are compared with; "" where nothing was trained."""
        return self.methods[0] if self.methods else ""

    @property
    def method(self) -> str:
        """The method that the run was about."""
        asked = str(self.settings.get("method", ""))
        return asked if asked in self.methods else (self.methods[-1] if self.methods else "")

    @property
    def test(self) -> Test | None:
        """The comparison that the run was made for."""
        return next((test for test in self.tests if test.method == self.method), None)

    @property
    def chosen(self) -> tuple[ClassPair, ...]:
        """The pairs that not-sure images were made from."""
        return tuple(pair for pair in self.pairs if pair.chosen)

    def labels_of(self, split: str) -> pd.Series[int]:
        """Return the number of images of every class in a split, indexed by class."""
        counts = self.samples.loc[self.samples["split"] == split, "label"].value_counts()
        return counts.reindex(list(self.classes), fill_value=0)


def load_run(folder: Path) -> RunData:
    """Read the folder of a run.

    Raises:
        RunFolderError: when it is no run folder, or a file in it is damaged.
    """
    with reading(folder):
        return _load_run(folder)


def _load_run(folder: Path) -> RunData:
    info = read_info(folder)
    samples = read_table(folder / "samples.csv", "id", "path", "label", "split")
    if samples is None:
        samples = pd.DataFrame(columns=["id", "path", "label", "group", "split", "problem"], dtype=str)
    classes = tuple(info.get("dataset", {}).get("classes") or _classes(folder, samples))
    methods = tuple(m for m in info.get("methods", []) if (folder / "predictions" / f"{m}.csv").exists())
    test = samples[samples["split"] == "test"]
    groups = dict(zip(test["id"], test.get("group", test["id"]), strict=True))
    metrics = read_json(folder / "metrics.json", {})
    answers = {m: _answers(folder / "predictions" / f"{m}.csv", m, classes, groups) for m in methods}
    if len({one.ids for one in answers.values()}) > 1:
        raise damaged(folder / "predictions", "its files are not of the same images in the same order")
    return RunData(
        folder=folder,
        info=info,
        settings=read_yaml(folder / "config.yaml"),
        classes=classes,
        methods=methods,
        samples=samples,
        answers=answers,
        metrics={
            m: {name: _value(splits["test"][name]) for name in METRICS} for m, splits in metrics.items()
        },
        tests=_tests(read_json(folder / "comparison.json", {})),
        pairs=_pairs(folder / "confusion" / "pairs.csv", classes),
        measured=_measured(folder / "confusion" / "matrix.csv", classes),
        history={m: _history(folder / "history" / f"{m}.json") for m in methods},
        findings=_findings(folder / "check.json"),
    )


def _classes(folder: Path, samples: pd.DataFrame) -> list[str]:
    """Return the classes of a run that does not name them: of its matrix, or of its images."""
    table = read_table(folder / "confusion" / "matrix.csv")
    return sorted(set(samples["label"])) if table is None else list(table.iloc[:, 0])


def read_info(folder: Path) -> dict[str, Any]:
    """Return run.json. Raises :class:`RunFolderError` when there is none."""
    info = read_json(folder / "run.json", {})
    if not info:
        raise RunFolderError(
            f"{folder} is not a folder that sit2 made: it has no run.json\n"
            "name the folder that `sit2 train -o` or `sit2 compare -o` wrote"
        )
    if not isinstance(info.get("seconds", {}), dict) or not isinstance(info.get("dataset", {}), dict):
        raise damaged(folder / "run.json", "its times or its data set are missing")
    return dict(info)


def _answers(path: Path, method: str, classes: tuple[str, ...], groups: Mapping[str, str]) -> Answers:
    """Read the predictions of the test images, which are the keys of ``groups``."""
    columns = [f"p_{name}" for name in classes]
    table = read_table(path, "id", "path", "label", "predicted", *columns)
    assert table is not None  # its method would not be in the list
    table = table[table["id"].isin(list(groups))]
    place = {name: k for k, name in enumerate(classes)}
    try:
        return Answers(
            method,
            tuple(table["id"]),
            tuple(table["path"]),
            np.array([place[name] for name in table["label"]], dtype=np.int64),
            np.array([place[name] for name in table["predicted"]], dtype=np.int64),
            table[columns].to_numpy(dtype=np.float64),
            tuple(groups[name] for name in table["id"]) if any(groups.values()) else (),
        )
    except (KeyError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged: {error}\nrun again with --overwrite") from None


def _tests(entries: Mapping[str, Any]) -> tuple[Test, ...]:
    return tuple(
        Test(
            method=method,
            control=str(entry.get("control", "")),
            n=int(entry.get("n", 0)),
            groups=int(entry.get("groups", 0)),
            gap=gap_of(entry),
            test=str(entry.get("test", "")),
            p=float(entry.get("p", 1.0)),
            p_adjusted=float(entry.get("p_adjusted", 1.0)),
            comparisons=int(entry.get("comparisons", 1)),
            verdict=str(entry.get("verdict", "no evidence")),
            sentence=str(entry.get("sentence", "")),
            only_method_right=int(entry.get("only_method_right", 0)),
            only_control_right=int(entry.get("only_control_right", 0)),
            gaps={name: gap_of(gap) for name, gap in entry.get("differences", {}).items()},
        )
        for method, entry in entries.items()
    )


def gap_of(entry: Mapping[str, Any]) -> Gap:
    """Return a difference with its interval; what is absent or null becomes NaN."""
    lower, upper = entry.get("interval") or (None, None)
    values = (entry.get("difference"), lower, upper)
    return Gap(*(float("nan") if value is None else float(value) for value in values))


def _pairs(path: Path, classes: tuple[str, ...]) -> tuple[ClassPair, ...]:
    table = read_table(path, "class_a", "class_b", "score", "lower", "upper", "confused", "samples", "chosen")
    if table is None:
        return ()
    place = {name: k for k, name in enumerate(classes)}
    return tuple(
        ClassPair(
            a=place[row["class_a"]],
            b=place[row["class_b"]],
            class_a=row["class_a"],
            class_b=row["class_b"],
            score=_number(row["score"]),
            lower=_number(row["lower"]),
            upper=_number(row["upper"]),
            confused=_number(row["confused"]),
            samples=int(_number(row["samples"])),
            chosen=row["chosen"] == "True",
        )
        for row in table.to_dict("records")
        if row["class_a"] in place and row["class_b"] in place
    )


def _value(number: Any) -> float | None:
    return None if number is None else float(number)


def _number(text: str) -> float:
    """Return a cell's number, NaN where it is empty."""
    return float(text) if text else float("nan")


def _measured(path: Path, classes: tuple[str, ...]) -> Confusion | None:
    table = read_table(path)
    if table is None or table.shape[1] != len(classes) + 2 or list(table.iloc[:, 0]) != list(classes):
        return None
    cells = (
        table.iloc[:, 1:].replace("", "0").to_numpy(dtype=np.float64)
    )  # by place: a class may be "samples"
    return Confusion(classes, cells[:, :-1], cells[:, -1].astype(np.int64))


def _history(path: Path) -> tuple[Step, ...]:
    rows = read_json(path, {}).get("progress", [])
    return tuple(
        Step(row["phase"], int(row["samples_seen"]), float(row["loss"]), row.get("validation"))
        for row in rows
        if row.get("loss") is not None and math.isfinite(row["loss"])
    )


def _findings(path: Path) -> tuple[Finding, ...] | None:
    content = read_json(path)
    if content is None:
        return None
    entries = content.get("findings", []) if isinstance(content, dict) else content
    return tuple(
        Finding(
            str(e.get("kind", "")),
            next((known for known in get_args(Severity) if known == e.get("severity")), "note"),
            str(e.get("text", "")),
            str(e.get("hint", "")),
        )
        for e in entries
        if isinstance(e, dict)
    )
