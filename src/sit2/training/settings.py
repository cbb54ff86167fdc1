"""Settings of training: the network, its budget, and how it is optimised. Knows no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from sit2.parameters import parameter
from sit2.training.augmentations import ALIASES, PRESETS

TRAINING, OPTIMISING = "training", "optimisation"
DEFAULT_BACKBONE, SMALL_CNN = "efficientnet-lite0", "small-cnn"
# From ImageNet weights and from scratch, for the batches of 16 and of 64 (docs/experiments.md, 2026-11-28).
_FINE_TUNING_LR = {"adamw": 0.001, "sgd": 0.02}
_SCRATCH_LR = {"adamw": 0.002, "sgd": 0.05}
_FINE_TUNING_HEAD = 3.0  # the head begins from nothing beside an encoder that knows a lot
_WEIGHT_DECAY = {"adamw": 0.05, "sgd": 0.0005}
_SCRATCH_EPOCHS = 100.0
MOST_EPOCHS, LEAST_EPOCHS, FEW_IMAGES = 30.0, 5.0, 600  # from ImageNet weights
SMALL_FIRST = (
    0.6  # of the steps see smaller images (progressive resizing: Howard 2018; Tan & Le 2021, section 4)
)
_SMALLEST, _STRIDE = 64, 32  # pixels a side that are still worth it; what networks divide a side by


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What every training depends on, whatever the method."""

    backbone: str = parameter(
        DEFAULT_BACKBONE,
        f"'{DEFAULT_BACKBONE}', any timm model, or '{SMALL_CNN}' (from scratch, for up to 64 pixels)",
        topic=TRAINING,
        basic=True,
    )
    pretrained: bool = parameter(
        True,
        "start from the backbone's ImageNet weights, where it has some; --no-pretrained: from scratch",
        topic=TRAINING,
        basic=True,
    )
    weights: Path | None = parameter(
        None,
        "start from this .safetensors or .pth file, or a sit2 model folder",
        value="FILE",
        topic=TRAINING,
        basic=True,
    )
    epochs: float | None = parameter(
        None,
        "budget: training samples seen = epochs × training images; default: 100 from scratch; from ImageNet "
        f"weights {MOST_EPOCHS:g}, fewer where there are more than {FEW_IMAGES} training images",
        low=0.01,
        topic=TRAINING,
        basic=True,
    )
    samples_seen: int | None = parameter(
        None, "the budget as a number of training samples seen, instead of epochs", low=1, topic=TRAINING
    )
    batch_size: int | None = parameter(
        None, "images a step; default: 16 from ImageNet weights, else 64", low=2, topic=TRAINING
    )
    optimizer: str = parameter("adamw", "the optimiser", choices=("adamw", "sgd"), topic=OPTIMISING)
    lr: float | None = parameter(
        None,
        "peak learning rate; default: 0.001 from ImageNet weights, 0.002 from scratch; for sgd 0.02 and 0.05",
        low=0.0,
        high=1e38,  # of what float32 holds
        topic=OPTIMISING,
        basic=True,
    )
    small_first: float = parameter(
        0.0,
        "fraction of the steps, the first ones, that see images at two thirds of their size, which is quicker "
        "(progressive resizing, for backbones that take images of any size)",
        low=0.0,
        high=1.0,
        topic=OPTIMISING,
    )
    weight_decay: float | None = parameter(
        None, "default: 0.05 for adamw, 0.0005 for sgd", low=0.0, topic=OPTIMISING
    )
    warmup: float = parameter(
        0.1, "fraction of a phase's steps to warm up", low=0.0, high=0.9, topic=OPTIMISING
    )
    augment: str = parameter(
        "flip",
        "preset of augmentation: no-flip for text, signs and X-rays; flip for photographs; dihedral (flips and "
        "rotations) for microscopy, skin and images from above",
        choices=tuple(PRESETS),
        aliases=ALIASES,
        topic=TRAINING,
        basic=True,
    )
    balance: str = parameter(
        "none",
        "against class imbalance: loss weights, or sampling classes evenly",
        choices=("none", "weights", "sampling"),
        topic=TRAINING,
    )
    early_stop: int = parameter(
        0,
        "stop the last phase after this many epochs without a better validation log-loss; 0: never",
        low=0,
        topic=TRAINING,
    )
    precision: str = parameter(
        "auto",
        "auto: bf16-mixed where the hardware has it",
        choices=("auto", "32-true", "bf16-mixed"),
        topic=OPTIMISING,
    )

    @property
    def starts_trained(self) -> bool:
        """Whether all trainings begin from the same trained weights, not from chance."""
        return self.weights is not None or (self.pretrained and self.backbone != SMALL_CNN)

    @property
    def has_frozen_features(self) -> bool:
        """Whether the weights know images well enough for features that need no training."""
        return self.starts_trained and self.backbone != SMALL_CNN

    @property
    def step_size(self) -> int:
        """Return the images a step."""
        return self.batch_size or (16 if self.has_frozen_features else 64)

    @property
    def peak_lr(self) -> float:
        """Return the peak learning rate."""
        usual = _FINE_TUNING_LR if self.has_frozen_features else _SCRATCH_LR
        return usual[self.optimizer] if self.lr is None else self.lr

    @property
    def head_lr(self) -> float:
        """Return the learning rate of a new head relative to the peak, which is the encoder's."""
        return _FINE_TUNING_HEAD if self.has_frozen_features else 1.0

    def small_side(self, side: int) -> int:
        """Return the pixels a side of the images of a training's first steps, of images of ``side`` pixels.

        About two thirds, a multiple of 32; ``side`` where all steps see images as they are.
        """
        small = round(side * 2 / 3 / _STRIDE) * _STRIDE
        return small if self.small_first and _SMALLEST <= small < side else side

    @property
    def decay(self) -> float:
        """Return the weight decay."""
        return _WEIGHT_DECAY[self.optimizer] if self.weight_decay is None else self.weight_decay

    def epochs_of(self, images: int) -> float:
        """Return the epochs of a training on this many images.

        From ImageNet weights they shrink with the root of the number of images, so that the steps still grow.
        """
        if self.epochs is not None or not self.has_frozen_features:
            return _SCRATCH_EPOCHS if self.epochs is None else self.epochs
        fewer = MOST_EPOCHS * math.sqrt(FEW_IMAGES / max(images, FEW_IMAGES))
        return max(LEAST_EPOCHS, round(fewer, 2))

    def total_steps(self, images: int) -> int:
        """Return the steps of a training on this many images; every batch is full."""
        seen = self.epochs_of(images) * images if self.samples_seen is None else self.samples_seen
        return max(1, round(seen / self.step_size))

    def work(self, images: int, side: int, seen: float = math.inf) -> float:
        """Return what a training on this many images costs, in samples of full size: smaller ones count less.

        Args:
            images: that are trained on.
            side: of them, in pixels.
            seen: samples after which it is asked; by default, at the end.
        """
        whole = self.total_steps(images) * self.step_size
        seen = min(seen, whole)
        small = min(seen, whole * self.small_first)
        return seen - small * (1 - (self.small_side(side) / side) ** 2)
