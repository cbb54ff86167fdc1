"""A classifier that needs no training: ridge regression on a kernel between random features of images.

It orders the pairs of classes nearly as the out-of-fold probabilities of trained networks do, in about a
hundredth of the time (docs/experiments.md, 2026-11-23).

Letters: N samples, K classes, C×H×W image, M landmarks, D features of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sit2.features.random_features import REGIONS, Flip, RandomFeatures, flips_of, scaled
from sit2.features.ridge import Ridge, fit_ridge
from sit2.records import ByteArray, FloatArray, IntArray
from sit2.seeds import Seeds

LANDMARKS = 1000  # columns of the kernel; up to this many samples nothing is approximated
COLOUR_WEIGHT = 0.5  # of colours beside filter responses
_BATCH = {"cpu": 16}  # so that the responses stay in the processor's cache; elsewhere:
_LARGE_BATCH = 512

Progress = Callable[[float, str], None]  # (fraction done, a few words)


def closed_form_probabilities(
    images: ByteArray,
    labels: IntArray,
    num_classes: int,
    *,
    rows: IntArray | None = None,
    groups: Sequence[str] = (),
    mirror: bool = False,
    dihedral: bool = False,
    seeds: Seeds,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> FloatArray:
    """Return (N, K) float64 probabilities, each row from a classifier that did not see its sample's label.

    Nor the labels of its group, where there are groups. Arguments as of :func:`fit_closed_form`.
    """
    return fit_closed_form(
        images,
        labels,
        num_classes,
        rows=rows,
        groups=groups,
        mirror=mirror,
        dihedral=dihedral,
        seeds=seeds,
        device=device,
        progress=progress,
    )[1]


def fit_closed_form(
    images: ByteArray,
    labels: IntArray,
    num_classes: int,
    *,
    rows: IntArray | None = None,
    groups: Sequence[str] = (),
    mirror: bool = False,
    dihedral: bool = False,
    seeds: Seeds,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> tuple[ClosedForm, FloatArray]:
    """Return the classifier of all samples, for other images, and its left-out probabilities of these.

    Args:
        images: (L, C, H, W) uint8.
        labels: (N,) in [0, K).
        num_classes: K.
        rows: (N,) in [0, L), the images that count; None: all.
        groups: N names of patients, slides, …; empty where there are none.
        mirror: whether a mirrored image is as good.
        dihedral: whether an image turned upside down, mirrored or both is as good.
        seeds: draws the filters and the landmarks.
        device: where to compute.
        progress: called now and then with the fraction done and a few words.

    Raises:
        DataError: all samples are of one group.
    """
    flips = flips_of(mirror=mirror, dihedral=dihedral)
    rows = np.arange(len(images)) if rows is None else rows
    kernel, root, columns = kernel_columns(
        images, rows, flips, seeds, device=torch.device(device), progress=progress
    )
    ridge, probabilities = fit_ridge(columns, labels, num_classes, groups=groups)
    return ClosedForm(kernel, Ridge(root @ ridge.slope, ridge.offset)), probabilities


@dataclass(frozen=True)
class Kernel:
    """The Gaussian kernel between images and landmarks, averaged over all flips of an image."""

    features: RandomFeatures
    marks: Tensor  # (M, D) float32: the landmarks' features
    width: Tensor  # () float32: the squared distance at which the kernel is 1/e
    _centre: Tensor = field(init=False, repr=False)  # (D,)
    _spread: Tensor = field(init=False, repr=False)  # (D,)
    _weight: Tensor = field(init=False, repr=False)  # (D,)
    _known: list[Tensor] = field(init=False, repr=False)  # (M, D), one for every flip

    def __post_init__(self) -> None:
        marks, colours = self.marks, self.features.colours
        weight = torch.ones(marks.shape[1], device=marks.device)
        weight[:-colours] /= (len(weight) - colours) ** 0.5
        weight[-colours:] *= COLOUR_WEIGHT / colours**0.5
        object.__setattr__(self, "_centre", marks.mean(dim=0))
        object.__setattr__(self, "_spread", marks.std(dim=0, correction=0) + 1e-3)
        object.__setattr__(self, "_weight", weight)
        object.__setattr__(self, "_known", [self._normal(one) for one in self.features.flipped(marks)])

    @classmethod
    def of(cls, features: RandomFeatures, marks: Tensor) -> Kernel:
        """Make a kernel as wide as the median distance between two landmarks."""
        kernel = cls(features, marks, torch.ones((), device=marks.device))
        distances = torch.cdist(kernel._known[0], kernel._known[0]).square()
        if not bool((distances > 0).any()):
            return kernel
        return cls(features, marks, distances[distances > 0].median())

    def __call__(self, features: Tensor) -> Tensor:
        """(n, D) float32 features of images → (n, M) float64 in [0, 1]."""
        normal = self._normal(features)
        mode = "use_mm_for_euclid_dist"  # as with many images: the other way, for few, is not known to ONNX
        parts = [
            torch.exp(-torch.cdist(normal, other, compute_mode=mode).square() / self.width)
            for other in self._known
        ]
        return torch.stack(parts).mean(dim=0).double()

    def _normal(self, features: Tensor) -> Tensor:
        return (features - self._centre) / self._spread * self._weight


@dataclass(frozen=True)
class ClosedForm:
    """The closed-form classifier, for images that it was not made from."""

    kernel: Kernel
    ridge: Ridge  # on the kernel's M columns

    def __call__(self, images: Tensor) -> Tensor:
        """(n, C, H, W) float32 in [0, 1] → (n, K) float64 log-probabilities."""
        return self.scores(images).log_softmax(dim=1)

    def scores(self, images: Tensor) -> Tensor:
        """(n, C, H, W) float32 in [0, 1] → (n, K) float64, before the softmax."""
        return self.ridge.scores(self.kernel(self.kernel.features(scaled(images))))

    def state(self) -> dict[str, Tensor]:
        """Return all that it is made of, as tensors."""
        features = self.kernel.features
        return {
            "filters": features.filters,
            "bias": features.bias,
            "marks": self.kernel.marks,
            "width": self.kernel.width,
            "slope": self.ridge.slope,
            "offset": self.ridge.offset,
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], *, channels: int, num_classes: int, mirror: bool, dihedral: bool
    ) -> ClosedForm:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        flips = flips_of(mirror=mirror, dihedral=dihedral)
        try:
            filters, marks = state["filters"], state["marks"]
            count, side = len(filters), filters.shape[-1]
            shapes = {
                "filters": (count, channels, side, side),
                "bias": (count,),
                "marks": (len(marks), 2 * (count + channels) * REGIONS**2),
                "width": (),
                "slope": (len(marks), num_classes),
                "offset": (num_classes,),
            }
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"the closed-form classifier lacks {error}") from None
        doubles = ("slope", "offset")
        for name, shape in shapes.items():
            dtype = torch.float64 if name in doubles else torch.float32
            tensor = state.get(name)
            if tensor is None or tensor.shape != shape or tensor.dtype != dtype or not tensor.numel():
                raise ValueError(f"the closed-form classifier's {name} is not {shape} {dtype}")
            if not bool(tensor.isfinite().all()):
                raise ValueError(f"the closed-form classifier's {name} is not finite")
        if count % len(flips) or not 0 < side <= 16 or not state["width"] > 0:
            raise ValueError("the closed-form classifier's filters or width cannot be")
        features = RandomFeatures(filters.contiguous(memory_format=torch.channels_last), state["bias"], flips)
        return cls(Kernel(features, marks, state["width"]), Ridge(state["slope"], state["offset"]))


def kernel_columns(
    images: ByteArray,
    source: IntArray,
    flips: Sequence[Flip],
    seeds: Seeds,
    *,
    device: torch.device,
    progress: Progress | None = None,
) -> tuple[Kernel, Tensor, Tensor]:
    """Return the kernel, its root (M, M) float64 and (N, M) float32 Z, with Z Zᵀ the kernel between samples.

    With more samples than landmarks it is Nyström's approximation (Williams & Seeger, 2001).
    """
    generator = torch.Generator().manual_seed(seeds.integer("closed form"))
    picked = torch.randperm(len(source), generator=generator)[:LANDMARKS]
    rows = picked.sort().values.numpy()
    marks = _pixels(images, source[rows], device)
    features = RandomFeatures.of(marks, flips, generator)
    batch_size = _BATCH.get(device.type, _LARGE_BATCH)
    kernel = Kernel.of(features, torch.cat([features(part) for part in torch.split(marks, batch_size)]))
    between = kernel(kernel.marks)
    values, vectors = torch.linalg.eigh((between + between.T) / 2)
    root = vectors * values.clamp(min=1e-6 * float(values[-1])).rsqrt()
    columns = torch.empty(len(source), len(root), device=device)
    columns[rows] = (between @ root).float()
    others = np.setdiff1d(np.arange(len(source)), rows)
    for batch in np.array_split(others, -(-len(others) // batch_size)) if len(others) else ():
        columns[batch] = (kernel(features(_pixels(images, source[batch], device))) @ root).float()
        if progress is not None:
            progress((len(rows) + int(batch[-1])) / (len(rows) + len(source)), "")
    return kernel, root, columns


def _pixels(images: ByteArray, rows: IntArray, device: torch.device) -> Tensor:
    """(L, C, H, W) uint8 → (n, C, S, S) float32 in [0, 1]."""
    pixels = torch.from_numpy(images[rows].transpose(0, 2, 3, 1).copy()).to(device)
    return scaled(pixels.permute(0, 3, 1, 2).float() / 255)
