"""What an output folder holds before anything is written to it, and whether it may be written to."""

from __future__ import annotations

from pathlib import Path

from sit2.errors import RunFolderError
from sit2.storage.files import is_temporary
from sit2.storage.lock import NAME as LOCK
from sit2.storage.run_info import BEGINNING, RUNNING, read_info
from sit2.storage.untrusted import read_json


def refuse_taken(
    path: Path, *, overwrite: bool, resume: bool | None = None, comparison: bool = False
) -> list[str]:
    """Refuse a folder that may not be written to; the check is quick, so it can come before anything heavy.

    Args:
        path: the output folder.
        overwrite: what is there may be replaced.
        resume: what is there may be finished; None: that is not on offer.
        comparison: an earlier comparison there is taken up.

    Returns:
        The names of what the folder holds.

    Raises:
        RunFolderError: it is a file, or holds something that is not ours or that nobody gave up.
    """
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path} is a file\nexpected a folder; give another -o")
    present = names_in(path)
    if not present or (comparison and holds_comparison(path)):
        return present
    if not (resume or overwrite):
        finish = "--resume to finish the run in it, " if resume is not None else ""
        raise RunFolderError(
            f"the output folder {path} is not empty\n"
            f"use {finish}--overwrite to replace what a run wrote, or another -o"
        )
    if "run.json" not in present or not _is_ours(path / "run.json"):
        raise RunFolderError(f"{path} is not a folder that sit2 made\ngive another -o")
    return present


def free_folder(base: Path) -> Path:
    """Return ``base``, or ``base-2``, ``base-3`` …: the first that holds nothing yet."""
    path, number = base, 1
    while names_in(path):
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


PARTIAL = "predictions.partial.csv"  # what `sit2 predict` has written so far


def unfinished(path: Path) -> bool:
    """Say whether a folder holds a run or predictions that were begun, and neither finished nor failed."""
    if (path / PARTIAL).is_file():
        return True
    try:
        return read_json(path / "run.json").get("status") in (RUNNING, BEGINNING)
    except (OSError, ValueError):
        return False


def holds_comparison(path: Path) -> bool:
    """Say whether a folder is that of a comparison, however far it came: another call takes it up."""
    try:
        return read_info(path).is_comparison
    except RunFolderError:
        return False  # another version's, perhaps, or damaged: nothing in it is replaced without being told


def names_in(path: Path) -> list[str]:
    """Return the names of what a folder holds, but for what a killed process may leave behind."""
    try:
        names = [p.name for p in path.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunFolderError(
            f"cannot list {path}: {error.strerror}\nexpected a folder to write to; give another -o"
        ) from None
    return [name for name in names if name != LOCK and not is_temporary(name)]


def _is_ours(path: Path) -> bool:
    """Tell a run.json of sit2, damaged perhaps, from one that another program wrote."""
    try:
        info = read_json(path)
    except (OSError, ValueError):
        return True
    return "format_version" in info and "status" in info
