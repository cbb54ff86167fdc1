"""A second opinion: a classifier in closed form on frozen features, beside the network.

Both are put together as a logarithmic opinion pool (Genest & Zidek 1986) whose weight is fitted to validation
images (stacking: Wolpert 1992).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sit2.inference.predictors.predictor import (
    PREDICTOR,
    Ask,
    Context,
    Known,
    Outputs,
    Predictor,
    Stage,
    encoder_of,
    number,
)
from sit2.parameters import parameter

if TYPE_CHECKING:
    from torch import Tensor

    from sit2.features.closed_form import ClosedForm
    from sit2.features.opinion import Opinion

USUAL_WEIGHT = 0.3  # of the closed-form classifier, where nothing is fitted (docs/experiments.md, 2026-11-25)
WEIGHTS = tuple(n / 20 for n in range(21))
INVERSE_TEMPERATURES = tuple(2.0 ** (n / 4) for n in range(-8, 9))


@dataclass(frozen=True, kw_only=True)
class Ensemble(Predictor):
    """Average with a classifier in closed form on frozen features, a second opinion that costs no training."""

    stage: ClassVar[Stage] = Stage.COMBINE
    uses_features: ClassVar[bool] = True
    is_fitted: ClassVar[bool] = True

    ensemble_weight: float | None = parameter(
        None,
        "ensemble: weight of the closed-form classifier beside the network; default: fitted to the validation "
        "images",
        low=0.0,
        high=1.0,
        topic=PREDICTOR,
    )
    classifier: ClosedForm | Opinion | None = None
    weight: float = USUAL_WEIGHT  # of the classifier, in [0, 1]; the rest is the network's
    inverse_temperature: float = 1.0  # what their common log-probabilities are multiplied by

    def learn(self, known: Known) -> Self:
        """Return this with the closed-form classifier of the training images."""
        weight = USUAL_WEIGHT if self.ensemble_weight is None else self.ensemble_weight
        how: dict[str, Any] = {
            "rows": known.rows,
            "groups": known.groups if len(set(known.groups)) > 1 else (),  # a single one cannot be left out
            "mirror": known.augmentation.mirror,
            "dihedral": known.augmentation.dihedral,
            "seeds": known.seeds,
            "device": "cpu" if known.device.type == "mps" else known.device,  # which has no float64
        }
        given = known.images, known.labels, known.num_classes
        if known.features is None:
            from sit2.features.closed_form import fit_closed_form

            return replace(self, classifier=fit_closed_form(*given, **how)[0], weight=weight)
        from sit2.features.opinion import fit_opinion

        opinion, _ = fit_opinion(*given, features=known.features, extractor=known.extractor, **how)
        return replace(self, classifier=opinion, weight=weight)

    def observe(self, images: Tensor, ask: Ask) -> Tensor | None:
        """Return (N, K) float64: the closed-form classifier's log-probabilities."""
        assert self.classifier is not None
        return self.classifier(images)

    def fit(self, outputs: Outputs, observed: Tensor | None, labels: Tensor) -> Self:
        """Return this with the weight and the inverse temperature that suit N images of known classes.

        Maximum a posteriori over ``WEIGHTS`` × ``INVERSE_TEMPERATURES``: the least sum of log-losses plus
        ((weight − 0.3) / 0.3)² + (ln inverse temperature)², so that a few images move them little.
        """
        import torch

        if self.ensemble_weight is not None or not len(labels):
            return self
        rows = torch.arange(len(labels))

        def price(one: Self) -> float:
            prior = ((one.weight - USUAL_WEIGHT) / USUAL_WEIGHT) ** 2 + math.log(one.inverse_temperature) ** 2
            return prior - float(one(outputs, observed).log_probabilities[rows, labels].sum())

        candidates = (
            replace(self, weight=w, inverse_temperature=t) for w in WEIGHTS for t in INVERSE_TEMPERATURES
        )
        return min(candidates, key=price)

    def __call__(self, outputs: Outputs, observed: Tensor | None) -> Outputs:
        """Pool the answer so far with the closed-form classifier's."""
        import torch

        assert observed is not None
        pooled = torch.lerp(outputs.log_probabilities, observed.to(outputs.first.device), self.weight)
        return replace(outputs, log_probabilities=(pooled * self.inverse_temperature).log_softmax(dim=1))

    def state(self) -> dict[str, Tensor]:
        """Return the classifier, the weight and the inverse temperature."""
        import torch

        assert self.classifier is not None
        numbers = {"weight": self.weight, "inverse_temperature": self.inverse_temperature}
        return {
            **self.classifier.state(),
            **{name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()},
        }

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], state: Mapping[str, Tensor], context: Context) -> Self:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        classifier = _classifier(state, context)
        return cls(
            classifier=classifier,
            weight=number(state, "weight", low=0.0, high=1.0),
            inverse_temperature=number(state, "inverse_temperature", low=1e-6),
            **settings,
        )


def _classifier(state: Mapping[str, Tensor], context: Context) -> ClosedForm | Opinion:
    """Put the closed-form classifier together, of whichever kind it is."""
    how = context.augmentation
    fitting: dict[str, Any] = {
        "channels": context.channels,
        "num_classes": context.num_classes,
        "mirror": how.mirror,
        "dihedral": how.dihedral,
    }
    if not any(name.startswith("frozen.") for name in state):
        from sit2.features.closed_form import ClosedForm

        return ClosedForm.from_state(state, **fitting)
    from sit2.features.opinion import Opinion

    return Opinion.from_state(state, encoder_of(context), **fitting)
