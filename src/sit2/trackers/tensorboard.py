"""TensorBoard: event files in the folder ``tensorboard`` of the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sit2.trackers.tracker import Picture, Tracker


class TensorBoard(Tracker):
    """Event files beside the run. TensorBoard keeps no models: their place is logged as text."""

    package: ClassVar[str] = "tensorboard"

    def begin(self, folder: Path, settings: Mapping[str, Any]) -> str:
        """Open the event file."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))
        rows = "\n".join(f"    {name}: {value}" for name, value in settings.items())
        self._writer.add_text("settings", rows)  # indented: Markdown sets it as it is
        self._writer.flush()
        return f"tensorboard --logdir {folder} shows this run"

    def epoch(self, training: str, values: Mapping[str, float], samples_seen: int) -> None:
        """Log a point of each curve."""
        for name, value in values.items():
            self._writer.add_scalar(f"{training}/{name}", value, samples_seen)
        self._writer.flush()

    def results(self, values: Mapping[str, float]) -> None:
        """Log each figure as a curve of one point."""
        for name, value in values.items():
            self._writer.add_scalar(f"results/{name}", value, 0)

    def pictures(self, title: str, pictures: Sequence[Picture]) -> None:
        """Log each picture under its caption."""
        for number, (caption, pixels) in enumerate(pictures):
            self._writer.add_image(f"{title}/{number:02d} {caption}", pixels, dataformats="HWC")

    def keep(self, paths: Sequence[Path]) -> None:
        """Log where the files lie."""
        self._writer.add_text("files", "\n".join(f"    {path}" for path in paths))

    def end(self, *, complete: bool) -> None:
        """Close the event file."""
        self._writer.add_text("status", "complete" if complete else "not finished")
        self._writer.close()
