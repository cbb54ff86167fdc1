"""A linear classifier on the frozen features of a trained network, in closed form: seconds instead of minutes.

Features are computed once for every image, and kept; then everything is linear algebra, what the classifier says
of each image without that image's label too.

Letters: N samples, K classes, D features, C×H×W image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sit2.features.ridge import Columns, fit_ridge
from sit2.records import ByteArray, FloatArray, IntArray
from sit2.storage.files import atomic

BATCH = 64  # images at once

Progress = Callable[[float, str], None]  # (fraction done, a few words)


@dataclass(frozen=True)
class Extractor:
    """What turns images into features: a trained network without its head."""

    encoder: nn.Module  # normalised (n, C, H, W) → (n, D)
    mean: tuple[float, ...]  # C
    std: tuple[float, ...]  # C
    mirror: bool = False  # features are the mean of an image's and its mirror image's

    def __call__(self, images: Tensor) -> Tensor:
        """(n, C, H, W) float32 in [0, 1] → (n, D) float32."""
        mean, std = images.new_tensor(self.mean), images.new_tensor(self.std)
        normal = ((images - mean[:, None, None]) / std[:, None, None]).contiguous(
            memory_format=torch.channels_last
        )
        features: Tensor = self.encoder(normal)
        if self.mirror:
            features = (features + self.encoder(normal.flip(3))) / 2
        return features

    @torch.inference_mode()
    def extract(self, images: ByteArray, rows: IntArray, *, progress: Progress | None = None) -> FloatArray:
        """Return (N, D) float32 features of the images ``rows`` of (M, C, H, W) uint8."""
        self.encoder.eval()
        device, parts = next(self.encoder.parameters()).device, []
        for start in range(0, len(rows), BATCH):
            pixels = torch.from_numpy(np.ascontiguousarray(images[rows[start : start + BATCH]]))
            parts.append(self(pixels.to(device).float() / 255).cpu().numpy())
            if progress is not None:
                done = min(start + BATCH, len(rows))
                progress(done / len(rows), f"{done:,} of {len(rows):,}")
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class FeatureStore:
    """Features of some images of a pixel store. It travels to another process as the path of its file."""

    rows: IntArray  # (N,) which images they are of, ascending
    values: FloatArray  # (N, D) float32
    path: Path | None = None

    @classmethod
    def kept(cls, path: Path, rows: IntArray, make: Callable[[IntArray], FloatArray]) -> FeatureStore:
        """Return those of the images ``rows``: from the file, or made now and written there."""
        rows = np.unique(rows)
        try:
            values: FloatArray = np.load(path, mmap_mode="r", allow_pickle=False)
            if values.ndim == 2 and len(values) == len(rows):
                return cls(rows, values, path)
        except (OSError, ValueError, EOFError):
            pass  # there is none, or it is damaged
        path.parent.mkdir(parents=True, exist_ok=True)
        values = make(rows)
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, values)
        return cls(rows, values, path)

    def of(self, rows: IntArray) -> Tensor:
        """Return (n, D) float32 features of the images ``rows``, which must be among them."""
        index = np.searchsorted(self.rows, rows)
        if len(self.rows) == 0 or (self.rows[np.minimum(index, len(self.rows) - 1)] != rows).any():
            raise KeyError("features of other images")
        return torch.from_numpy(np.array(self.values[index]))

    def __getstate__(self) -> dict[str, Any]:
        if self.path is None:
            raise ValueError("features that are in no file cannot be sent to another process")
        return {"rows": self.rows, "path": self.path}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        object.__setattr__(self, "values", np.load(state["path"], mmap_mode="r", allow_pickle=False))
        for name, value in state.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Linear:
    """Class scores that are linear in features as they are: a network's head."""

    weight: Tensor  # (K, D) float64
    bias: Tensor  # (K,) float64

    def __call__(self, features: Tensor) -> Tensor:
        """(n, D) → (n, K) float64 log-probabilities."""
        return (features.double() @ self.weight.T + self.bias).log_softmax(dim=1)


def fit_linear(
    features: Tensor, labels: IntArray, num_classes: int, *, groups: Sequence[str] = ()
) -> tuple[Linear, FloatArray]:
    """Fit ridge regression on standardised features, penalty and temperature by left-out log-loss.

    Args:
        features: (N, D) float32.
        labels: (N,) in [0, K).
        num_classes: K.
        groups: N names of what must be left out together, or none.

    Returns:
        The classifier of all samples, and (N, K) float64 probabilities, each row from a classifier that did not
        see its sample's label, nor those of its group.

    Raises:
        DataError: all samples are of one group.
    """
    if len(features) < features.shape[1]:
        # With fewer samples than features nothing is lost in the space that the samples span.
        columns = Columns.of(features, scaled=True)
        normal = columns()
        root, vectors = torch.linalg.eigh(normal @ normal.T)
        keep = root > 1e-9 * root[-1].clamp(min=1e-12)
        basis = normal.T @ (vectors[:, keep] / root[keep].sqrt())  # (D, rank), orthonormal
        ridge, left_out = fit_ridge(normal @ basis, labels, num_classes, groups=groups)
        weight = (basis @ ridge.slope / columns.scale[:, None]).T
        return Linear(weight, -ridge.offset - weight @ columns.middle), left_out
    ridge, left_out = fit_ridge(features, labels, num_classes, groups=groups, scaled=True)
    return Linear(ridge.slope.T, -ridge.offset), left_out


@dataclass(frozen=True)
class FrozenClassifier:
    """From images to log-probabilities: frozen features, and what is linear in them."""

    extractor: Extractor
    linear: Linear

    def __call__(self, images: Tensor) -> Tensor:
        """(n, C, H, W) float32 in [0, 1] → (n, K) float64 log-probabilities."""
        return self.scores(images).log_softmax(dim=1)

    def scores(self, images: Tensor) -> Tensor:
        """(n, C, H, W) float32 in [0, 1] → (n, K) float64, before the softmax."""
        features = self.extractor(images)
        weight, bias = (t.to(features.device, torch.float32) for t in (self.linear.weight, self.linear.bias))
        # In this order: not every accelerator has float64.
        return (features @ weight.T + bias).cpu().double()

    def state(self) -> dict[str, Tensor]:
        """Return all that it is made of, as tensors."""
        encoder = {f"encoder.{name}": value for name, value in self.extractor.encoder.state_dict().items()}
        numbers = {"mean": self.extractor.mean, "std": self.extractor.std}
        return {
            "weight": self.linear.weight,
            "bias": self.linear.bias,
            **{name: torch.tensor(values, dtype=torch.float64) for name, values in numbers.items()},
            **encoder,
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], encoder: nn.Module, num_classes: int, *, mirror: bool
    ) -> Self:
        """Put together what :meth:`state` took apart, with an encoder of the same kind.

        Raises:
            ValueError: what does not fit.
            RuntimeError: the encoder is of another kind.
        """
        given = {name.removeprefix("encoder."): v for name, v in state.items() if name.startswith("encoder.")}
        encoder.load_state_dict(given)
        parts = {name: state.get(name) for name in ("weight", "bias", "mean", "std")}
        if any(part is None or not _finite(part) for part in parts.values()):
            raise ValueError("the classifier on frozen features lacks a part")
        weight, bias, mean, std = (part for part in parts.values() if part is not None)
        if weight.shape != (num_classes, encoder.num_features) or bias.shape != (num_classes,):
            raise ValueError("the classifier on frozen features is of other classes or features")
        if mean.shape != std.shape or mean.ndim != 1 or not (std > 0).all():
            raise ValueError("the classifier on frozen features has a mean or deviation that cannot be")
        extractor = Extractor(encoder.eval(), tuple(mean.tolist()), tuple(std.tolist()), mirror)
        return cls(extractor, Linear(weight.double(), bias.double()))


def _finite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.isfinite().all())
