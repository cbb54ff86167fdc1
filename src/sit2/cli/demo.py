"""See it work: handwritten digits that come with scikit-learn, 15 labels a class, no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sit2.cli.run_tables import tell_results
from sit2.cli.screen import Screen
from sit2.config.schema import make_config
from sit2.data.readers.arrays import from_arrays
from sit2.experiments.run import Run, run_experiment
from sit2.records import Dataset

METHODS = ("plain", "not-sure", "sure-or-not", "multi-label")
SETTINGS = {
    "image_size": 16,
    "labels_per_class": 15,
    "test_fraction": 0.5,
    "val_fraction": 0.1,
    "augment": "no-flip",
    "epochs": 200,
    "min_confused": 0.5,  # with 15 images a class, even the worst pair confuses hardly more than one
    "method": "multi-label",
}


def digits() -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits, 8 × 8 pixels, one channel."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = (images.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    return from_arrays(pixels, labels.astype(np.int64), "digits")


def demo(out: Path, *, seed: int, overwrite: bool, screen: Screen) -> Run:
    """Compare plain training with the three SIT² strategies, and print what came out."""
    config = make_config(SETTINGS, {"seed": seed})
    screen.say("Four classifiers of handwritten digits, trained on 15 images a class at one budget.")
    run = run_experiment(digits(), out, config, METHODS, screen=screen, overwrite=overwrite)
    tell_results(run, screen)
    screen.say(f"Not-sure images to look at: {run.folder / 'synthesis'}")
    return run
