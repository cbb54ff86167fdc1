"""`sit2 cache`: what is kept between runs, and how to free it."""

from __future__ import annotations

import argparse

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import DONE, Verb, argument, config_of


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Show or clear decoded images and trained networks."""
    from sit2.data.cache import cache_folder, clear, size

    folder = cache_folder(config_of(options).cache)
    if folder is None:
        screen.say("Nothing is kept between runs: the cache is off.")
    elif options.clear:
        images, networks = clear(folder)
        screen.say(
            f"Removed {images / 1e6:,.1f} MB of decoded images and {networks / 1e6:,.1f} MB of trained "
            f"networks from {folder}"
        )
    else:
        images, networks = size(folder)
        screen.say(
            f"{images / 1e6:,.1f} MB of decoded images and {networks / 1e6:,.1f} MB of trained networks in "
            f"{folder}; --clear removes them"
        )
    return DONE


VERB = Verb(
    run,
    "show how much room decoded images and trained networks take, or free it",
    (argument("--clear", action="store_true", help="remove them"),),
    settings=("cache",),
    basic=("cache",),
)
