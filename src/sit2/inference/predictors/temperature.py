"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599, eq. 9): probabilities that mean what they say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sit2.inference.predictors.predictor import Context, Outputs, Predictor, Stage, number

if TYPE_CHECKING:
    from torch import Tensor

FARTHEST = 3.0  # of the logarithm of the inverse temperature


@dataclass(frozen=True, kw_only=True)
class Temperature(Predictor):
    """Soften or sharpen all probabilities by one number that is fitted to the validation images."""

    stage: ClassVar[Stage] = Stage.CALIBRATE
    is_fitted: ClassVar[bool] = True

    inverse_temperature: float = 1.0  # what the log-probabilities are multiplied by

    def fit(self, outputs: Outputs, observed: Tensor | None, labels: Tensor) -> Self:
        """Return this with the inverse temperature of the least log-loss on N images of known classes.

        Maximum a posteriori: the sum of log-losses plus the square of its logarithm, so that a few images move
        it little.
        """
        import torch
        from scipy.optimize import minimize_scalar

        if not len(labels):
            return self
        rows = torch.arange(len(labels))

        def price(logarithm: float) -> float:
            scaled = (outputs.log_probabilities * math.exp(logarithm)).log_softmax(dim=1)
            return logarithm**2 - float(scaled[rows, labels].sum())

        found = minimize_scalar(
            price, bounds=(-FARTHEST, FARTHEST), method="bounded", options={"xatol": 1e-4}
        )
        return replace(self, inverse_temperature=math.exp(float(found.x)))

    def __call__(self, outputs: Outputs, observed: Tensor | None) -> Outputs:
        """Scale the answer so far."""
        scaled = (outputs.log_probabilities * self.inverse_temperature).log_softmax(dim=1)
        return replace(outputs, log_probabilities=scaled)

    def state(self) -> dict[str, Tensor]:
        """Return the inverse temperature."""
        import torch

        return {"inverse_temperature": torch.tensor(self.inverse_temperature, dtype=torch.float64)}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], state: Mapping[str, Tensor], context: Context) -> Self:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        return cls(inverse_temperature=number(state, "inverse_temperature", low=1e-6), **settings)
