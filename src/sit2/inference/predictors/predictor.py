"""What every predictor offers: a step between a trained network's outputs and the answer.

A predictor looks at images once (``observe``), which may be expensive, and turns what is known about them into
a better answer (``__call__``), which is cheap. So fitting, fitting again on parts of the images, and trying
settings never ask the network twice. Nothing here loads torch before it is needed.

Letters: N images, K classes, C×H×W pixels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from sit2.parameters import check_fields
from sit2.training.augmentations import Augmentation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from sit2.features.frozen import Extractor
    from sit2.records import ByteArray, ClassPair, IntArray
    from sit2.seeds import Seeds

PREDICTOR = "prediction"


class Ask(Protocol):
    """The trained network, as predictors ask it about images."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """(N, C, H, W) float32 in [0, 1] → (N, K) float64 log-probabilities."""

    def features(self, images: Tensor, /) -> Tensor:
        """(N, C, H, W) float32 in [0, 1] → (N, D) float32: what the network's head sees."""


class Stage(IntEnum):
    """When a predictor has its turn: in a recipe their order does not matter."""

    VIEWS = 1  # ask the network in several ways
    COMBINE = 2  # with another classifier's opinion
    REFINE = 3  # where classes are confused
    BORDER = 4  # between an image's two likeliest classes
    CALIBRATE = 5  # make the probabilities mean what they say
    DECIDE = 6  # which classes are possible
    DOUBT = 7  # and whether any is


@dataclass(frozen=True)
class Outputs:
    """What is known about N images while predictors work on them, one after the other."""

    first: Tensor  # (N, K) float64: the network's log-probabilities, asked once
    log_probabilities: Tensor  # (N, K) float64: the answer so far
    # (F, N, K): the answer of predictors that were fitted without each of F parts of the calibration images;
    # None where nothing was fitted to them.
    left_out: Tensor | None = None
    # (N, K) float64 in (0, 1]: the fraction of calibration images that fit their class no better than the image
    # fits this one; classes above 1 − coverage are possible.
    p_values: Tensor | None = None
    unlike: Tensor | None = None  # (N,) bool: unlike the training images


@dataclass(frozen=True)
class Known:
    """What a predictor may learn from before it is fitted: the training images, and how they were trained on."""

    images: ByteArray  # (M, C, H, W) uint8
    rows: IntArray  # (n,) int64 in [0, M): the training images
    labels: IntArray  # (n,) int64 in [0, K)
    groups: tuple[str, ...]  # n names of what must be left out together, or none
    num_classes: int
    pairs: Sequence[ClassPair]  # the confused pairs of the recipe, with their scores
    augmentation: Augmentation
    seeds: Seeds
    device: torch.device
    features: Tensor | None = (
        None  # (n, D) float32 frozen features of the training images, where there are some
    )
    extractor: Extractor | None = None  # what made them
    ask: Ask | None = None  # the trained network


@dataclass(frozen=True)
class Calibration:
    """Images that neither trained the network nor chose it, as far as predictors are calibrated to them."""

    labels: Tensor  # (n,) int64 in [0, K)
    part: Tensor  # (n,) int64 in [0, F): which predictors were fitted without the image
    exact: bool  # nothing was fitted to any of them
    groups: tuple[str, ...]  # n names of images that are not independent of each other, or none
    seeds: Seeds

    def one_of_each(self, *, per_class: bool) -> Tensor:
        """Return the rows that count: one image of each group, drawn by chance (with ``per_class`` of each class).

        Images of one group are alike, so together they promise no more than one of them.
        """
        import torch

        rows = self.seeds.numpy("calibration").permutation(len(self.labels)).tolist()
        if self.groups:
            labels = self.labels.tolist()
            kept = {(self.groups[n], labels[n] if per_class else -1): n for n in rows}
            rows = list(kept.values())
        return torch.tensor(sorted(rows), dtype=torch.int64)


@dataclass(frozen=True)
class Promise:
    """What sets of possible classes hold, by how many images they were calibrated to."""

    images: int  # calibration images that count: of groups one each
    least: int  # of these, where the promise is made for each class by itself: of the class with the fewest
    per_class: bool
    exact: bool  # else predictors were fitted to these images too, each left out in turn: 1 − 2α is certain
    rarest: int = -1  # the class with the fewest, where it is made for each class

    @property
    def highest(self) -> float:
        """The highest coverage that can be promised: n / (n + 1), of n calibration images."""
        return self.least / (self.least + 1)


@dataclass(frozen=True)
class Context:
    """What a predictor is put together with when a model is loaded."""

    channels: int
    num_classes: int
    augmentation: Augmentation
    backbone: str
    image_size: int
    parts: int = 0  # F, of :class:`Outputs`


@dataclass(frozen=True, kw_only=True)
class Predictor(ABC):
    """A step after the network. Its fields that are declared as parameters are settings, the others state."""

    stage: ClassVar[Stage]
    uses_pairs: ClassVar[bool] = False
    uses_features: ClassVar[bool] = False  # whether it learns from frozen features
    is_calibrated: ClassVar[bool] = False  # whether it needs images that chose neither network nor predictors
    is_fitted: ClassVar[bool] = False  # whether it has anything to fit on validation images

    def __post_init__(self) -> None:
        check_fields(self)

    def learn(self, known: Known) -> Self:
        """Return this with what it takes from the training images; most take nothing."""
        return self

    def observe(self, images: Tensor, ask: Ask) -> Tensor | None:
        """Return what it needs to know of (N, C, H, W) float32 images in [0, 1]: (N, …), or nothing."""
        return None

    def views(self, images: Tensor) -> Iterator[Tensor]:
        """Yield every view of (N, C, H, W) images that the network is asked about; most ask about one."""
        yield images

    def fit(self, outputs: Outputs, observed: Tensor | None, labels: Tensor) -> Self:
        """Return this fitted to the outputs so far for N images that nothing was trained on.

        Args:
            outputs: after the predictors before it.
            observed: of :meth:`observe`, for these images.
            labels: (N,) int64 in [0, K).
        """
        return self

    def calibrate(self, outputs: Outputs, observed: Tensor | None, known: Calibration) -> Self:
        """Return this calibrated to images that neither trained nor chose what is before it.

        Args:
            outputs: what the predictors before it say of n images; ``log_probabilities`` are of predictors that
                were not fitted to the image.
            observed: of :meth:`observe`, for these images.
            known: their labels and groups.
        """
        return self

    def refuse_few(self, images: int) -> None:
        """Raise :class:`ConfigError` where so few calibration images (of groups: groups) cannot be enough."""

    def promise(self) -> Promise | None:
        """Return what its sets of possible classes hold; None where it gives none."""
        return None

    @abstractmethod
    def __call__(self, outputs: Outputs, observed: Tensor | None) -> Outputs:
        """Return the outputs with its own part in them. Must be traceable: tensors in, tensors out."""

    def state(self) -> dict[str, Tensor]:
        """Return all that it is made of beside its settings, as tensors."""
        return {}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], state: Mapping[str, Tensor], context: Context) -> Self:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        return cls(**settings)


def changes(one: Predictor, other: Predictor) -> dict[str, Tensor]:
    """Return the numbers and tensors of a predictor that differ from those of another of its kind.

    These are what fitting changed; all else, such as a whole network, the two share.
    """
    import torch

    found = {}
    for name in (field.name for field in fields(one)):
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, float) and mine != theirs:
            found[name] = torch.tensor(mine, dtype=torch.float64)
        elif isinstance(mine, torch.Tensor) and (theirs is None or not torch.equal(mine, theirs)):
            found[name] = mine
    return found


def changed(one: Predictor, given: Mapping[str, Tensor]) -> Predictor:
    """Return a predictor with what :func:`changes` gave. Raises ValueError for what does not fit."""
    import torch

    values: dict[str, Any] = {}
    for name, value in given.items():
        mine = getattr(one, name, None)
        if not value.is_floating_point() or not value.isfinite().all():
            raise ValueError(f"a predictor's {name} is no finite number")
        if isinstance(mine, float) and value.shape == ():
            values[name] = float(value)
        elif isinstance(mine, torch.Tensor) and value.shape == mine.shape:
            values[name] = value
        else:
            raise ValueError(f"a predictor has no such {name}")
    return replace(one, **values)


def encoder_of(context: Context) -> nn.Module:
    """Return the encoder that frozen features of a model's backbone come from, with weights still to be loaded."""
    from sit2.training.backbones import build_network

    network = build_network(
        context.backbone,
        channels=context.channels,
        image_size=context.image_size,
        outputs=2,
        seed=0,
        stages=True,
    )
    return network.encoder


def number(
    state: Mapping[str, Tensor], name: str, *, low: float = -math.inf, high: float = math.inf
) -> float:
    """Return a number of a predictor's state. Raises ValueError unless it is one, finite and in [low, high]."""
    value = state.get(name)
    if value is None or value.shape != () or not value.is_floating_point():
        raise ValueError(f"a predictor lacks its {name}")
    found = float(value)
    if not (math.isfinite(found) and low <= found <= high):
        raise ValueError(f"a predictor's {name} is {found}, which it cannot be")
    return found
