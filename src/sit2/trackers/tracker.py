"""What a tracker is: somebody else's notebook of trainings, which is written to while one runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from sit2.records import ByteArray

Picture = tuple[str, "ByteArray"]  # what it shows; (H, W, 3) uint8


class Tracker(ABC):
    """One run in one tracker. Every call may raise whatever its package raises."""

    package: ClassVar[str]  # that it needs

    @abstractmethod
    def begin(self, folder: Path, settings: Mapping[str, Any]) -> str:
        """Begin a run.

        Args:
            folder: of the run, which exists.
            settings: every one, as config.yaml has them.

        Returns:
            A sentence that says where it is logged.
        """

    @abstractmethod
    def epoch(self, training: str, values: Mapping[str, float], samples_seen: int) -> None:
        """Log what an epoch of a training measured, at so many samples seen."""

    @abstractmethod
    def results(self, values: Mapping[str, float]) -> None:
        """Log the figures that a run ends with."""

    @abstractmethod
    def pictures(self, title: str, pictures: Sequence[Picture]) -> None:
        """Log some pictures under one title."""

    @abstractmethod
    def keep(self, paths: Sequence[Path]) -> None:
        """Keep files and folders of the run folder as artefacts; the model is the folder ``model``."""

    @abstractmethod
    def end(self, *, complete: bool) -> None:
        """Close the run: it was finished, or it failed or was interrupted."""
