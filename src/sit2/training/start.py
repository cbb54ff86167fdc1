"""What a network starts from: which weights, and the input that they were made for."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from sit2.features.frozen import Extractor
from sit2.storage.untrusted import read_json
from sit2.training.augmentations import PRESETS
from sit2.training.backbones import build_network, weights_file
from sit2.training.efficientnet_lite import MEAN, PACKAGE, STD
from sit2.training.settings import DEFAULT_BACKBONE, SMALL_CNN, TrainingSettings
from sit2.training.training_set import Normalisation


@dataclass(frozen=True)
class Start:
    """The weights that an encoder starts from; without any, from chance."""

    name: str = ""  # of the weights; "": chance
    digest: str = ""  # 32 hexadecimal digits of the encoder's tensors
    normalise: Normalisation | None = None  # what the weights were trained with; None: measured on the images


def start_of(settings: TrainingSettings, *, channels: int, image_size: int) -> Start:
    """Return what every training with these settings starts from.

    Raises:
        ConfigError: for an unknown backbone, or pretrained weights that cannot be had.
        ModelError: for a weights file that does not fit.
    """
    network = build_network(
        settings.backbone,
        channels=channels,
        image_size=image_size,
        outputs=2,
        seed=0,  # of a network that is only looked at
        pretrained=settings.pretrained,
        weights=settings.weights,
    )
    if not settings.starts_trained:
        return Start()
    known = None if settings.backbone == SMALL_CNN else _statistics(settings, network.encoder, channels)
    return Start(_name(settings, network.encoder), digest_of(network.encoder), known)


def frozen_extractor(
    settings: TrainingSettings, start: Start, *, channels: int, image_size: int, device: str
) -> Extractor | None:
    """Return what makes frozen features; None where networks start from chance, or from another kind of input."""
    if start.normalise is None:
        return None
    network = build_network(
        settings.backbone,
        channels=channels,
        image_size=image_size,
        outputs=2,
        seed=0,
        pretrained=settings.pretrained,
        weights=settings.weights,
        stages=True,
    )
    how = PRESETS[settings.augment]
    encoder = network.encoder.eval().to(device)
    return Extractor(encoder, start.normalise.mean, start.normalise.std, how.mirror or how.dihedral)


def digest_of(encoder: nn.Module) -> str:
    """Return 32 hexadecimal digits that change with any weight, or any weight's name."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _name(settings: TrainingSettings, encoder: nn.Module) -> str:
    if settings.weights is not None:
        return settings.weights.name
    if settings.backbone == DEFAULT_BACKBONE:
        return f"ImageNet ({PACKAGE})"
    tag = getattr(encoder, "pretrained_cfg", {}).get("tag", "")
    return f"timm/{settings.backbone}" + (f".{tag}" if tag else "")


def _statistics(settings: TrainingSettings, encoder: nn.Module, channels: int) -> Normalisation | None:
    """Return what the images were normalised by that the weights were trained on, where that is known."""
    known: Mapping[str, Any] = getattr(encoder, "pretrained_cfg", {})
    if settings.backbone == DEFAULT_BACKBONE:
        known = {"mean": MEAN, "std": STD}
    if settings.weights is not None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = read_json(weights_file(settings.weights).with_name("model.json"))["preprocessing"]
    mean, std = known.get("mean"), known.get("std")
    return Normalisation(_of(mean, channels), _of(std, channels)) if mean and std else None


def _of(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return the values of each channel; of a gray image, which stands for three equal ones, their mean."""
    own = tuple(float(value) for value in values)
    return own if len(own) == channels else (sum(own) / len(own),) * channels
