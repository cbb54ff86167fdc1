"""The confusion of a classifier that needs no training: closed form, left out sample by sample.

Random convolutional features (Coates, Lee & Ng, 2011: whitened patches of the images themselves as filters)
and the colours of nine regions go into kernel ridge regression, whose leave-one-out predictions are known
without leaving anything out. It orders the pairs of classes nearly as the out-of-fold probabilities of
trained networks do, in about a hundredth of the time (docs/experiments.md, 2026-11-23).

Letters: N samples, K classes, C×H×W image, F filters, M landmarks, D features of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sit2.errors import DataError
from sit2.records import ByteArray, FloatArray, IntArray
from sit2.seeds import Seeds

SIZE = 32  # pixels that the probe looks at; it was tuned, and its fidelity measured, at this size
FILTERS = 128
REGIONS = 3  # a side
LANDMARKS = 1000  # columns of the kernel; up to so many samples nothing is approximated
COLOUR_WEIGHT = 0.5  # of colours beside filter responses
PENALTIES = tuple(10.0**p for p in np.arange(-4, 2.1, 0.5))
SHARPNESS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)  # of the softmax over regression scores
_BATCH = {"cpu": 16}  # so that the responses stay in the processor's cache; elsewhere:
_LARGE_BATCH = 512


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
    progress: Callable[[float, str], None] | None = None,
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
    flips: list[tuple[int, ...]] = [()]
    if mirror or any_way_up:
        flips.append((3,))
    if any_way_up:
        flips += [(2,), (2, 3)]
    if len(groups) and len(set(groups)) == 1:
        raise DataError("all images are of one group, so none can be left out\nexpected at least two groups")
    rows = np.arange(len(images)) if rows is None else rows
    columns = _kernel_columns(images, rows, flips, seeds, device=torch.device(device), progress=progress)
    target = F.one_hot(torch.from_numpy(labels.astype(np.int64)), num_classes).double().to(device)
    blocks = _blocks(groups, len(labels), device)
    best, best_loss = target, float("inf")
    for scores in _left_out_scores(columns, target, blocks):
        for sharpness in SHARPNESS:
            log_p = (scores * sharpness).log_softmax(dim=1)
            loss = float(-(log_p * target).sum(dim=1).mean())
            if loss < best_loss:
                best, best_loss = log_p, loss
    probabilities: FloatArray = best.exp().cpu().numpy()
    return probabilities


@dataclass(frozen=True)
class _Eye:
    """What turns an image into features, and knows what they would be for the mirrored image.

    The filters come with their mirror images. So the responses to a mirrored image are those to the image,
    with filters and regions in another order: nothing is computed twice.
    """

    filters: Tensor  # (F, C, side, side)
    bias: Tensor  # (F,)
    size: int  # of the images it looks at
    orders: list[Tensor]  # for every flip, (F,) where each filter's mirror image stands
    flips: list[tuple[int, ...]]

    @classmethod
    def of(cls, images: Tensor, flips: list[tuple[int, ...]], generator: torch.Generator) -> _Eye:
        """Take filters from (n, C, S, S) float32 in [0, 1]."""
        size = images.shape[-1]
        side = max(2, size // 4)
        base = FILTERS // len(flips)
        patches = _draw_patches(images, side, 4 * 5000 // len(flips), generator)
        patches = torch.cat([patches.flip(flip) if flip else patches for flip in flips]).flatten(1)
        patches = patches - patches.mean(dim=1, keepdim=True)
        patches = patches / (patches.square().mean(dim=1, keepdim=True) + 0.01).sqrt()
        mean = patches.mean(dim=0)
        values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        whiten = vectors * (values.clamp(min=0) + 0.1).rsqrt() @ vectors.T
        picked = (patches[:base] - mean) @ whiten
        picked = picked / (picked.norm(dim=1, keepdim=True) + 1e-6) @ whiten
        # Patches are seen without their mean; a filter without its mean does not see it anyway.
        shaped = (picked - picked.mean(dim=1, keepdim=True)).view(base, images.shape[1], side, side)
        filters = torch.cat([shaped.flip(flip) if flip else shaped for flip in flips])
        place = torch.arange(len(filters), device=images.device).view(len(flips), base)
        orders = [place[[flips.index(_both(f, flip)) for f in flips]].flatten() for flip in flips]
        bias = (picked @ mean).repeat(len(flips))
        return cls(filters.contiguous(memory_format=torch.channels_last), bias, size, orders, flips)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return the features (n, D) of (n, C, S, S) float32 in [0, 1], and of the image flipped each way."""
        channels, side = self.filters.shape[1:3]
        box = torch.full((1, channels, side, side), 1 / (channels * side * side), device=images.device)
        mean = F.conv2d(images, box)
        spread = (F.conv2d(images.square(), box) - mean.square() + 0.01).clamp(min=0.001).sqrt()
        response = F.conv2d(images, self.filters).div_(spread).sub_(self.bias[:, None, None])
        # Both signs, each as far as it exceeds a threshold; in place, since this is most of the work.
        seen = [F.adaptive_avg_pool2d((response - 0.25).clamp_(min=0), REGIONS)]
        seen.append(F.adaptive_avg_pool2d(response.add_(0.25).neg_().clamp_(min=0), REGIONS))
        colour = F.adaptive_avg_pool2d(images, REGIONS)
        spread = (F.adaptive_avg_pool2d(images.square(), REGIONS) - colour.square()).clamp(min=0).sqrt()
        features = []
        for flip, order in zip(self.flips, self.orders, strict=True):
            parts = [part[:, order] for part in seen] + [colour, spread]
            features.append(torch.cat([(p.flip(flip) if flip else p).flatten(1) for p in parts], dim=1))
        return features


def _both(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the flip that two flips make."""
    return tuple(sorted(set(one) ^ set(other)))


def _draw_patches(images: Tensor, side: int, count: int, generator: torch.Generator) -> Tensor:
    """(count, C, side, side) patches from anywhere in any of (n, C, S, S)."""
    places = images.unfold(2, side, 1).unfold(3, side, 1)  # (n, C, rows, columns, side, side), a view
    image = torch.randint(len(images), (count,), generator=generator)
    row = torch.randint(places.shape[2], (count,), generator=generator)
    column = torch.randint(places.shape[3], (count,), generator=generator)
    return places[image, :, row, column]


def _kernel_columns(
    images: ByteArray,
    source: IntArray,
    flips: list[tuple[int, ...]],
    seeds: Seeds,
    *,
    device: torch.device,
    progress: Callable[[float, str], None] | None = None,
) -> Tensor:
    """(N, M) float64 Z, centred, with Z Zᵀ the Gaussian kernel, averaged over all ways to flip an image.

    With more samples than landmarks it is Nyström's approximation (Williams & Seeger, 2001).
    """
    generator = torch.Generator().manual_seed(seeds.integer("probe"))
    picked = torch.randperm(len(source), generator=generator)[:LANDMARKS]
    rows = picked.sort().values.numpy()
    marks = _scaled(images[source[rows]], device)
    eye = _Eye.of(marks, flips, generator)
    batch_size = _BATCH.get(device.type, _LARGE_BATCH)
    parts = [eye(part) for part in torch.split(marks, batch_size)]
    seen = [torch.cat(part) for part in zip(*parts, strict=True)]
    centre, spread = seen[0].mean(dim=0), seen[0].std(dim=0, correction=0) + 1e-3
    colours = 2 * images.shape[1] * REGIONS**2
    weight = torch.ones_like(spread)
    weight[:-colours] /= (len(spread) - colours) ** 0.5
    weight[-colours:] *= COLOUR_WEIGHT / colours**0.5
    known = [(features - centre) / spread * weight for features in seen]
    distances = torch.cdist(known[0], known[0]).square()
    width = distances[distances > 0].median() if bool((distances > 0).any()) else torch.ones(())

    def kernel(features: Tensor) -> Tensor:
        parts = [torch.exp(-torch.cdist(features, other).square() / width) for other in known]
        return torch.stack(parts).mean(dim=0).double()

    between = kernel(known[0])
    values, vectors = torch.linalg.eigh((between + between.T) / 2)
    root = vectors * values.clamp(min=1e-6 * float(values[-1])).rsqrt()
    columns = torch.empty(len(source), len(root), dtype=root.dtype, device=device)
    columns[rows] = between @ root
    others = np.setdiff1d(np.arange(len(source)), rows)
    for batch in np.array_split(others, -(-len(others) // batch_size)) if len(others) else ():
        features = eye(_scaled(images[source[batch]], device))[0]
        columns[batch] = kernel((features - centre) / spread * weight) @ root
        if progress is not None:
            progress((len(rows) + int(batch[-1])) / (len(rows) + len(source)), "")
    return columns - columns.mean(dim=0)


def _scaled(images: ByteArray, device: torch.device) -> Tensor:
    """(n, C, H, W) uint8 → (n, C, S, S) float32 in [0, 1], S at most SIZE, channels last."""
    pixels = torch.from_numpy(images.transpose(0, 2, 3, 1).copy()).to(device)
    values = pixels.permute(0, 3, 1, 2).float() / 255
    if max(values.shape[2:]) > SIZE or values.shape[2] != values.shape[3]:
        side = min(SIZE, *values.shape[2:])
        values = F.interpolate(values, (side, side), mode="bilinear", antialias=True)
    return values


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
