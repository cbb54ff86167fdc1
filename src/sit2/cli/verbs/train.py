"""`sit2 train`: train a classifier, compare it where there is something to compare, say how good it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import (
    ALL,
    BASIC,
    DATA,
    DONE,
    OVERWRITE,
    Verb,
    argument,
    config_of,
    one_way,
    out,
    require,
)
from sit2.config.schema import Config
from sit2.errors import ConfigError
from sit2.storage.output_folder import free_folder, refuse_taken


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Train; print the results."""
    if options.resume and options.out is None:
        raise ConfigError("--resume needs the folder of the run\nname it with -o")
    one_way(options)
    config = config_of(options)
    if options.out is None:
        options.out = _default_folder(options.data, config)
        options.where = ["-o", str(options.out)]
    require(options.data)
    refuse_taken(options.out, resume=options.resume, overwrite=options.overwrite)

    from sit2.cli.results import print_run
    from sit2.cli.terminal import Terminal
    from sit2.experiments.run import run_experiment

    with Terminal(screen) as terminal:
        done = run_experiment(
            options.data,
            options.out,
            config,
            config.recipes,
            listener=terminal,
            resume=options.resume,
            overwrite=options.overwrite,
        )
    print_run(done, screen)
    return DONE


def _default_folder(source: Path, config: Config) -> Path:
    """Return where a run goes that was not told where: runs/<data>-<method>, or the next that is free."""
    name = source.expanduser().resolve().stem or "data"
    return free_folder(Path("runs") / f"{name}-{config.recipe.file_name}")


VERB = Verb(
    run,
    "train a classifier and say how good it is, and whether its method helped",
    (
        DATA,
        out("run folder (default: runs/<data>-<method>)"),
        argument("--resume", action="store_true", help="finish the run that was begun in --out"),
        OVERWRITE,
    ),
    settings=ALL,
    basic=BASIC,
    resume="--resume",
    lists=True,
    config_file=True,
)
