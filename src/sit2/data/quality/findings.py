"""What a check-up finds: its records, how they are written as JSON, and the reader of ``check.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from sit2.records import Dataset
from sit2.storage.reading import read_object, reading

Severity = Literal["wrong", "warning", "note"]

JSON_VERSION = 1


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    "wrong" is what would make results wrong, such as one photo in both training and test; a "warning" makes
    them weaker or less certain; a "note" is only worth knowing.
    """

    kind: str  # "unreadable", "duplicates", "label conflict", "leak", "group leak", "imbalance", …
    severity: Severity
    text: str  # a sentence or two
    hint: str
    files: tuple[str, ...] = ()  # ids of the images it is about
    details: tuple[Mapping[str, Any], ...] = ()  # one for each set, pair or image, for the JSON

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Finding:
        """Return the finding that ``asdict`` made plain. Raises KeyError, TypeError or ValueError."""
        if content["severity"] not in get_args(Severity):
            raise ValueError(f"{content['severity']!r} is no severity")
        texts = {name: str(content[name]) for name in ("kind", "text", "hint")}
        details = tuple(dict(one) for one in content["details"])
        return cls(**texts, severity=content["severity"], files=tuple(content["files"]), details=details)


@dataclass(frozen=True)
class ClassRow:
    """One line of the table of classes. The splits are zero where the source gives none."""

    name: str
    images: int
    train: int
    val: int
    test: int
    unreadable: int


@dataclass(frozen=True)
class FileRow:
    """One kind of image file, how many there are, and their sizes as (width, height)."""

    kind: str  # "JPEG"; "array" for pixels that came without a file
    channels: str  # "gray", "colour", each perhaps "with alpha"
    bits: int  # a channel
    images: int
    smallest: tuple[int, int]  # by area
    median: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True)
class Checkup:
    """Everything that was found in a dataset, the worst first."""

    name: str
    classes: tuple[ClassRow, ...]
    files: tuple[FileRow, ...]
    groups: int  # how many; 0 where there are none
    findings: tuple[Finding, ...]
    dataset: Dataset  # that was looked at

    @property
    def imbalance(self) -> float:
        """How many times larger the largest class is than the smallest."""
        counts = [row.images for row in self.classes]
        return max(counts) / min(counts)

    @property
    def exit_code(self) -> int:
        """1 if something would make results wrong, else 0."""
        return int(any(finding.severity == "wrong" for finding in self.findings))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can write it."""
        return {
            "format_version": JSON_VERSION,
            "name": self.name,
            "images": sum(row.images for row in self.classes),
            "groups": self.groups,
            "imbalance": round(self.imbalance, 3),
            "exit_code": self.exit_code,
            "classes": [asdict(row) for row in self.classes],
            "files": [asdict(row) for row in self.files],
            "findings": [asdict(finding) for finding in self.findings],
        }


_OF_CLASSES = ("class without images", "lone group", "small class", "imbalance")


def class_warnings(findings: Sequence[Finding]) -> list[str]:
    """Return what a training should say before it begins of classes that are small, or very unlike in size."""
    return [
        f"{finding.text} {finding.hint[:1].upper()}{finding.hint[1:]}."
        for finding in findings
        if finding.kind in _OF_CLASSES and finding.severity != "note"
    ]


def findings_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the content of a run's ``check.json``."""
    return {"findings": [asdict(finding) for finding in findings]}


def read_findings(path: Path) -> tuple[Finding, ...] | None:
    """Read a run's ``check.json``; None where there is no such file: nothing was checked.

    Raises:
        RunFolderError: when it is damaged.
    """
    content = read_object(path)
    if content is None:
        return None
    with reading(path):
        return tuple(Finding.from_json(one) for one in content["findings"])
