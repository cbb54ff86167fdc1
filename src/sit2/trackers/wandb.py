"""Weights & Biases: a run on its server, or in a folder with WANDB_MODE=offline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sit2.trackers.tracker import Picture, Tracker

PROJECT = "sit2"  # where WANDB_PROJECT names none


class WandB(Tracker):
    """A run of its own: one that the caller has open stays open."""

    package: ClassVar[str] = "wandb"

    def begin(self, folder: Path, settings: Mapping[str, Any]) -> str:
        """Create the run."""
        import os

        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            config=dict(settings),
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )
        self._trainings: set[str] = set()
        where = f"kept in {self._run.dir}" if self._run.offline else self._run.url
        return f"Weights & Biases: run {folder.name}, {where}"

    def epoch(self, training: str, values: Mapping[str, float], samples_seen: int) -> None:
        """Log a point of each curve, over the samples that this training has seen."""
        steps = f"{training}/samples_seen"
        if training not in self._trainings:
            self._trainings.add(training)
            for name in values:
                self._run.define_metric(f"{training}/{name}", step_metric=steps)
        named = {f"{training}/{name}": value for name, value in values.items()}
        self._run.log({**named, steps: samples_seen})

    def results(self, values: Mapping[str, float]) -> None:
        """Put the figures into the run's summary."""
        self._run.summary.update({f"results/{name}": value for name, value in values.items()})

    def pictures(self, title: str, pictures: Sequence[Picture]) -> None:
        """Log all pictures with their captions."""
        import wandb

        self._run.log({title: [wandb.Image(pixels, caption=caption) for caption, pixels in pictures]})

    def keep(self, paths: Sequence[Path]) -> None:
        """Keep each file and folder as an artefact."""
        import wandb

        for path in paths:
            name = re.sub(r"[^\w\-.]", "_", f"{self._run.name}-{path.stem}", flags=re.ASCII)
            kept = wandb.Artifact(name, type=path.stem)
            for file in filter(Path.is_file, [path, *sorted(path.rglob("*"))]):
                kept.add_file(str(file), name=file.relative_to(path.parent).as_posix())
            self._run.log_artifact(kept)

    def end(self, *, complete: bool) -> None:
        """Close the run."""
        self._run.finish(exit_code=0 if complete else 1)
