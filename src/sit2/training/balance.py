"""Against class imbalance: a weight for each output, from how often the phase's own targets ask for it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sit2.training.augmentations import Augmentation
from sit2.training.phase import Phase
from sit2.training.training_set import Normalisation, TrainingSet

STEPS = 50  # that are looked at, at least; and at least one whole reading of the images
SIDE = 8  # pixels of the images that stand in for the real ones: it is their labels that count


def output_weights(phase: Phase, training_set: TrainingSet, *, batch_size: int) -> Tensor | None:
    """Return (outputs,) float32: the weight of each output; None where the outputs are no classes.

    With f_k how much of all targets falls to class k of K, its weight is Σ f / (K · f_k): all classes then ask
    for the same. Outputs that are no class, such as "not sure", have weight 1, as has a class that is never
    asked for. ``training_set`` must be the phase's own.
    """
    classes = training_set.num_classes
    if phase.outputs < classes:
        return None
    mass = torch.zeros(classes, device=training_set.labels.device)
    small = _miniature(training_set)
    for step in range(max(STEPS, -(-len(training_set) // batch_size))):
        mixed = phase.batches.draw(small, step, batch_size)
        mass += phase.targets(mixed, classes)[:, :classes].sum(dim=0)
    weight = torch.ones(phase.outputs, device=mass.device)
    asked = mass > 0
    weight[:classes][asked] = mass.sum() / (asked.sum() * mass[asked])
    return weight


def _miniature(training_set: TrainingSet) -> TrainingSet:
    """Return a training set with the same labels and draws, whose images are all the same few black pixels."""
    channels, device = training_set.shape[0], training_set.labels.device
    return replace(
        training_set,
        pixels=torch.zeros(SIDE * SIDE, channels, dtype=torch.uint8, device=device),
        shape=(channels, SIDE, SIDE),
        source=torch.zeros_like(training_set.source),
        normalise=Normalisation((0.0,) * channels, (1.0,) * channels),
        augment=Augmentation(),
        _orders={},
    )
