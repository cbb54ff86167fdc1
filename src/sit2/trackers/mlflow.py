"""MLflow: a run on the server, or in the store, that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sit2.trackers.tracker import Picture, Tracker

EXPERIMENT = "sit2"  # where MLFLOW_EXPERIMENT_NAME names none
LONGEST = 6000  # characters of a parameter's value


class MLflow(Tracker):
    """A run of MLflow, through its client: what it knows of active runs stays as it is."""

    package: ClassVar[str] = "mlflow"

    def begin(self, folder: Path, settings: Mapping[str, Any]) -> str:
        """Create the run, and its experiment where there is none of the name."""
        import os

        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        params = [Param(name, str(value)[:LONGEST]) for name, value in settings.items()]
        for start in range(0, len(params), 100):  # as many as a server takes at once
            self._client.log_batch(self._run, params=params[start : start + 100])
        return f"MLflow: run {folder.name} of experiment {name} at {self._client.tracking_uri}"

    def epoch(self, training: str, values: Mapping[str, float], samples_seen: int) -> None:
        """Log a point of each curve."""
        for name, value in values.items():
            self._client.log_metric(self._run, _name(f"{training}/{name}"), value, step=samples_seen)

    def results(self, values: Mapping[str, float]) -> None:
        """Log each figure as a metric."""
        for name, value in values.items():
            self._client.log_metric(self._run, _name(f"results/{name}"), value)

    def pictures(self, title: str, pictures: Sequence[Picture]) -> None:
        """Keep each picture as a PNG file, and what they show beside them."""
        folder = _name(title)
        for number, (_, pixels) in enumerate(pictures):
            self._client.log_image(self._run, pixels, artifact_file=f"{folder}/{number:02d}.png")
        lines = "".join(f"{number:02d}.png: {caption}\n" for number, (caption, _) in enumerate(pictures))
        self._client.log_text(self._run, lines, f"{folder}/captions.txt")

    def keep(self, paths: Sequence[Path]) -> None:
        """Copy files and folders to the artefact store."""
        for path in paths:
            self._client.log_artifact(self._run, str(path))

    def end(self, *, complete: bool) -> None:
        """Mark the run."""
        self._client.set_terminated(self._run, "FINISHED" if complete else "FAILED")


def _name(text: str) -> str:
    """Return a name of signs that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", text, flags=re.ASCII)
