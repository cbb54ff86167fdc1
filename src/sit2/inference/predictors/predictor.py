"""What every predictor offers: a step between a trained network's outputs and the answer.

A predictor looks at images once (``observe``), which may be expensive, and turns what is known about them into
a better answer (``__call__``), which is cheap. So fitting, fitting again on parts of the images, and trying
settings never ask the network twice. Nothing here loads torch before it is needed.

Letters: N images, K classes, C×H×W pixels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sit2.parameters import check_fields
from sit2.training.presets import Augmentation

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sit2.features.frozen import Extractor
    from sit2.records import ByteArray, ClassPair, IntArray
    from sit2.seeds import Seeds

PREDICTOR = "prediction"
Ask = Callable[["Tensor"], "Tensor"]  # (N, C, H, W) float32 in [0, 1] → (N, K) float64 log-probabilities


class Stage(IntEnum):
    """When a predictor has its turn: in a recipe their order does not matter."""

    VIEWS = 1  # ask the network in several ways
    COMBINE = 2  # with another classifier's opinion
    REFINE = 3  # where classes are confused
    CALIBRATE = 4  # make the probabilities mean what they say
    DECIDE = 5  # which classes are possible, and whether any is


@dataclass(frozen=True)
class Outputs:
    """What is known about N images while predictors work on them, one after the other."""

    first: Tensor  # (N, K) float64: the network's log-probabilities, asked once
    log_probabilities: Tensor  # (N, K) float64: the answer so far


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


@dataclass(frozen=True)
class Context:
    """What a predictor is put together with when a model is loaded."""

    channels: int
    num_classes: int
    augmentation: Augmentation
    backbone: str
    image_size: int


@dataclass(frozen=True, kw_only=True)
class Predictor(ABC):
    """A step after the network. Its fields that are declared as parameters are settings, the others state."""

    stage: ClassVar[Stage]
    uses_pairs: ClassVar[bool] = False
    uses_features: ClassVar[bool] = False  # whether it learns from frozen features
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
