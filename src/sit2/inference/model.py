"""A trained model: its network, its classes, and how an image is prepared for it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from sit2.data.decoding.image import MAX_MEGAPIXELS, Decoding
from sit2.data.decoding.window import depth_limits
from sit2.errors import ConfigError, ModelError, Sit2Error
from sit2.inference.second_look import SecondLook
from sit2.records import ByteArray, FloatArray, IntArray
from sit2.storage.files import atomic
from sit2.storage.untrusted import read_json, shown, to_json
from sit2.training.backbones import Network, build_network
from sit2.training.feed import Normalisation

FORMAT_VERSION = 1
SECOND_LOOK_VERSION = 2  # of a model that looks twice: an older sit2 would read it, and look once
MOST_PIXELS = 1024  # on a side: what --image-size allows
RESIZES = ("stretch", "crop", "pad")
PREDICT_BATCH = 64  # always this many: the last batch is filled up, so a result never depends on its company


@dataclass(frozen=True)
class ModelSpec:
    """Everything but the weights; ``model.json`` holds exactly this."""

    backbone: str
    classes: tuple[str, ...]
    channels: int
    image_size: int
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    method: str
    depth_window: str = "full"  # this and the next two: models of before they were settings lack them
    background: str = "white"
    max_megapixels: int = MAX_MEGAPIXELS
    second_look: bool = False

    def preprocessing(self) -> dict[str, Any]:
        """Return what turns an image into the network's input, by name."""
        return {name: getattr(self, name) for name in _PREPROCESSING}

    def build(self, *, seed: int = 0) -> Network:
        """Build the network, with initial weights."""
        return build_network(
            self.backbone,
            channels=self.channels,
            image_size=self.image_size,
            outputs=len(self.classes),
            seed=seed,
        )


@dataclass(frozen=True)
class Classifier:
    """A network that gives the probabilities of named classes, and may look twice."""

    spec: ModelSpec
    network: Network
    second_look: SecondLook | None = None

    def predict_proba(self, images: ByteArray, rows: IntArray | None = None) -> FloatArray:
        """Return class probabilities of the N images ``rows`` (all if None).

        Args:
            images: (M, C, H, W) uint8, decoded with the spec's size, channels and resize mode.
            rows: (N,) int64 in [0, M).

        Returns:
            (N, K) float64; rows sum to 1. Computed in float32, whatever precision trained the network.
        """
        rows = np.arange(len(images), dtype=np.int64) if rows is None else rows
        out = np.empty((len(rows), len(self.spec.classes)))
        start = 0
        for batch, count in self._batches(images, rows):
            out[start : start + count] = self.answer(batch)[:count].numpy()
            start += count
        return out

    def fit_second_look(self, images: ByteArray, rows: IntArray, labels: IntArray) -> Classifier:
        """Return the classifier with its second look fitted to N images ``rows`` that nothing was trained on.

        ``labels`` are theirs, (N,) in [0, K). See :meth:`SecondLook.fitted`.
        """
        if self.second_look is None or not len(rows):
            return self
        with torch.inference_mode():
            self.network.eval()
            batches = [
                [answer[:count] for answer in self.second_look.asked(batch, self._log_probabilities)]
                for batch, count in self._batches(images, rows)
            ]
            first, mean, other = (torch.cat(answers) for answers in zip(*batches, strict=True))
            fitted = self.second_look.fitted((first, mean, other), torch.from_numpy(labels.astype(np.int64)))
        return replace(self, second_look=fitted)

    def _batches(self, images: ByteArray, rows: IntArray) -> Iterator[tuple[Tensor, int]]:
        """Yield (PREDICT_BATCH, C, H, W) float32 in [0, 1], and how many of its images are of ``rows``."""
        device = next(self.network.parameters()).device
        for start in range(0, len(rows), PREDICT_BATCH):
            part = images[rows[start : start + PREDICT_BATCH]]
            batch = torch.zeros(PREDICT_BATCH, *images.shape[1:], device=device)
            batch[: len(part)] = torch.from_numpy(np.ascontiguousarray(part)).to(device).float() / 255
            yield batch, len(part)

    @torch.inference_mode()
    def answer(self, pixels: Tensor) -> Tensor:
        """Return probabilities (n, K) float64, on the CPU, of (n, C, H, W) float32 in [0, 1]."""
        self.network.eval()
        if self.second_look is None:
            return self._logits(pixels).softmax(dim=1)
        return self.second_look(pixels, self._log_probabilities).exp()

    def _logits(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.network(self.prepare(pixels))
        return scores.cpu().double()  # in this order: not every accelerator has float64

    def _log_probabilities(self, pixels: Tensor) -> Tensor:
        return self._logits(pixels).log_softmax(dim=1)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Return what the network is given of (n, C, H, W) float32 in [0, 1]."""
        normalise = Normalisation(self.spec.mean, self.spec.std)
        return normalise(pixels).contiguous(memory_format=torch.channels_last)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``model.json`` into a folder, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        state = dict(self.network.state_dict())
        if self.second_look is not None:
            state |= {_SECOND_LOOK + k: v for k, v in self.second_look.state().items()}
        state = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        with atomic(folder / "model.safetensors") as path:
            path.write_bytes(to_bytes(state))
        rest = {k: v for k, v in dataclasses.asdict(self.spec).items() if k not in _PREPROCESSING}
        if not rest["second_look"]:
            del rest["second_look"]
        version = SECOND_LOOK_VERSION if self.spec.second_look else FORMAT_VERSION
        content = {"format_version": version, **rest, "preprocessing": self.spec.preprocessing()}
        with atomic(folder / "model.json") as path:
            path.write_text(to_json(content) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read a model folder, or a run folder that holds one. No code from it is executed.

        Raises:
            ModelError: when there is no model, or it is damaged, or another version wrote it.
        """
        folder = find_model(folder)
        spec = read_spec(folder / "model.json")
        try:
            network, state = spec.build(), load_file(folder / "model.safetensors")
            looked = {
                k.removeprefix(_SECOND_LOOK): state.pop(k) for k in list(state) if k.startswith(_SECOND_LOOK)
            }
            network.load_state_dict(state)
            second_look = None
            if spec.second_look:
                shape = {"channels": spec.channels, "num_classes": len(spec.classes)}
                second_look = SecondLook.restore(looked, **shape)
        except (OSError, RuntimeError, ValueError, SafetensorError, Sit2Error) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ModelError(f"the weights in {folder} cannot be loaded: {reason}") from None
        return cls(spec, network.eval(), second_look)


_SECOND_LOOK = "second_look."  # in front of its tensors' names
_PREPROCESSING = (
    "channels",
    "image_size",
    "resize",
    "depth_window",
    "background",
    "max_megapixels",
    "mean",
    "std",
)


def find_model(folder: Path) -> Path:
    """Return the folder that holds model.json: ``folder`` itself or its ``model``."""
    for candidate in (folder, folder / "model"):
        if (candidate / "model.json").is_file():
            return candidate
    what = f"no such folder: {folder}" if not folder.exists() else f"there is no model.json in {folder}"
    raise ModelError(f"{what}\nexpected a run folder that `sit2 train` finished, or its model folder")


def read_spec(path: Path) -> ModelSpec:
    """Read and check a model.json. Raises :class:`ModelError` for anything that is not one."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}\ntrain again, or restore the file") from None
    version = content.get("format_version")
    if version not in (FORMAT_VERSION, SECOND_LOOK_VERSION):
        raise ModelError(
            f"{path} has format version {shown(version)}\n"
            f"this sit2 reads versions {FORMAT_VERSION} and {SECOND_LOOK_VERSION}; train again"
        )
    try:
        flat = {k: v for k, v in content.items() if k not in ("format_version", "preprocessing")}
        return make_spec({**flat, **content["preprocessing"]})
    except (TypeError, ValueError, KeyError, ConfigError) as error:
        raise ModelError(f"{path} is damaged: {error}\ntrain again, or restore the file") from None


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
    if spec.resize not in RESIZES:
        raise ValueError(f"resize must be one of {', '.join(RESIZES)}")
    if not all(_is_number(n) for n in (*spec.mean, *spec.std)):
        raise ValueError("mean and std must be numbers")
    if not (all(0 <= n <= 1 for n in spec.mean) and all(0 < n <= 1 for n in spec.std)):
        raise ValueError("mean must lie between 0 and 1, and so must std, which cannot be 0")
    if type(spec.channels) is not int or spec.channels not in (1, 3):
        raise ValueError(_CHANNELS)
    if len(spec.mean) != spec.channels or len(spec.std) != spec.channels:
        raise ValueError(_CHANNELS)
    if type(spec.image_size) is not int or not 1 <= spec.image_size <= MOST_PIXELS:
        raise ValueError(f"image_size must be a whole number up to {MOST_PIXELS}")
    if type(spec.second_look) is not bool:
        raise ValueError("second_look must be true or false")
    if type(spec.max_megapixels) is not int or spec.max_megapixels < 1:
        raise ValueError("max_megapixels must be a whole number above 0")
    depth_limits(spec.depth_window)
    Decoding.of(spec, channels=spec.channels)
    return spec


def _texts(spec: ModelSpec) -> tuple[str, ...]:
    return spec.backbone, spec.resize, spec.depth_window, spec.background, spec.method


_CHANNELS = "channels must be 1 or 3, with as many means and deviations"


def _is_number(value: object) -> bool:
    """Say whether a value of JSON is a finite number; NaN, true and 10^400 are not."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 1 << 53)
