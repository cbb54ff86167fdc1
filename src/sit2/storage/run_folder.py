"""What is on disk after a run, and its format version.

run.json  config.yaml  samples.csv  check.json (what is wrong with the images)  confusion/  synthesis/
model/  predictions/ (named by recipes, see file_name)  metrics.json  sets.json  comparison.json  history.csv (a
row an epoch)  batches/ (what the network saw)  thumbnails.npz (where the images came as arrays)  report.html
figures/  tables/  tensorboard/ (with `--log tensorboard`)  state/ (of an unfinished run only)
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from sit2.errors import RunFolderError, shown
from sit2.storage.escaping import neutral_table
from sit2.storage.files import atomic, sweep
from sit2.storage.lock import Lock
from sit2.storage.output_folder import names_in, refuse_taken
from sit2.storage.run_info import BEGINNING, COMPLETE, FAILED, FORMAT_VERSION, RUNNING, read_info
from sit2.storage.untrusted import read_json as read_any_json
from sit2.storage.untrusted import read_yaml, to_json

if TYPE_CHECKING:
    import pandas as pd

OURS = (
    "run.json",
    "config.yaml",
    "samples.csv",
    "check.json",
    "metrics.json",
    "sets.json",
    "comparison.json",
    "report.html",
    "sources.csv",
    "predictions.csv",
    "results.csv",
    "summary.csv",
    "ranks.json",
    "best",
    "pairs",
    "pairs.csv",
    "matrix.csv",
    "figures",
    "tables",
    "batches",
    "thumbnails.npz",
    "confusion",
    "synthesis",
    "model",
    "predictions",
    "history.csv",
    "tensorboard",
    "state",
)
# Settings that may differ between a run and its resumption.
_NO_MATTER = ("cache", "device", "executor", "log", "workers")


@dataclass
class RunFolder:
    """An output folder being written, by one process at a time. Every file in it is either whole or absent.

    A context: whatever ends it, another process may write to the folder afterwards.
    """

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    resumed: bool = False
    overwrite: bool = False
    begun: bool = False  # something was written
    lock: Lock | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let another process write to the folder."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

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
            RunFolderError: when the folder holds something and neither flag is given, when it is not ours,
                when another process writes to it, or when the unfinished run had other settings.
        """
        run = cls(path, dict(settings), overwrite=overwrite)
        if present := refuse_taken(path, overwrite=overwrite, resume=resume):
            run.lock = Lock(path) if "run.json" in present else None
            try:
                if resume:
                    run._take_up(settings, identity)
            except BaseException:
                run.release()
                raise
        if not run.resumed:
            run.info = {
                "format_version": FORMAT_VERSION,
                "status": RUNNING,
                "command": command,
                **identity,
                "versions": versions(),
                "machine": {"system": platform.platform(terse=True), "processor": platform.machine()},
                "seconds": {},
            }
        return run

    def _take_up(self, settings: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        """Take up the unfinished run that is to be resumed."""
        self.info = self.read_json("run.json")
        if self.info.get("status") == BEGINNING:
            return  # killed before it had done anything, so there is nothing to go on with
        read_info(self.path)  # refuses what is damaged, or another version's
        self.resumed = True
        self._check_same(settings, identity)

    def begin(self) -> None:
        """Write run.json and config.yaml, in place of what an earlier run wrote.

        To be called when the input is known to be good: until then nothing is written, and nothing lost.
        A kill at any moment leaves a folder that can be resumed, or begun again.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"cannot make the output folder {self.path}: {error.strerror}") from None
        if self.lock is None:
            self.lock = Lock(self.path)
            if names_in(self.path):
                raise RunFolderError(f"another process has just written to {self.path}\ngive another -o")
        self.begun = True
        sweep(self.path)
        if self.resumed:
            self.info.pop("error", None)
            self.save_info(status=RUNNING)
            return
        self.save_info(status=BEGINNING)
        for target in (self.path / name for name in OURS if name != "run.json"):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        self.write_yaml("config.yaml", self.settings)
        self.save_info(status=RUNNING)

    @property
    def complete(self) -> bool:
        """Whether the run was finished before."""
        return self.info.get("status") == COMPLETE

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
            if not self.begun:  # nothing was written, and what is there is an earlier run's
                raise
            with contextlib.suppress(RunFolderError):  # on a full disk it stays unfinished, which is as good
                self.save_info(status=FAILED, error=str(error))
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

    def finish(self, **more: Any) -> None:
        """Mark the run as complete, with ``more`` in run.json; remove what only an unfinished one needs."""
        self.save_info(status=COMPLETE, **more)
        shutil.rmtree(self.state, ignore_errors=True)
        self.release()

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON; NaN and infinity, which JSON lacks, become null."""
        with atomic(self.path / name) as path:
            path.write_text(to_json(_finite(content)) + "\n", encoding="utf-8")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read JSON that this run wrote. Raises :class:`RunFolderError` when it is missing or damaged."""
        return read_json(self.path / name)

    def write_yaml(self, name: str, content: Mapping[str, Any]) -> None:
        """Write settings."""
        with atomic(self.path / name) as path:
            path.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True), "utf-8")

    def write_table(self, name: str, table: pd.DataFrame, *, digits: int = 6) -> None:
        """Write CSV with this many digits after the point; texts are :func:`~sit2.storage.escaping.neutral`."""
        with atomic(self.path / name) as path:
            neutral_table(table).to_csv(path, index=False, float_format=f"%.{digits}f", lineterminator="\n")

    def _check_same(self, settings: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        try:
            # The settings last: an entry of run.json may have a setting's name, as "samples_seen" has.
            before = {**self.info, **read_yaml(self.path / "config.yaml")}
        except (OSError, TypeError, ValueError):
            raise RunFolderError(
                f"cannot read {self.path / 'config.yaml'}\nuse --overwrite to begin again"
            ) from None
        now = {**settings, **identity}
        differ = [k for k, v in now.items() if before.get(k) != v and k not in _NO_MATTER]
        if differ:
            raise RunFolderError(
                f"the run in {self.path} had other settings: "
                + ", ".join(f"{k} was {_word(before.get(k))}, is {_word(now[k])}" for k in differ[:3])
                + "\nuse the same settings to resume, --overwrite to begin again, or another -o"
            )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises :class:`RunFolderError` when it is missing or damaged."""
    try:
        return read_any_json(path)
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"cannot read {path}: {error}\nrestore it, or run again with --overwrite"
        ) from None


def file_name(recipe: str) -> str:
    """Return a recipe as the name of a file or folder that every file system takes: ``plain*4`` is ``plain-x4``.

    Recipes that differ have names that differ, by more than capitals. Whatever is in no recipe is spelled out as
    ``%`` and its number, so that the name from a damaged file leads into no other folder.
    """
    spelled = {"*": "-x", "/": "--"}
    return re.sub(r"[^a-z0-9@+-]", lambda sign: spelled.get(sign[0], f"%{ord(sign[0]):06x}"), recipe)


def predictions_file(run: Path, recipe: str) -> Path:
    """Return where a run has its predictions of a recipe."""
    return run / "predictions" / f"{file_name(recipe)}.csv"


def _word(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < 200 else shown(value)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("sit2", "torch", "timm", "lightning-fabric", "scikit-learn", "numpy", "pillow")
    return {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in names}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
