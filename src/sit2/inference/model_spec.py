"""Everything of a model but its weights: what ``model.json`` holds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sit2.data.decoding.image import MAX_MEGAPIXELS, RESIZES, Decoding
from sit2.data.decoding.window import check_channels_from, depth_limits
from sit2.errors import ConfigError, ModelError, shown
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import Predictor
from sit2.parameters import parameters_of
from sit2.storage.files import atomic
from sit2.storage.untrusted import read_json, to_json
from sit2.training.augmentations import PRESETS, Augmentation

FORMAT_VERSION = 3  # 3: predictors; those before were never released
LEAST_PIXELS, MOST_PIXELS = 8, 1024  # on a side: what --image-size allows
MOST_MEMBERS = 64
PREPROCESSING = (
    "channels",
    "image_size",
    "resize",
    "depth_window",
    "background",
    "max_megapixels",
    "channels_from",
    "mean",
    "std",
)


@dataclass(frozen=True)
class ModelSpec:
    """Everything but the weights; ``model.json`` holds exactly this."""

    recipe: str  # method, pairs, members and predictors, as it was asked for
    backbone: str
    classes: tuple[str, ...]
    channels: int
    image_size: int
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: str  # the preset of augmentation: it says which views of an image are as good
    depth_window: str = "full"
    background: str = "white"
    max_megapixels: int = MAX_MEGAPIXELS
    channels_from: tuple[int, ...] = ()  # which channels of an image file become the image; none: as they are
    weights: str = ""  # what its encoder started from; "": chance
    weights_digest: str = ""
    stages: bool = False  # whether its head sees features of several depths
    figures: str = ""  # whose the figures of its run are, where another model was evaluated than this one
    layout: str = ""  # how labels were found in folders; "" where they came from elsewhere
    networks: int = 1  # whose answers are averaged
    predictors: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=())  # (name, settings) in order

    @property
    def augmentation(self) -> Augmentation:
        """Return what the preset means."""
        return PRESETS[self.augment]

    def preprocessing(self) -> dict[str, Any]:
        """Return what turns an image into the network's input, by name."""
        return {name: getattr(self, name) for name in PREPROCESSING}

    def save(self, path: Path) -> None:
        """Write model.json."""
        rest = {k: v for k, v in dataclasses.asdict(self).items() if k not in PREPROCESSING}
        rest["predictors"] = [{"name": name, "settings": dict(given)} for name, given in self.predictors]
        content = {"format_version": FORMAT_VERSION, **rest, "preprocessing": self.preprocessing()}
        with atomic(path) as temporary:
            temporary.write_text(to_json(content) + "\n", encoding="utf-8")


def described(predictor: Predictor) -> tuple[str, dict[str, Any]]:
    """Return the name of a predictor and its settings."""
    name = next(name for name, kind in PREDICTORS.items() if type(predictor) is kind)
    return name, {one.name: getattr(predictor, one.name) for one in parameters_of(type(predictor))}


EXPORTED = ".onnx"  # the suffix of a model that was exported


def find_model(folder: Path) -> Path:
    """Return the folder that holds model.json: ``folder`` itself or its ``model``."""
    for candidate in (folder, folder / "model"):
        if (candidate / "model.json").is_file():
            return candidate
    if folder.suffix == EXPORTED and folder.is_file():
        raise ModelError(
            f"{folder} is an exported model, which only `sit2 predict` takes\n"
            "expected the run that it was exported from"
        )
    if (exported := folder / f"model{EXPORTED}").is_file():
        raise ModelError(
            f"{folder} holds an exported model alone, which only `sit2 predict` takes\n"
            f"expected a run folder; or, to predict, --model {exported}"
        )
    what = f"no such folder: {folder}" if not folder.exists() else f"there is no model.json in {folder}"
    raise ModelError(f"{what}\nexpected a run folder that `sit2 train` finished, or its model folder")


def read_spec(path: Path) -> ModelSpec:
    """Read and check a model.json. Raises :class:`ModelError` for anything that is not one."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}\ntrain again, or restore the file") from None
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {shown(version)}, and this sit2 reads version {FORMAT_VERSION} only: "
            "train again"
        )
    try:
        flat = {k: v for k, v in content.items() if k not in ("format_version", "preprocessing")}
        flat["predictors"] = tuple(
            (str(one["name"]), _settings(one["name"], one["settings"])) for one in flat["predictors"]
        )
        _check_order([name for name, _ in flat["predictors"]])
        spec = make_spec({**flat, **content["preprocessing"]})
        _check_recipe(spec)
        return spec
    except (TypeError, ValueError, KeyError, AttributeError, ConfigError) as error:
        raise ModelError(f"{path} is damaged: {error}\ntrain again, or restore the file") from None


def _settings(name: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check a predictor's settings. Raises ValueError or ConfigError for what it cannot have."""
    if name not in PREDICTORS:
        raise ValueError(f"unknown predictor {shown(name)}")
    known = {one.name: one for one in parameters_of(PREDICTORS[name])}
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"the predictor {name} has no setting {shown(unknown[0])}")
    return {setting: known[setting].check(value) for setting, value in given.items()}


def _check_order(names: list[str]) -> None:
    """Raise ValueError for predictors that no recipe has: one twice, or in another order than that of stages."""
    stages = [PREDICTORS[name].stage for name in names]
    if len(set(names)) < len(names) or stages != sorted(stages):
        raise ValueError("its predictors stand twice, or in an order that cannot be")


def _check_recipe(spec: ModelSpec) -> None:
    """Raise ValueError for a recipe that names other predictors than the file holds."""
    own = [name for name, _ in spec.predictors]
    if spec.recipe.split("+")[1:] != own:
        raise ValueError(
            f"its recipe is {shown(spec.recipe)}, but its predictors are: {', '.join(own) or 'none'}"
        )


def make_spec(fields: dict[str, Any]) -> ModelSpec:
    """Return a spec from JSON's values. Raises TypeError or ValueError for any that a model cannot have."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    spec = ModelSpec(**values)
    if not isinstance(spec.classes, tuple) or len(set(map(str, spec.classes))) < max(2, len(spec.classes)):
        raise ValueError("classes must be two or more different names")
    if not isinstance(spec.mean, tuple) or not isinstance(spec.std, tuple):
        raise ValueError("mean and std must be lists of numbers")
    if not all(isinstance(text, str) for text in (*_texts(spec), *spec.classes)):
        raise ValueError("a name is not a text")
    if type(spec.stages) is not bool:
        raise ValueError("stages must be true or false")
    if spec.resize not in RESIZES:
        raise ValueError(f"resize must be one of {', '.join(RESIZES)}")
    if spec.augment not in PRESETS:
        raise ValueError(f"augment must be one of {', '.join(PRESETS)}")
    if not all(_is_number(n) for n in (*spec.mean, *spec.std)):
        raise ValueError("mean and std must be numbers")
    if not (all(0 <= n <= 1 for n in spec.mean) and all(0 < n <= 1 for n in spec.std)):
        raise ValueError("mean must lie between 0 and 1, and so must std, which cannot be 0")
    known = type(spec.channels) is int and spec.channels in (1, 3)
    if not known or len(spec.mean) != spec.channels or len(spec.std) != spec.channels:
        raise ValueError(_CHANNELS)
    if type(spec.image_size) is not int or not LEAST_PIXELS <= spec.image_size <= MOST_PIXELS:
        raise ValueError(f"image_size must be a whole number from {LEAST_PIXELS} to {MOST_PIXELS}")
    if type(spec.networks) is not int or not 1 <= spec.networks <= MOST_MEMBERS:
        raise ValueError(f"networks must be a whole number up to {MOST_MEMBERS}")
    if type(spec.max_megapixels) is not int or spec.max_megapixels < 1:
        raise ValueError("max_megapixels must be a whole number above 0")
    depth_limits(spec.depth_window)
    _check_channels_from(spec.channels_from)
    Decoding.of(spec, channels=spec.channels)
    return spec


def _texts(spec: ModelSpec) -> tuple[str, ...]:
    return (
        spec.recipe,
        spec.backbone,
        spec.resize,
        spec.depth_window,
        spec.background,
        spec.layout,
        spec.figures,
        spec.weights,
    )


def _check_channels_from(chosen: object) -> None:
    if not isinstance(chosen, tuple) or not all(type(n) is int and n >= 0 for n in chosen):
        raise ValueError("channels_from must be a list of whole numbers from 0")
    check_channels_from(chosen)


_CHANNELS = "channels must be 1 or 3, with as many means and deviations"


def _is_number(value: object) -> bool:
    """Say whether a value of JSON is a finite number; NaN, true and 10^400 are not."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 1 << 53)
