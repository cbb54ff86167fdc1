"""Answers to work on without a trained network: one that looks at corners, and some made to measure."""

import functools

import numpy as np
import torch

from sit2.confusion.pairs import all_pairs
from sit2.inference.chain import Observations
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import Context, Known, Outputs
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS

torch.set_num_threads(1)  # two on busy cores wait for each other

CLASSES = ("ant", "bee", "cat", "dog")
PAIRS = {(p.a, p.b): p for p in all_pairs(CLASSES)}
LABELS = (np.arange(29) % 4).astype(np.int64)


def asked(pixels):
    """A network that answers by the brightness of corners: to another view, another answer."""
    corners = pixels[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].double()
    return (5 * corners).log_softmax(dim=1)


def corners(pixels):
    """What the head of that network sees."""
    return pixels[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]


asked.features = corners


@functools.cache
def training_images():
    """29 noisy images of four classes, each a little brighter than the one before."""
    noise = np.random.default_rng(0).integers(0, 160, (29, 3, 16, 16)) + 30 * LABELS[:, None, None, None]
    return noise.astype(np.uint8)


def known(*pairs, augment="none", groups=(), seed=0):
    """What predictors learn from: the training images, and pairs of class indices."""
    return Known(
        images=training_images(),
        rows=np.arange(29),
        labels=LABELS,
        groups=tuple(groups),
        num_classes=len(CLASSES),
        pairs=[PAIRS[pair] for pair in pairs],
        augmentation=PRESETS[augment],
        seeds=Seeds(seed),
        device=torch.device("cpu"),
        ask=asked,
    )


def context(augment="none"):
    """What predictors are put together with."""
    return Context(3, len(CLASSES), PRESETS[augment], backbone="small-cnn", image_size=16)


@functools.cache
def learned(name, *pairs, augment="none"):
    """A predictor that has learned from the training images."""
    return PREDICTORS[name]().learn(known(*pairs, augment=augment))


def look_at(predictors, images, ask=asked):
    """Observations of images by some predictors."""
    ask.features = corners
    return Observations.of(predictors, images, ask)


def images_to_predict(count=11, *, height=16, width=16, seed=1):
    """(N, 3, H, W) float32 of noise."""
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def some_answers(count, right, seed=0):
    """Return labels (count,), and log-probabilities (count, 4) that favour them as much as ``right`` says."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    logits = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    logits[torch.arange(count), labels] += right
    return labels, logits.log_softmax(dim=1)


def outputs(first, so_far=None):
    """Outputs of a network, and what predictors have made of them so far."""
    return Outputs(first, first if so_far is None else so_far)


def log_loss_of(log_probabilities, labels):
    """The sum of the log-losses."""
    return -float(log_probabilities[torch.arange(len(labels)), labels].sum())
