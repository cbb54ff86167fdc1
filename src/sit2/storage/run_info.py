"""``run.json``: what a folder holds, how far it is, and its reader. :mod:`sit2.storage.run_folder` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sit2.errors import RunFolderError, shown
from sit2.storage.reading import read_object, reading

FORMAT_VERSION = 2  # 2: recipes and predictors; 1 was never released
BEGINNING, RUNNING, FAILED, COMPLETE = "beginning", "running", "failed", "complete"  # statuses
# BEGINNING lasts until the results of an earlier run are removed.


@dataclass(frozen=True)
class DatasetInfo:
    """The data set of a run; nothing is known of it before its images are read."""

    name: str = ""
    fingerprint: str = ""  # of images, labels and splits
    classes: tuple[str, ...] = ()
    images: int = 0  # readable ones


@dataclass(frozen=True)
class MeasuredBy:
    """What measured the confusion of a run, and how good it is on the images that it was measured on."""

    by: str  # in words
    correct: int
    images: int
    lower: float  # 95 % interval of the accuracy
    upper: float

    def to_json(self) -> dict[str, Any]:
        """Return the entry ``confusion`` of run.json."""
        numbers = {"correct": self.correct, "images": self.images, "interval": [self.lower, self.upper]}
        return {"by": self.by, **numbers}


@dataclass(frozen=True)
class RunInfo:
    """What run.json says; what a stage adds is empty before it is done."""

    status: str
    data: str | tuple[str, ...] = ""  # where the images are; several sets for a comparison
    methods: tuple[str, ...] = ()  # recipes that are trained
    command: str = ""
    error: str = ""  # why it failed
    root: str = ""  # that the paths of samples.csv are relative to
    dataset: DatasetInfo = field(default_factory=DatasetInfo)
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage
    samples_seen: Mapping[str, int] = field(default_factory=dict)  # by recipe
    training_seconds: Mapping[str, float] = field(default_factory=dict)  # by recipe
    confusion: MeasuredBy | None = None

    @property
    def is_comparison(self) -> bool:
        """Whether ``sit2 compare`` wrote the folder: a run has one data set."""
        return not isinstance(self.data, str)

    @property
    def complete(self) -> bool:
        """Whether all of it was done."""
        return self.status == COMPLETE


def read_info(folder: Path) -> RunInfo:
    """Read the run.json of a folder.

    Raises:
        RunFolderError: there is none, it is damaged, or another version of sit2 wrote it.
    """
    path = folder / "run.json"
    content = read_object(path)
    if content is None:
        raise RunFolderError(
            f"{folder} is not a folder that sit2 made: it has no run.json\n"
            "give the folder that `sit2 train -o` or `sit2 compare -o` wrote"
        )
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise RunFolderError(
            f"{folder} has format version {shown(version)}, and this sit2 reads version {FORMAT_VERSION} only: "
            "run it again"
        )
    with reading(path):
        return _parsed(content)


def _parsed(content: Mapping[str, Any]) -> RunInfo:
    data, dataset = content.get("data", ""), content.get("dataset", {})
    return RunInfo(
        status=_text(content["status"]),
        data=_texts(data) if isinstance(data, list) else _text(data),
        methods=_texts(content.get("methods", [])),
        command=_text(content.get("command", "")),
        error=_text(content.get("error", "")),
        root=_text(content.get("root", "")),
        dataset=DatasetInfo(
            _text(dataset.get("name", "")),
            _text(dataset.get("fingerprint", "")),
            _texts(dataset.get("classes", [])),
            int(dataset.get("images", 0)),
        ),
        versions={name: str(value) for name, value in content.get("versions", {}).items()},
        machine={name: str(value) for name, value in content.get("machine", {}).items()},
        seconds={name: float(value) for name, value in content["seconds"].items()},
        samples_seen={name: int(value) for name, value in content.get("samples_seen", {}).items()},
        training_seconds={k: float(value) for k, value in content.get("training_seconds", {}).items()},
        confusion=None if (one := content.get("confusion")) is None else _measured_by(one),
    )


def _measured_by(content: Mapping[str, Any]) -> MeasuredBy:
    low, high = content["interval"]
    return MeasuredBy(
        _text(content["by"]), int(content["correct"]), int(content["images"]), float(low), float(high)
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} is not a text")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{shown(values)} is not a list of texts")
    return tuple(_text(value) for value in values)
