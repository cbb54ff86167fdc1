"""Settings of training: the network, its budget, and how it is optimised. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sit2.parameters import parameter
from sit2.training.presets import ALIASES, PRESETS

TRAINING, OPTIMISING = "training", "optimisation"


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What every training depends on, whatever the method."""

    backbone: str = parameter(
        "small-cnn", "'small-cnn' (for up to 64 pixels) or any timm model", topic=TRAINING, basic=True
    )
    pretrained: bool = parameter(
        False, "start from timm's pretrained weights (download)", topic=TRAINING, basic=True
    )
    weights: Path | None = parameter(
        None,
        "start from this .safetensors or .pth file, or a sit2 model folder",
        value="FILE",
        topic=TRAINING,
        basic=True,
    )
    epochs: float = parameter(
        100.0,
        "budget: training samples seen = epochs × training images",
        low=0.01,
        topic=TRAINING,
        basic=True,
    )
    samples_seen: int | None = parameter(
        None, "the budget as a number of training samples seen, instead of epochs", low=1, topic=TRAINING
    )
    batch_size: int = parameter(64, "images a step", low=2, topic=TRAINING)
    optimizer: str = parameter("adamw", "the optimiser", choices=("adamw", "sgd"), topic=OPTIMISING)
    lr: float | None = parameter(
        None,
        "peak learning rate; default: 0.002 for adamw, 0.05 for sgd",
        low=0.0,
        high=1e38,  # of what float32 holds
        topic=OPTIMISING,
        basic=True,
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
        "stop the last phase after so many epochs without a better validation log-loss; 0: never",
        low=0,
        topic=TRAINING,
    )
    precision: str = parameter(
        "auto",
        "auto: bf16-mixed where the hardware has it",
        choices=("auto", "32-true", "bf16-mixed"),
        topic=OPTIMISING,
    )
