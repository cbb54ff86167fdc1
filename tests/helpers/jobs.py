"""Jobs of a second or less: 47 noisy images of three classes, each class a little brighter than the one before."""

import dataclasses

import numpy as np
import torch

from sit2.config.recipe import Recipe
from sit2.config.schema import make_config
from sit2.confusion.pairs import all_pairs
from sit2.data.pixels import PixelStore
from sit2.events import nobody
from sit2.execution.parts import Part
from sit2.execution.runner import run_recipes
from sit2.experiments.planning import plan
from sit2.seeds import Seeds
from sit2.training.start import start_of

torch.set_num_threads(1)  # two on busy cores wait for each other

CLASSES = ("ant", "bee", "cat")
LABELS = (np.arange(47) % 3).astype(np.int64)
ROWS = np.random.default_rng(1).permutation(47)
TRAIN, VAL, PREDICT, REST = ROWS[:23], ROWS[23:31], ROWS[31:42], ROWS[42:]
SETTINGS = {
    "backbone": "small-cnn",
    "image_size": 16,
    "batch_size": 7,
    "epochs": 3,
    "lr": 0.01,
    "precision": "32-true",
    "device": "cpu",
}  # ten steps


def pixels(channels=3):
    noise = np.random.default_rng(0).integers(0, 160, (47, channels, 16, 16))
    return (noise + 40 * LABELS[:, None, None, None]).astype(np.uint8)


def part_of(rows, labels=LABELS, groups=()):
    return Part(rows, labels[rows], tuple(groups))


def make_job(recipe="multi-label", *, seed=0, images=None, labels=LABELS, channels=3, **given):
    """Plan a recipe; what ``plan`` takes and the settings may be given by name."""
    names = (
        "train",
        "val",
        "predict",
        "chosen",
        "layout",
        "trials",
        "name",
        "save_to",
        "store",
        "evaluated",
        "figures",
    )
    parts = {name: given.pop(name) for name in names if name in given}
    if "store" not in parts:
        parts["store"] = PixelStore.of(pixels(channels) if images is None else images)
    config, images = make_config(SETTINGS, {"seed": seed}, given), parts["store"].images
    return plan(
        Recipe.parse(recipe),
        **{
            "config": config,
            "start": start_of(config, channels=images.shape[1], image_size=images.shape[2]),
            "seeds": Seeds(seed).child("train"),
            "classes": CLASSES,
            "train": part_of(TRAIN, labels),
            "val": part_of(VAL, labels),
            "predict": part_of(PREDICT, labels),
            "chosen": tuple(all_pairs(CLASSES)[:2]),
            **parts,
        },
    )


def training_of(recipe, folder, *, checkpoint=None, **given):
    """The one training of a recipe, with its network in a folder."""
    (training,) = make_job(recipe, **given).trainings
    return dataclasses.replace(training, network=folder / "one.network", checkpoint=checkpoint)


def run(jobs, folder, *, listener=nobody, workers=1, executor="joblib", **more):
    """Run jobs, with their networks in a folder unless told otherwise."""
    config = make_config(SETTINGS, {"workers": workers, "executor": executor})
    more = {"networks": folder / "networks", "title": "Training", **more}
    return run_recipes(jobs, config=config, listener=listener, **more)


def run_one(job, folder, **more):
    (outcome,) = run([job], folder, **more)
    return outcome


def timeless(history):
    """Return epochs without how long they took, which no two trainings have in common."""
    return [dataclasses.replace(row, seconds=0.0) for row in history]


def weights(folder):
    """The bytes of a model's weights."""
    return (folder / "model.safetensors").read_bytes()
