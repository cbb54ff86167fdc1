"""`sit2 synthesize`: not-sure images as files, for other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from sit2.cli.progress import Screen
from sit2.cli.verbs.confusion import BASIC, SETTINGS, measure
from sit2.cli.verbs.verb import DATA, DONE, OVERWRITE, Verb, argument, config_of, out, require
from sit2.errors import ConfigError
from sit2.storage.output_folder import refuse_taken


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Write not-sure images as PNG, by pair, with sources.csv: what each one is made of."""
    if options.count < 1:
        raise ConfigError(f"--count is {options.count}\nexpected at least 1")
    config = config_of(options)
    require(options.data)
    refuse_taken(options.out, overwrite=options.overwrite)

    from sit2.cli.results import print_pairs
    from sit2.cli.terminal import Terminal
    from sit2.confusion.pairs_file import read_pairs
    from sit2.experiments.artifacts import write_composites
    from sit2.experiments.prepare import prepare
    from sit2.experiments.recording import record_confusion, record_data
    from sit2.experiments.run import open_folder

    with (
        Terminal(screen) as terminal,
        open_folder(options.out, options.data, config, overwrite=options.overwrite) as folder,
    ):
        measured = None
        if options.pairs is not None:
            prepared = prepare(options.data, config, terminal)
            pairs = tuple(read_pairs(options.pairs, prepared.dataset.classes))
        else:
            found, measured = measure(options.data, config, terminal)
            assert found is not None
            prepared, pairs = found, measured.pairs
        screen.say("")
        print_pairs(pairs, prepared.dataset.classes, screen)
        table = write_composites(
            folder,
            prepared,
            [pair for pair in pairs if pair.chosen],
            config,
            count=options.count,
            sure=options.sure,
            begun=lambda: record_data(folder, prepared),
        )
        if measured is not None:
            record_confusion(folder, measured)
        folder.finish()
    screen.say(f"Written: {len(table):,} images in {folder.path / 'synthesis'}, listed in sources.csv")
    return DONE


VERB = Verb(
    run,
    "write not-sure images to disk, for other tools",
    (
        DATA,
        out("folder to write", required=True),
        OVERWRITE,
        argument("--count", type=int, default=20, metavar="N", help="images a pair (default: 20)"),
        argument("--sure", action="store_true", help="also write sure composites, as many a class"),
        argument("--pairs", type=Path, metavar="FILE", help="a pairs.csv, instead of measuring"),
    ),
    settings=(*SETTINGS, "operators"),
    basic=(*BASIC, "operators"),
    config_file=True,
)
