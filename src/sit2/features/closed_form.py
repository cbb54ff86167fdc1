"""The confusion of a classifier that needs no training: closed form, left out sample by sample.

Random convolutional features (``eye.py``) go into kernel ridge regression, whose leave-one-out predictions
are known without leaving anything out. It orders the pairs of classes nearly as the out-of-fold probabilities
of trained networks do, in about a hundredth of the time (docs/experiments.md, 2026-11-23).

Letters: N samples, K classes, C×H×W image, M landmarks, D features of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sit2.errors import DataError
from sit2.features.random_features import REGIONS, Eye, flips_of, scaled
from sit2.records import ByteArray, FloatArray, IntArray
from sit2.seeds import Seeds

LANDMARKS = 1000  # columns of the kernel; up to so many samples nothing is approximated
COLOUR_WEIGHT = 0.5  # of colours beside filter responses
PENALTIES = tuple(10.0**p for p in np.arange(-4, 2.1, 0.5))
SHARPNESS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)  # of the softmax over regression scores
_BATCH = {"cpu": 16}  # so that the responses stay in the processor's cache; elsewhere:
_LARGE_BATCH = 512

Progress = Callable[[float, str], None]  # (share done, a few words)


def probe_probabilities(
    images: ByteArray,
    labels: IntArray,
    num_classes: int,
    *,
    rows: IntArray | None = None,
    groups: Sequence[str] = (),
    mirror: bool = False,
    any_way_up: bool = False,
    seeds: Seeds,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> FloatArray:
    """Return (N, K) float64 probabilities, each row from a classifier that did not see its sample's label.

    Nor the labels of its group, where there are groups.

    Penalty and sharpness are those with the least log-loss of these left-out predictions.

    Args:
        images: (L, C, H, W) uint8.
        labels: (N,) in [0, K).
        num_classes: K.
        rows: (N,) in [0, L), the images that count; None: all.
        groups: N names of patients, slides, …; empty where there are none.
        mirror: whether a mirrored image is as good.
        any_way_up: whether an image turned upside down, mirrored or both is as good.
        seeds: draws the filters and the landmarks.
        device: where to compute.
        progress: called now and then with the share done and a few words.

    Raises:
        DataError: all samples are of one group.
    """
    return fit_probe(
        images,
        labels,
        num_classes,
        rows=rows,
        groups=groups,
        mirror=mirror,
        any_way_up=any_way_up,
        seeds=seeds,
        device=device,
        progress=progress,
    )[1]


def fit_probe(
    images: ByteArray,
    labels: IntArray,
    num_classes: int,
    *,
    rows: IntArray | None = None,
    groups: Sequence[str] = (),
    mirror: bool = False,
    any_way_up: bool = False,
    seeds: Seeds,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> tuple[Probe, FloatArray]:
    """Return the probe of all samples, for other images, and what :func:`probe_probabilities` returns."""
    if len(groups) and len(set(groups)) == 1:
        raise DataError("all images are of one group, so none can be left out\nexpected at least two groups")
    flips = flips_of(mirror=mirror, any_way_up=any_way_up)
    rows = np.arange(len(images)) if rows is None else rows
    kernel, root, columns = _kernel_columns(
        images, rows, flips, seeds, device=torch.device(device), progress=progress
    )
    middle = columns.mean(dim=0)
    columns = columns - middle
    target = F.one_hot(torch.from_numpy(labels.astype(np.int64)), num_classes).double().to(device)
    blocks = _blocks(groups, len(labels), device)
    best, best_loss, chosen = target, float("inf"), (PENALTIES[-1], SHARPNESS[0])
    for penalty, scores in zip(PENALTIES, _left_out_scores(columns, target, blocks), strict=True):
        for sharpness in SHARPNESS:
            log_p = (scores * sharpness).log_softmax(dim=1)
            loss = float(-(log_p * target).sum(dim=1).mean())
            if loss < best_loss:
                best, best_loss, chosen = log_p, loss, (penalty, sharpness)
    penalty, sharpness = chosen
    gram = columns.T @ columns + penalty * torch.eye(columns.shape[1], dtype=columns.dtype, device=device)
    slope = torch.linalg.solve(gram, columns.T @ (target - target.mean(dim=0))) * sharpness
    probabilities: FloatArray = best.exp().cpu().numpy()
    return Probe(kernel, root @ slope, middle @ slope), probabilities


@dataclass(frozen=True)
class Kernel:
    """The Gaussian kernel between images and landmarks, averaged over all ways to flip an image."""

    eye: Eye
    marks: Tensor  # (M, D) float32: the landmarks' features
    width: Tensor  # () float32: the squared distance at which the kernel is 1/e
    _centre: Tensor = field(init=False, repr=False)  # (D,)
    _spread: Tensor = field(init=False, repr=False)  # (D,)
    _weight: Tensor = field(init=False, repr=False)  # (D,)
    _known: list[Tensor] = field(init=False, repr=False)  # (M, D), one for every flip

    def __post_init__(self) -> None:
        marks, colours = self.marks, self.eye.colours
        weight = torch.ones(marks.shape[1], device=marks.device)
        weight[:-colours] /= (len(weight) - colours) ** 0.5
        weight[-colours:] *= COLOUR_WEIGHT / colours**0.5
        object.__setattr__(self, "_centre", marks.mean(dim=0))
        object.__setattr__(self, "_spread", marks.std(dim=0, correction=0) + 1e-3)
        object.__setattr__(self, "_weight", weight)
        object.__setattr__(self, "_known", [self._normal(one) for one in self.eye.flipped(marks)])

    @classmethod
    def of(cls, eye: Eye, marks: Tensor) -> Kernel:
        """Make a kernel as wide as the median distance between two landmarks."""
        kernel = cls(eye, marks, torch.ones((), device=marks.device))
        distances = torch.cdist(kernel._known[0], kernel._known[0]).square()
        if not bool((distances > 0).any()):
            return kernel
        return cls(eye, marks, distances[distances > 0].median())

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
class Probe:
    """The probe as a classifier of images that it was not made from."""

    kernel: Kernel
    slope: Tensor  # (M, K) float64
    offset: Tensor  # (K,) float64

    def __call__(self, images: Tensor) -> Tensor:
        """(n, C, H, W) float32 in [0, 1] → (n, K) float64 log-probabilities."""
        batch_size = _BATCH.get(images.device.type, _LARGE_BATCH)
        features = torch.cat([self.kernel.eye(part) for part in torch.split(scaled(images), batch_size)])
        return (self.kernel(features) @ self.slope - self.offset).log_softmax(dim=1)

    def state(self) -> dict[str, Tensor]:
        """Return all that it is made of, as tensors."""
        eye = self.kernel.eye
        return {
            "filters": eye.filters,
            "bias": eye.bias,
            "marks": self.kernel.marks,
            "width": self.kernel.width,
            "slope": self.slope,
            "offset": self.offset,
        }

    @classmethod
    def of(
        cls, state: Mapping[str, Tensor], *, channels: int, num_classes: int, mirror: bool, any_way_up: bool
    ) -> Probe:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        flips = flips_of(mirror=mirror, any_way_up=any_way_up)
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
            raise ValueError(f"the probe lacks {error}") from None
        doubles = ("slope", "offset")
        for name, shape in shapes.items():
            dtype = torch.float64 if name in doubles else torch.float32
            tensor = state.get(name)
            if tensor is None or tensor.shape != shape or tensor.dtype != dtype or not tensor.numel():
                raise ValueError(f"the probe's {name} is not {shape} {dtype}")
            if not bool(tensor.isfinite().all()):
                raise ValueError(f"the probe's {name} is not finite")
        if count % len(flips) or not 0 < side <= 16 or not state["width"] > 0:
            raise ValueError("the probe's filters or width cannot be")
        eye = Eye(filters.contiguous(memory_format=torch.channels_last), state["bias"], flips)
        return cls(Kernel(eye, marks, state["width"]), state["slope"], state["offset"])


def _kernel_columns(
    images: ByteArray,
    source: IntArray,
    flips: Sequence[tuple[int, ...]],
    seeds: Seeds,
    *,
    device: torch.device,
    progress: Progress | None = None,
) -> tuple[Kernel, Tensor, Tensor]:
    """Return the kernel, its root (M, M) float64 and (N, M) float64 Z, with Z Zᵀ the kernel between samples.

    With more samples than landmarks it is Nyström's approximation (Williams & Seeger, 2001).
    """
    generator = torch.Generator().manual_seed(seeds.integer("probe"))
    picked = torch.randperm(len(source), generator=generator)[:LANDMARKS]
    rows = picked.sort().values.numpy()
    marks = _pixels(images, source[rows], device)
    eye = Eye.of(marks, flips, generator)
    batch_size = _BATCH.get(device.type, _LARGE_BATCH)
    kernel = Kernel.of(eye, torch.cat([eye(part) for part in torch.split(marks, batch_size)]))
    between = kernel(kernel.marks)
    values, vectors = torch.linalg.eigh((between + between.T) / 2)
    root = vectors * values.clamp(min=1e-6 * float(values[-1])).rsqrt()
    columns = torch.empty(len(source), len(root), dtype=root.dtype, device=device)
    columns[rows] = between @ root
    others = np.setdiff1d(np.arange(len(source)), rows)
    for batch in np.array_split(others, -(-len(others) // batch_size)) if len(others) else ():
        columns[batch] = kernel(eye(_pixels(images, source[batch], device))) @ root
        if progress is not None:
            progress((len(rows) + int(batch[-1])) / (len(rows) + len(source)), "")
    return kernel, root, columns


def _pixels(images: ByteArray, rows: IntArray, device: torch.device) -> Tensor:
    """(L, C, H, W) uint8 → (n, C, S, S) float32 in [0, 1]."""
    pixels = torch.from_numpy(images[rows].transpose(0, 2, 3, 1).copy()).to(device)
    return scaled(pixels.permute(0, 3, 1, 2).float() / 255)


def _blocks(groups: Sequence[str], count: int, device: torch.device | str) -> list[Tensor]:
    """Return the rows of all groups of one size as (groups, size), size after size."""
    if not groups:
        return [torch.arange(count, device=device)[:, None]]
    _, member = np.unique(np.array(groups), return_inverse=True)
    order = np.argsort(member, kind="stable")
    sizes = np.bincount(member)
    starts = np.cumsum(sizes) - sizes
    return [
        torch.from_numpy(order[starts[sizes == size][:, None] + np.arange(size)]).to(device)
        for size in np.unique(sizes)
    ]


def _left_out_scores(columns: Tensor, target: Tensor, blocks: list[Tensor]) -> list[Tensor]:
    """Return, for every penalty, the (N, K) scores of ridge regression that left out each block's labels.

    With the fitted values ŷ = H y, those without block b are y_b − (I − H_bb)⁻¹ (y − ŷ)_b: the identity of
    leave-one-out residuals, for blocks.
    """
    count = len(columns)
    values, vectors = torch.linalg.eigh(columns.T @ columns)
    turned = columns @ vectors  # (N, M)
    centred = target - target.mean(dim=0)
    projected = turned.T @ centred
    all_scores = []
    for penalty in PENALTIES:
        shrink = 1 / (values.clamp(min=0) + penalty)
        rest = centred - turned @ (shrink[:, None] * projected)
        scores = torch.empty_like(target)
        for rows in blocks:
            part = turned[rows]  # (groups, size, M)
            own = part * shrink @ part.mT + 1 / count  # H_bb; 1 / N is the intercept's
            left = torch.eye(rows.shape[1], dtype=own.dtype, device=own.device) - own
            if rows.shape[1] == 1:
                scores[rows[:, 0]] = centred[rows[:, 0]] - rest[rows[:, 0]] / left[:, 0].clamp(min=1e-6)
            else:
                scores[rows] = centred[rows] - torch.linalg.solve(left, rest[rows])
        all_scores.append(scores)
    return all_scores
