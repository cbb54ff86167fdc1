"""`sit2 demo`: see it work on images that need no download: drawn cells, or scikit-learn's digits."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import DONE, OVERWRITE, Verb, argument, out
from sit2.storage.output_folder import refuse_taken

if TYPE_CHECKING:
    from sit2.records import Dataset

CELLS = {
    "labels_per_class": 20,
    "val_per_class": 10,
    "test_fraction": 0.5,
    "augment": "dihedral",  # under the microscope there is no up
    "epochs": 18,  # of the 29 that are usual for so few images: minutes on two cores
    "method": "not-sure+tta+ensemble+temperature",
}
METHODS = ("plain", "not-sure", "sure-or-not", "multi-label")  # on digits
DIGITS = {
    "backbone": "small-cnn",
    "image_size": 16,
    "confusion": "folds",
    "labels_per_class": 15,
    "test_fraction": 0.5,
    "val_fraction": 0.1,
    "augment": "no-flip",
    "epochs": 200,
    "min_confused": 0.5,  # with 15 images a class, even the worst pair confuses hardly more than one
    "method": "multi-label",
}


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Train on a small set that needs no download, and print what came out."""
    refuse_taken(options.out, overwrite=options.overwrite)

    from sit2.cli.results import print_run
    from sit2.cli.terminal import Terminal
    from sit2.config.recipe import parse_all
    from sit2.config.schema import make_config
    from sit2.data.drawn_cells import drawn_cells
    from sit2.experiments.run import run_experiment

    shortened = {} if options.epochs is None else {"epochs": options.epochs}
    config = make_config(DIGITS if options.digits else CELLS, {"seed": options.seed, **shortened})
    recipes = parse_all(METHODS) if options.digits else config.recipes
    if options.digits:
        screen.say("Four classifiers of handwritten digits, trained on 15 images a class at one budget.")
    else:
        screen.say(
            "Drawn cells of six kinds, 20 training images each: the default from ImageNet weights, the same"
        )
        screen.say("after training on not-sure images, and a linear classifier that trains no network.")
    with Terminal(screen) as terminal:
        done = run_experiment(
            digits() if options.digits else drawn_cells(options.seed),
            options.out,
            config,
            recipes,
            listener=terminal,
            overwrite=options.overwrite,
        )
    print_run(done, screen)
    screen.say(f"Not-sure images to look at: {done.folder / 'synthesis'}")
    return DONE


def digits() -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits, 8 × 8 pixels, one channel."""
    import numpy as np
    from sklearn.datasets import load_digits

    from sit2.data.readers.arrays import from_arrays

    images, labels = load_digits(return_X_y=True)
    pixels = (images.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    return from_arrays(pixels, labels.astype(np.int64), "digits")


VERB = Verb(
    run,
    "see it work in a few minutes, on images that need no download",
    (
        out("run folder (default: demo-run)", default="demo-run"),
        OVERWRITE,
        argument(
            "--digits",
            action="store_true",
            help="the three strategies from scratch, on scikit-learn's digits, instead of the default on images",
        ),
        argument("--seed", type=int, default=0, metavar="N", help="root of all randomness"),
        argument("--epochs", type=int, metavar="N", help="shorten it; the figures then mean nothing"),
    ),
)
