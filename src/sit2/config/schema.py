"""The one configuration: the same names as command-line flags, YAML keys and Python arguments.

A setting is declared once, as a field of :class:`Config`; ``--image-size`` on the command line is
``image_size`` in YAML and in ``sit2.train(data, image_size=…)``. Every value is checked here, wherever it
comes from.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sit2.data.decoding.window import depth_limits
from sit2.errors import ConfigError, did_you_mean
from sit2.parameters import convert, setting
from sit2.storage.untrusted import read_yaml, shown

METHOD_NAMES = (
    "plain",
    "plain-restart",
    "label-smoothing",
    "mixup",
    "cutmix",
    "mixup-finetune",
    "not-sure",
    "sure-or-not",
    "multi-label",
    "soft-label",
    "confusion-smoothing",
    "second-look",
)  # the keys of sit2.methods.METHODS, here so that the command line knows them without loading torch
PAIR_METHODS = METHOD_NAMES[6:]  # those that use pairs of classes
PAIR_SOURCES = ("random", "all")  # what may follow the "@" of a SIT² method
OPERATOR_NAMES = ("blend", "halves", "patches")  # the keys of sit2.synthesis.SYNTHESIZERS
AUGMENTATIONS = ("none", "no-flip", "flip", "any-way-up")  # the keys of sit2.training.augment.PRESETS


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of a run. Raises :class:`ConfigError` on a value that a setting cannot take."""

    seed: int = setting(0, "root of all randomness", section="run", low=0)
    device: str = setting("auto", "where to train", section="run", choices=("auto", "cpu", "cuda", "mps"))
    workers: int = setting(0, "parallel trainings on a CPU; 0: one per core", section="run", low=0)
    threads: int = setting(1, "threads of each training on a CPU", section="run", low=1)

    labels_per_class: int | None = setting(
        None, "keep this many training images a class", section="data", low=1
    )
    groups: str | None = setting(
        None,
        "column of patients, slides, … or TABLE.csv:COLUMN: a group never stands in two splits",
        section="data",
        value="COLUMN",
    )
    group_pattern: str | None = setting(
        None,
        "regular expression that finds the group in a file's name: its first (…), or all",
        section="data",
        value="REGEX",
    )
    allow_leaks: bool = setting(
        False, "train also where an image or a group stands in several of the given splits", section="data"
    )
    image_size: int = setting(64, "working height and width, in pixels", section="data", low=8, high=1024)
    resize: str = setting(
        "stretch",
        "how an image that is not square becomes so",
        section="data",
        choices=("stretch", "crop", "pad"),
    )
    channels: str = setting(
        "auto", "1 gray, 3 colour, auto: as the images are", section="data", choices=("auto", "1", "3")
    )
    depth_window: str = setting(
        "full",
        "what becomes 0 to 255 where there are more than 8 bits: full (the file's range; DICOM: its window), "
        "percentile (0.5 and 99.5 of each image), or two values LO,HI",
        section="data",
    )
    background: str = setting(
        "white", "what lies under transparent pixels", section="data", choices=("white", "black")
    )
    max_megapixels: int = setting(
        178, "refuse an image of more million pixels", section="data", low=1, high=100_000
    )
    split_seed: int | None = setting(
        None,
        "root of the splits, and of which labels are kept; default: seed",
        section="data",
        low=0,
    )
    resplit: bool = setting(
        False, "make new splits also where the data come with some of their own", section="data"
    )
    cache: str = setting(
        "auto",
        "folder that keeps decoded images between runs; auto: SIT2_CACHE or the user's cache, off: none",
        section="data",
        value="DIR",
    )
    val_fraction: float = setting(
        0.16, "share of images for validation, where no split is given", section="data", low=0.01, high=0.5
    )
    test_fraction: float = setting(
        0.2, "share of the images for the test, where no split is given", section="data", low=0.01, high=0.8
    )

    method: str = setting("second-look", "what to train", section="method")
    control: str = setting("plain", "what to compare it with", section="method")
    label_smoothing: float = setting(
        0.1, "strength of the method label-smoothing", section="method", low=0.0, high=0.9
    )
    mixup_alpha: float = setting(
        0.2, "Beta(α, α) of mixup's weight; cutmix uses α = 1", section="method", low=0.01
    )
    pretrain_share: float = setting(
        0.5, "share of the budget for pretraining, the rest fine-tunes", section="method", low=0.05, high=0.95
    )
    finetune_lr: float = setting(
        0.5,
        "the encoder's learning rate in fine-tuning, relative to lr",
        section="method",
        low=0.0001,
        high=10.0,
    )
    soft_originals: float = setting(
        0.25, "soft-label: share of original images in every batch", section="method", low=0.0, high=0.95
    )
    soft_alpha: float = setting(
        0.8, "soft-label: Beta(α, α) of the share of the first class", section="method", low=0.01
    )
    soft_emphasis: float = setting(
        0.5,
        "soft-label: share of mixtures from confused pairs, the rest from all pairs",
        section="method",
        low=0.0,
        high=1.0,
    )
    soft_cut: float = setting(
        0.0, "soft-label: share of mixtures cut, not blended", section="method", low=0.0, high=1.0
    )
    phase_smoothing: float = setting(
        0.0,
        "label smoothing in every softmax phase of not-sure, sure-or-not, multi-label and soft-label",
        section="method",
        low=0.0,
        high=0.9,
    )
    smoothing_emphasis: float = setting(
        0.5,
        "confusion-smoothing: share of the smoothing that goes to confused classes, the rest to all",
        section="method",
        low=0.0,
        high=1.0,
    )
    second_network: str = setting(
        "plain",
        "second-look: the method that trains the network",
        section="method",
        choices=("plain", "label-smoothing"),
    )
    second_weight: float | None = setting(
        None,
        "second-look: the share of the probe, beside the network, in what is said at the second look; "
        "default: fitted to the validation images, with how sure both are",
        section="method",
        low=0.0,
        high=1.0,
    )
    not_sure_classes: str = setting(
        "one",
        "not-sure: one class for all not-sure images, or one for each pair",
        section="method",
        choices=("one", "pairs"),
    )
    sure_classes: str = setting(
        "one",
        "sure-or-not: one class for all sure images, or the K classes",
        section="method",
        choices=("one", "classes"),
    )

    confusion: str = setting(
        "folds",
        "how to measure it: trained out of fold, or by a probe in closed form, quick and nearly as good",
        section="confusion",
        choices=("folds", "probe"),
    )
    folds: int = setting(5, "folds of the out-of-fold confusion", section="confusion", low=2, high=50)
    confusion_epochs: float | None = setting(
        None, "epochs of each fold's training; default: half of epochs", section="confusion", low=0.01
    )
    pair_coverage: float = setting(
        0.5, "choose the fewest pairs with this share of all confusion", section="confusion", low=0, high=1
    )
    min_confused: float = setting(
        1.0, "a chosen pair confuses at least so many images (soft count)", section="confusion", low=0
    )
    max_pairs: int | None = setting(
        None, "at most so many pairs; default: twice the number of classes", section="confusion", low=1
    )
    operators: tuple[str, ...] = setting(
        OPERATOR_NAMES, "how not-sure images are mixed", section="confusion", choices=OPERATOR_NAMES
    )

    backbone: str = setting(
        "small-cnn", "'small-cnn' (for up to 64 pixels) or any timm model", section="training"
    )
    pretrained: bool = setting(False, "start from timm's pretrained weights (download)", section="training")
    weights: Path | None = setting(
        None,
        "start from this .safetensors or .pth file, or a sit2 model folder",
        section="training",
        value="FILE",
    )
    epochs: float = setting(
        100.0, "budget: image passes = epochs × training images", section="training", low=0.01
    )
    passes: int | None = setting(
        None, "the budget as a number of image passes, instead of epochs", section="training", low=1
    )
    batch_size: int = setting(64, "images a step", section="training", low=2)
    optimizer: str = setting("adamw", "the optimiser", section="training", choices=("adamw", "sgd"))
    lr: float | None = setting(
        None, "peak learning rate; default: 0.002 for adamw, 0.05 for sgd", section="training", low=0.0
    )
    weight_decay: float | None = setting(
        None, "default: 0.05 for adamw, 0.0005 for sgd", section="training", low=0.0
    )
    warmup: float = setting(0.1, "share of a phase's steps to warm up", section="training", low=0.0, high=0.9)
    augment: str = setting("flip", "named preset of augmentation", section="training", choices=AUGMENTATIONS)
    balance: str = setting(
        "none",
        "against class imbalance: loss weights, or sampling classes evenly",
        section="training",
        choices=("none", "weights", "sampling"),
    )
    early_stop: int = setting(
        0,
        "stop the last phase after so many epochs without a better validation log-loss; 0: never",
        section="training",
        low=0,
    )
    precision: str = setting(
        "auto",
        "auto: bf16-mixed where the hardware has it",
        section="training",
        choices=("auto", "32-true", "bf16-mixed"),
    )

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for f in dataclasses.fields(self):
            value = convert(f.name, getattr(self, f.name), hints[f.name], f.metadata)
            object.__setattr__(self, f.name, value)
        for name in ("method", "control"):
            check_method(getattr(self, name))
        depth_limits(self.depth_window)
        if not self.operators:
            raise ConfigError(f"operators is empty\nname at least one of {', '.join(OPERATOR_NAMES)}")
        if self.val_fraction + self.test_fraction > 0.9:
            raise ConfigError(
                f"val_fraction {self.val_fraction} and test_fraction {self.test_fraction} leave less "
                "than a tenth of the images for training\nexpected a sum of at most 0.9; lower one of them"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return every setting as YAML can write it."""
        plain: dict[str, Any] = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Path):
                value = str(value)
            plain[f.name] = list(value) if isinstance(value, tuple) else value
        return plain


def make_config(*sources: Mapping[str, Any]) -> Config:
    """Merge settings, later sources winning, and check them.

    Raises:
        ConfigError: for an unknown name or a value that a setting cannot take.
    """
    known = [f.name for f in dataclasses.fields(Config)]
    merged: dict[str, Any] = {}
    for source in sources:
        for raw, value in source.items():
            name = str(raw).replace("-", "_")
            if name not in known:
                raise ConfigError(f"unknown setting {shown(raw)}\n{did_you_mean(name, known)}")
            merged[name] = value
    return Config(**merged)


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings. Raises :class:`ConfigError` when it is not one."""
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        raise ConfigError(f"no such settings file: {path}\n--config expects a YAML file") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read the settings file {path}: {reason}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a list of settings\nexpected lines such as 'epochs: 60'")
    return content


def check_method(name: str) -> None:
    """Raise :class:`ConfigError` unless ``name`` is a method, with or without its pairs."""
    base, at, source = name.partition("@")
    if base not in METHOD_NAMES:
        raise ConfigError(f"unknown method {name!r}\n{did_you_mean(base, METHOD_NAMES)}")
    if at and base not in PAIR_METHODS:
        raise ConfigError(
            f"{base!r} uses no pairs, so {name!r} means nothing\n'@random' and '@all' follow "
            + ", ".join(PAIR_METHODS)
        )
    if at and source not in PAIR_SOURCES:
        raise ConfigError(f"unknown pairs {at + source!r} in {name!r}\nexpected '@random' or '@all'")
