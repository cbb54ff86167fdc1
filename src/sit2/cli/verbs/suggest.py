"""`sit2 suggest`: which images to label next."""

from __future__ import annotations

import argparse

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import (
    DONE,
    IMAGES,
    MODEL,
    OVERWRITE,
    Verb,
    argument,
    config_of,
    free_target,
    out,
    require,
    require_model,
)

SHOWN = 10  # suggestions on the screen


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Write suggestions.csv and suggestions.html."""
    config = config_of(options)
    free_target(options.out, "suggestions.csv", overwrite=options.overwrite)
    for source in options.data:
        require(source, labelled=False)
    require_model(options.model)

    from sit2.cli.terminal import Terminal
    from sit2.suggest.page import train_again, write_page
    from sit2.suggest.suggesting import suggest, write_for_tools, write_table

    with Terminal(screen) as terminal:
        found = suggest(
            options.data,
            options.model,
            terminal,
            count=options.n,
            policy=options.policy,
            seed=config.seed,
            layout=config.layout,
        )
    options.out.mkdir(parents=True, exist_ok=True)
    table = write_table(options.out, found)
    again = train_again(options.model, table)
    page = write_page(options.out, found, again)
    rows = [
        (one.path, f"{one.class_a} {one.p_class_a:.2f}", f"{one.class_b} {one.p_class_b:.2f}")
        for one in found.suggestions[:SHOWN]
    ]
    screen.table("Images to label next", ("image", "is it", "or"), rows)
    if len(found.suggestions) > SHOWN:
        screen.say(f"… and {len(found.suggestions) - SHOWN:,} more")
    written = {"Table": table, "Page": page}
    if options.lists:
        written |= {"Lists": write_for_tools(options.out, found)}
    screen.paths(written)
    screen.say("Fill in the column label of the table; then train again, with these images added:")
    screen.say(f"  {again}")
    return DONE


VERB = Verb(
    run,
    "say which images to label next",
    (
        IMAGES,
        MODEL,
        argument("-n", metavar="N", type=int, default=20, help="how many images (default: 20)"),
        argument(
            "--policy",
            metavar="NAME",
            default="random",
            help="how they are chosen: random (the default), margin (learned more in our trials), entropy, or "
            "confusion (a share for each pair of classes that the model wavers between)",
        ),
        argument(
            "--lists",
            action="store_true",
            help="write the list for Label Studio and FiftyOne too, into lists/",
        ),
        out("folder for suggestions.csv and suggestions.html", required=True),
        OVERWRITE,
    ),
    settings=("layout", "seed"),
    basic=("layout", "seed"),
)
