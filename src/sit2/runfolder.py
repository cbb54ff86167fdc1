"""What is on disk after a run, and its format version.

run.json  config.yaml  samples.csv  confusion/  synthesis/  model/  predictions/  metrics.json
comparison.json  history/ (loss by image passes)  batches/ (what the network saw)  thumbnails.npz (where the
images came as arrays)  report.html  figures/  tables/  state/ (of an unfinished run only)
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sit2.errors import RunFolderError
from sit2.files import atomic

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 1  # 1: the first

OURS = (
    "run.json",
    "config.yaml",
    "samples.csv",
    "metrics.json",
    "comparison.json",
    "report.html",
    "sources.csv",
    "predictions.csv",
    "results.csv",
    "summary.csv",
    "ranks.json",
    "pairs",
    "figures",
    "tables",
    "batches",
    "thumbnails.npz",
    "confusion",
    "synthesis",
    "model",
    "predictions",
    "history",
    "state",
)
_NO_MATTER = ("cache", "device", "workers")  # settings that may differ between a run and its resumption


@dataclass
class RunFolder:
    """An output folder being written. Every file in it is either whole or absent."""

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    resumed: bool = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        settings: Mapping[str, Any],
        identity: Mapping[str, Any],
        command: str,
        resume: bool | None = None,
        overwrite: bool = False,
    ) -> RunFolder:
        """Look whether a run can begin in ``path``, or an unfinished one go on; :meth:`begin` then writes.

        ``settings`` become config.yaml, which ``--config`` reads; ``identity`` is what else makes the run
        what it is (the data, the methods), and stands in run.json. ``resume`` is None where it is
        not on offer.

        Raises:
            RunFolderError: when the folder holds something and neither flag is given, when it is not ours, or
                when the unfinished run had other settings.
        """
        run = cls(path, dict(settings))
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path} is a file\nexpected a folder; give another -o")
        present = [p.name for p in path.iterdir()] if path.exists() else []
        if present and not (resume or overwrite):
            finish = "--resume to finish the run in it, " if resume is not None else ""
            raise RunFolderError(
                f"the output folder {path} is not empty\n"
                f"use {finish}--overwrite to replace what a run wrote, or another -o"
            )
        if present and not (path / "run.json").exists():
            raise RunFolderError(f"{path} is not a folder that sit2 made\ngive another -o")
        if present and resume:
            run.info, run.resumed = run.read_json("run.json"), True
            run._check_same(settings, identity)
            return run
        run.info = {
            "format_version": FORMAT_VERSION,
            "status": "running",
            "command": command,
            **identity,
            "versions": versions(),
            "machine": {"system": platform.platform(terse=True), "processor": platform.machine()},
            "seconds": {},
        }
        return run

    def begin(self) -> None:
        """Write run.json and config.yaml, in place of what an earlier run wrote.

        To be called when the input is known to be good: until then nothing is written, and nothing lost.
        """
        if self.resumed:
            self.info.pop("error", None)
            self.save_info(status="running")
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"cannot make the output folder {self.path}: {error.strerror}") from None
        for target in (self.path / name for name in OURS):
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        self.write_yaml("config.yaml", self.settings)
        self.save_info()

    @property
    def complete(self) -> bool:
        """Whether the run was finished before."""
        return self.info.get("status") == "complete"

    @property
    def state(self) -> Path:
        """The folder of what an unfinished run needs to go on."""
        return self.path / "state"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Mark the run as failed when an error ends it; an interruption leaves it to be resumed."""
        try:
            yield
        except Exception as error:
            self.save_info(status="failed", error=str(error))
            raise

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage into run.json."""
        began = time.monotonic()
        yield
        self.info["seconds"][name] = round(time.monotonic() - began, 2)
        self.save_info()

    def save_info(self, **more: Any) -> None:
        """Write run.json, with ``more`` in it."""
        self.info.update(more)
        self.write_json("run.json", self.info)

    def finish(self) -> None:
        """Mark the run as complete and remove what only an unfinished one needs."""
        self.save_info(status="complete")
        shutil.rmtree(self.state, ignore_errors=True)

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON; NaN and infinity, which JSON lacks, become null."""
        with atomic(self.path / name) as path:
            text = json.dumps(_finite(content), indent=2, ensure_ascii=False)
            path.write_text(text + "\n", encoding="utf-8")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read JSON that this run wrote. Raises :class:`RunFolderError` when it is missing or damaged."""
        return read_json(self.path / name)

    def write_yaml(self, name: str, content: Mapping[str, Any]) -> None:
        """Write settings."""
        with atomic(self.path / name) as path:
            path.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True), "utf-8")

    def write_table(self, name: str, table: pd.DataFrame, *, digits: int = 6) -> None:
        """Write CSV with so many digits after the point."""
        with atomic(self.path / name) as path:
            table.to_csv(path, index=False, float_format=f"%.{digits}f", lineterminator="\n")

    def _check_same(self, settings: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        try:
            # Settings win: run.json, too, has a word "passes".
            before = self.info | yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, TypeError, UnicodeDecodeError, yaml.YAMLError):
            raise RunFolderError(
                f"cannot read {self.path / 'config.yaml'}\nuse --overwrite to begin again"
            ) from None
        now = {**settings, **identity}
        differ = [k for k, v in now.items() if before.get(k) != v and k not in _NO_MATTER]
        if differ:
            raise RunFolderError(
                f"the run in {self.path} had other settings: "
                + ", ".join(f"{k} was {before.get(k)}, is {now[k]}" for k in differ[:3])
                + "\nuse the same settings to resume, --overwrite to begin again, or another -o"
            )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises :class:`RunFolderError` when it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"cannot read {path}: {error}\nrestore it, or run again with --overwrite"
        ) from None
    if not isinstance(content, dict):
        raise RunFolderError(
            f"{path} is damaged: not a JSON object\nrestore it, or run again with --overwrite"
        )
    return content


def unfinished(path: Path) -> bool:
    """Say whether a folder holds a run that was begun, and neither finished nor failed."""
    try:
        return read_json(path / "run.json").get("status") == "running"
    except RunFolderError:
        return False


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("sit2", "torch", "timm", "lightning-fabric", "scikit-learn", "numpy", "pillow")
    return {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in names}


def free_folder(base: Path) -> Path:
    """Return ``base``, or ``base-2``, ``base-3`` …: the first that holds nothing yet."""
    path, number = base, 1
    while path.exists() and any(path.iterdir()):
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
