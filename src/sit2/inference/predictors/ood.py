"""Images unlike the training images: far from all of them in the features of the trained network.

The score is the distance to the k-th nearest training image (Sun et al. 2022, arXiv 2204.06507); features are
scaled to length 1 first. The threshold is a conformal one: of new images like the calibration images at most the
stated fraction is called unlike the training images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sit2.errors import ConfigError
from sit2.inference.predictors.predictor import (
    PREDICTOR,
    Ask,
    Calibration,
    Context,
    Known,
    Outputs,
    Predictor,
    Stage,
)
from sit2.parameters import parameter

if TYPE_CHECKING:
    from torch import Tensor

NEAREST = 5  # k; less where there are fewer training images
MOST = 2000  # training images that are kept, drawn by chance
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Unlike(Predictor):
    """Say which images are unlike the training images, by the distance to the nearest of them."""

    stage: ClassVar[Stage] = Stage.DOUBT
    is_calibrated: ClassVar[bool] = True

    false_alarms: float = parameter(
        0.05,
        "ood: fraction of images like the training images that may be called unlike them",
        low=0.0001,
        high=0.5,
        topic=PREDICTOR,
    )
    reference: Tensor | None = None  # (m, D) float32: features of training images, of length 1
    distances: Tensor | None = None  # (n,) float64: of the calibration images

    def learn(self, known: Known) -> Self:
        """Return this with the features of the training images, of some where there are many."""
        import torch

        assert known.ask is not None
        rows = known.seeds.numpy("reference").permutation(known.rows)[:MOST]
        parts = []
        with torch.inference_mode():
            for start in range(0, len(rows), BATCH):
                pixels = torch.from_numpy(known.images[rows[start : start + BATCH]].copy()).to(known.device)
                parts.append(_directions(known.ask.features(pixels.float() / 255)).cpu())
        return replace(self, reference=torch.cat(parts).clone())

    def observe(self, images: Tensor, ask: Ask) -> Tensor | None:
        """Return (N,) float64: the distance to the k-th nearest training image, from 0 to 2."""
        assert self.reference is not None
        like = _directions(ask.features(images)) @ self.reference.to(images.device).T
        near = like.topk(min(NEAREST, len(self.reference)), dim=1).values[:, -1]
        return (2 - 2 * near).clamp(min=0).sqrt().cpu().double()

    def calibrate(self, outputs: Outputs, observed: Tensor | None, known: Calibration) -> Self:
        """Return this with the distances of the calibration images that count."""
        assert observed is not None
        return replace(self, distances=observed[known.one_of_each(per_class=False)].sort().values)

    def refuse_few(self, images: int) -> None:
        """Raise :class:`ConfigError` where the false-alarm rate is lower than so few images can promise."""
        if 1 / (images + 1) > self.false_alarms + 1e-9:
            needed = math.ceil(1 / self.false_alarms - 1 - 1e-9)
            lowest = math.ceil(1000 / (images + 1) - 1e-9) / 1000
            raise ConfigError(
                f"ood: {images} calibration images cannot promise a false-alarm rate of "
                f"{100 * self.false_alarms:g} %\nthat needs {needed} (of groups: as many groups); "
                f"--false-alarms {lowest:g} is the lowest that can be promised"
            )

    def __call__(self, outputs: Outputs, observed: Tensor | None) -> Outputs:
        """Say which images are farther away than the calibration images are."""
        if self.distances is None or observed is None:
            return outputs
        farther = 1 + (self.distances.to(observed.device) >= observed[:, None]).sum(dim=1)
        most = self.false_alarms * (1 + len(self.distances)) + 1e-9
        return replace(outputs, unlike=farther <= most)

    def state(self) -> dict[str, Tensor]:
        """Return the features and, once calibrated, the distances."""
        known = {"reference": self.reference, "distances": self.distances}
        return {name: tensor for name, tensor in known.items() if tensor is not None}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], state: Mapping[str, Tensor], context: Context) -> Self:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        reference, distances = state.get("reference"), state.get("distances")
        if reference is None or reference.ndim != 2 or not len(reference) or not _finite(reference):
            raise ValueError("the predictor ood lacks the features of training images")
        if distances is not None and (distances.ndim != 1 or not _finite(distances)):
            raise ValueError("the predictor ood has distances that cannot be")
        return cls(reference=reference, distances=distances, **settings)


def _directions(features: Tensor) -> Tensor:
    import torch

    return torch.nn.functional.normalize(features.float(), dim=1)


def _finite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.isfinite().all())
