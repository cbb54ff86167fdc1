"""What a verb of the command is, and the arguments that several verbs share. Loads nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sit2.cli.progress import Screen
from sit2.config.schema import SETTINGS, Config, make_config, read_config_file
from sit2.errors import ConfigError, RunFolderError, not_found
from sit2.trackers import refuse_missing

DONE, FOUND, WRONG, INTERRUPTED = 0, 1, 2, 130  # exit codes

Run = Callable[[argparse.Namespace, Screen], int]
Argument = tuple[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True)
class Verb:
    """One verb: what runs it, what it does, what it takes."""

    run: Run  # heavy modules are imported inside
    text: str  # what it does, for the help
    arguments: tuple[Argument, ...] = ()
    settings: tuple[str, ...] = ()  # of Config, that it takes as flags
    basic: tuple[str, ...] = ()  # of these, what `--help` shows; the others stand in `--help-all`
    resume: str = ""  # the flag that goes on with an interrupted one; "": it begins again
    ended: str = "nothing is lost but the time"  # what an interruption means where nothing was begun
    lists: bool = False  # whether its help lists methods and predictors
    own: type | None = None  # a class that declares settings of this verb alone
    config_file: bool = False  # whether it takes settings from a file too


def argument(*flags: str, **options: Any) -> Argument:
    """Describe an argument as argparse wants it."""
    return flags, options


def out(text: str, *, required: bool = False, default: str | None = None) -> Argument:
    """Describe ``-o``, which is a folder for every verb."""
    where = Path(default) if default else None
    return argument("-o", "--out", metavar="DIR", type=Path, required=required, default=where, help=text)


DATA = argument(
    "data", metavar="DATA", type=Path, help="folder of class folders, manifest (.csv, .parquet), or .npz"
)
IMAGES = argument("data", metavar="DATA", type=Path, nargs="+", help="folder, image files, manifest, or .npz")
MODEL = argument("--model", metavar="RUN", type=Path, required=True, help="a run folder, or its model folder")
EITHER = argument(
    "--model",
    metavar="RUN",
    type=Path,
    required=True,
    help="a run folder, its model folder, or a file of `sit2 export`",
)
OVERWRITE = argument("--overwrite", action="store_true", help="replace what an earlier run wrote")
COMMON = (
    argument("--quiet", action="store_true", help="print errors only"),
    argument("--debug", action="store_true", help="show where an error came from"),
)
ALL = tuple(SETTINGS)
BASIC = tuple(name for name, one in SETTINGS.items() if one.rule.basic)


def by_topic(*topics: str) -> tuple[str, ...]:
    """Return the names of all settings under some headings."""
    return tuple(name for name, one in SETTINGS.items() if one.rule.topic in topics)


def config_of(options: argparse.Namespace) -> Config:
    """Merge the YAML file, where the verb takes one, and the flags, which win."""
    flags = {name: value for name, value in vars(options).items() if name in SETTINGS}
    file = read_config_file(options.config) if getattr(options, "config", None) else {}
    config = make_config(file, flags)
    refuse_missing(config.log)
    return config


def words(text: str | None) -> list[str]:
    """Part a list with commas."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def require(source: Path, *, labelled: bool = True) -> None:
    """Raise at once for a source that does not exist, before anything heavy is loaded.

    Unless ``labelled``, any images will do.

    Raises:
        DataError: it does not.
    """
    path = source.expanduser()
    if not path.exists():
        from sit2.data.readers import ANY, EXPECTED, is_remote

        if not is_remote(path):
            raise not_found(path, EXPECTED if labelled else ANY)


def require_model(folder: Path, *, exported: bool = False) -> None:
    """Raise at once where there is no model that this version reads, before anything heavy is loaded.

    With ``exported`` a file of `sit2 export` will do too; whether it is one is seen when it is loaded.

    Raises:
        ModelError: there is none.
    """
    from sit2.inference.model_spec import EXPORTED, find_model, read_spec

    if not (exported and folder.suffix == EXPORTED):
        read_spec(find_model(folder) / "model.json")


def free_target(folder: Path | None, name: str, *, overwrite: bool) -> Path | None:
    """Return the file to write. Raises :class:`RunFolderError` when something is there already."""
    if folder is None:
        return None
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file\nexpected a folder; give another -o")
    if (folder / "run.json").exists():
        raise RunFolderError(
            f"{folder} is the folder of a run, which has files of these names\ngive another -o"
        )
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise RunFolderError(f"the output folder {folder} is not empty\nuse --overwrite, or another -o")
    return folder / name


def one_way(options: argparse.Namespace) -> None:
    """Raise :class:`ConfigError` where an earlier run is to be both finished and replaced."""
    if options.resume and options.overwrite:
        raise ConfigError("--resume and --overwrite contradict each other\nuse one of them")
