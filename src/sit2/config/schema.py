"""The one configuration: the same names as command-line flags, YAML keys and Python arguments.

A setting is declared where it is used: by a room (images, confusion, training), by a method or by a predictor.
Here they are assembled; ``--image-size`` on the command line is ``image_size`` in YAML and in
``sit2.train(data, image_size=…)``. Every value is checked, wherever it comes from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sit2.config.presets import BALANCED, PRESETS_OF_SETTINGS
from sit2.config.recipe import AUTO, Recipe, with_controls
from sit2.confusion.settings import ConfusionSettings
from sit2.data.decoding.window import check_channels_from, depth_limits
from sit2.data.settings import DataSettings
from sit2.errors import ConfigError, did_you_mean, shown
from sit2.execution.executors import EXECUTORS
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import Predictor
from sit2.methods import METHODS
from sit2.methods.method import METHOD, Method
from sit2.parameters import Parameter, check_fields, one_declaration_each, parameter, parameters_of
from sit2.storage.untrusted import read_yaml
from sit2.trackers import TRACKERS
from sit2.training.settings import TrainingSettings

RUN = "run"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run is: its recipe and control, its seed, and where it computes."""

    preset: str = parameter(
        BALANCED,
        "quick (no training: a linear classifier on frozen features), balanced, or best (four trainings, larger "
        "images); single settings win over it",
        choices=tuple(PRESETS_OF_SETTINGS),
        topic=METHOD,
        basic=True,
    )
    method: str = parameter(
        "plain+tta+ensemble+temperature",
        "what to train, and what comes after: a method, or method[@pairs][*members][+predictor…]",
        value="RECIPE",
        topic=METHOD,
        basic=True,
    )
    control: str = parameter(
        AUTO,
        "what to compare it with: a recipe, auto (plain with the same predictors; nothing for plain and linear) or "
        "none",
        value="RECIPE",
        topic=METHOD,
        basic=True,
    )
    cv: int = parameter(
        0,
        "K folds instead of one held-out test: figures over all images, each classified by a network that was "
        "trained without it; what is kept is trained on all; 0: a held-out test",
        low=0,
        topic=METHOD,
        basic=True,
        value="K",
    )
    refit: bool = parameter(
        False,
        "after the evaluation, train what is kept once more on all labelled images, those of the test too",
        topic=METHOD,
    )
    seed: int = parameter(0, "root of all randomness", low=0, topic=RUN, basic=True)
    device: str = parameter("auto", "where to train", choices=("auto", "cpu", "cuda", "mps"), topic=RUN)
    executor: str = parameter(
        "joblib",
        "what runs several trainings: joblib (processes of this machine) or serial (one after the other)",
        choices=tuple(EXECUTORS),
        topic=RUN,
    )
    workers: int = parameter(0, "parallel trainings on a CPU; 0: one per core", low=0, topic=RUN)
    threads: int = parameter(1, "threads of each training on a CPU", low=1, topic=RUN)
    log: tuple[str, ...] = parameter(
        (),
        "trackers that the run is also logged to, with commas between: " + ", ".join(TRACKERS),
        choices=tuple(TRACKERS),
        topic=RUN,
        value="NAMES",
    )


# What methods and predictors declare, by name.
OWN: Mapping[str, Parameter] = MappingProxyType(
    one_declaration_each([*METHODS.values(), *PREDICTORS.values()])
)


@dataclass(frozen=True, kw_only=True)
class Config(RunSettings, DataSettings, TrainingSettings, ConfusionSettings):
    """Every setting of a run. Raises :class:`ConfigError` on a value that a setting cannot take."""

    own: Mapping[str, Any] = field(default_factory=dict)  # of methods and predictors; absent: the default

    def __post_init__(self) -> None:
        check_fields(self)
        if unknown := sorted(set(self.own) - set(OWN)):
            raise ConfigError(f"unknown setting {shown(unknown[0])}\n{did_you_mean(unknown[0], OWN)}")
        checked = {name: one.check(self.own.get(name, one.default)) for name, one in OWN.items()}
        object.__setattr__(self, "own", MappingProxyType(checked))
        for name in METHODS:  # some check more than each value by itself
            self.make_method(name)
        self.recipe.control(self.control)
        depth_limits(self.depth_window)
        check_channels_from(self.channels_from)
        self._check_folds()
        if self.val_fraction + self.test_fraction + self.calibration_fraction > 0.9:
            more = f", calibration_fraction {self.calibration_fraction}" if self.calibration_fraction else ""
            raise ConfigError(
                f"val_fraction {self.val_fraction} and test_fraction {self.test_fraction}{more} leave less "
                "than a tenth of the images for training\nexpected a sum of at most 0.9; lower one of them"
            )
        self.refuse_uncalibrated(self.recipe)

    def refuse_uncalibrated(self, recipe: Recipe) -> None:
        """Raise :class:`ConfigError` where no image is left that a recipe's predictors could be calibrated to."""
        if recipe.is_calibrated and self.refits:
            raise ConfigError(
                f"{recipe}: what cv and refit keep is trained on all images, so none is left to calibrate it\n"
                "leave out --cv and --refit, or the predictors that are calibrated"
            )
        if recipe.is_calibrated and self.early_stop and not self.calibration_fraction:
            raise ConfigError(
                f"{recipe}: with early_stop the validation images choose the network, so nothing can be "
                "promised by them\nkeep others with --calibration-fraction 0.1, or leave out --early-stop"
            )

    def _check_folds(self) -> None:
        """Raise :class:`ConfigError` where cross-validation is asked for that cannot be."""
        if self.cv == 1:
            raise ConfigError("cv is 1\nexpected at least 2 folds, or 0 for one held-out test")
        if self.cv and self.labels_per_class is not None:
            raise ConfigError(
                "labels_per_class keeps some of the training images, and cv is for using all of them\n"
                "leave out one of the two"
            )
        if self.cv and self.calibration_fraction:
            raise ConfigError(
                f"calibration_fraction is {self.calibration_fraction}, and cv lets every image be trained on\n"
                "expected one of the two; leave out --cv or --calibration-fraction"
            )

    @property
    def split_root(self) -> int:
        """Return the root of what is chance in the data: the splits, and which labels are kept."""
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def refits(self) -> bool:
        """Whether the models that are kept are trained on all images, after others were evaluated."""
        return self.refit or self.cv > 0

    def __reduce__(self) -> Any:  # a read-only view cannot be sent to another process
        return make_config, (self.as_dict(),)

    @cached_property
    def recipe(self) -> Recipe:
        """Return what to train."""
        return Recipe.parse(self.method)

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """Return what a run trains: the control first, where there is one, then the recipe.

        Before both stands the linear classifier on frozen features, where there are some: what no training
        at all reaches.
        """
        named = with_controls([self.recipe], self.control)
        if not self.has_frozen_features or self.recipe.method == self.recipe.reference.method:
            return named
        return tuple(dict.fromkeys((self.recipe.reference, *named)))

    def make_method(self, name: str) -> Method:
        """Return a method with the settings of this configuration."""
        return METHODS[name](**self._own_of(METHODS[name]))

    def make_predictors(self, names: tuple[str, ...]) -> tuple[Predictor, ...]:
        """Return predictors with the settings of this configuration, not yet fitted."""
        return tuple(PREDICTORS[name](**self._own_of(PREDICTORS[name])) for name in names)

    def _own_of(self, owner: type) -> dict[str, Any]:
        return {one.name: self.own[one.name] for one in parameters_of(owner)}

    def as_dict(self) -> dict[str, Any]:
        """Return every setting by name, as YAML can write it."""
        plain: dict[str, Any] = {}
        for name in SETTINGS:
            value = self.own[name] if name in OWN else getattr(self, name)
            values = [
                str(v) if isinstance(v, Path) else v
                for v in (value if isinstance(value, tuple) else (value,))
            ]
            plain[name] = values if isinstance(value, tuple) else values[0]
        return plain


SETTINGS: Mapping[str, Parameter] = MappingProxyType(
    {one.name: one for one in parameters_of(Config)} | dict(OWN)
)  # every setting that there is


def make_config(*sources: Mapping[str, Any]) -> Config:
    """Merge settings by name, later sources winning, and check them.

    Raises:
        ConfigError: for an unknown name or a value that a setting cannot take.
    """
    merged: dict[str, Any] = {}
    for source in sources:
        for raw, value in source.items():
            name = str(raw).replace("-", "_")
            if name not in SETTINGS:
                raise ConfigError(f"unknown setting {shown(raw)}\n{did_you_mean(name, SETTINGS)}")
            merged[name] = value
    merged = {**PRESETS_OF_SETTINGS.get(str(merged.get("preset", BALANCED)), {}), **merged}
    own = {name: merged.pop(name) for name in list(merged) if name in OWN}
    return Config(**merged, own=own)


def changed(config: Config, **settings: Any) -> Config:
    """Return a configuration with other settings."""
    return make_config(config.as_dict(), settings)


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


_FIELDS = {f.name for f in dataclasses.fields(Config)}
if wrong := _FIELDS & set(OWN):  # a method's setting may not take the name of a general one
    raise ValueError(f"declared twice: {', '.join(sorted(wrong))}")
