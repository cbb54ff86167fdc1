"""Experts at the border: where two confused classes are the likeliest, a classifier between just these is asked."""

from __future__ import annotations

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

    from sit2.features.experts import Experts as Fitted

USUAL_WEIGHT = 0.35  # of the expert, where nothing is fitted: that of the rough trials
WEIGHTS = tuple(n / 20 for n in range(21))


@dataclass(frozen=True, kw_only=True)
class Experts(Predictor):
    """Where an image's two likeliest classes are a confused pair, ask a classifier between just these two as well.

    It is in closed form, on frozen features. What both classes have together stays; it is divided by the weighted
    mean of the two log-odds.
    """

    stage: ClassVar[Stage] = Stage.BORDER
    uses_pairs: ClassVar[bool] = True
    uses_features: ClassVar[bool] = True
    is_fitted: ClassVar[bool] = True

    experts_least: float = parameter(
        0.05,
        "experts: probability that the second class must have for the expert to be asked",
        low=0.0,
        high=0.5,
        topic=PREDICTOR,
    )
    experts: Fitted | None = None  # None: there is no pair
    classes: int = 0  # K
    weight: float = USUAL_WEIGHT  # of the expert's log-odds, in [0, 1]; the rest is the answer's so far

    def learn(self, known: Known) -> Self:
        """Return this with an expert for each of the recipe's pairs."""
        from sit2.features.experts import fit_experts

        experts = fit_experts(
            [(pair.a, pair.b) for pair in known.pairs],
            known.images,
            known.labels,
            rows=known.rows,
            features=known.features,
            extractor=known.extractor,
            groups=known.groups,
            mirror=known.augmentation.mirror,
            dihedral=known.augmentation.dihedral,
            seeds=known.seeds,
            device="cpu" if known.device.type == "mps" else known.device,  # which has no float64
        )
        return replace(self, experts=experts, classes=known.num_classes)

    def observe(self, images: Tensor, ask: Ask) -> Tensor | None:
        """Return (N, P) float64: the log-odds of each expert."""
        return None if self.experts is None else self.experts(images).cpu()

    def fit(self, outputs: Outputs, observed: Tensor | None, labels: Tensor) -> Self:
        """Return this with the weight that suits N images of known classes.

        The least sum of log-losses plus ((weight − 0.35) / 0.35)², so that a few images move it little.
        """
        import torch

        if self.experts is None or not len(labels):
            return self
        rows = torch.arange(len(labels))

        def price(one: Self) -> float:
            prior = ((one.weight - USUAL_WEIGHT) / USUAL_WEIGHT) ** 2
            return prior - float(one(outputs, observed).log_probabilities[rows, labels].sum())

        return min((replace(self, weight=weight) for weight in WEIGHTS), key=price)

    def __call__(self, outputs: Outputs, observed: Tensor | None) -> Outputs:
        """Divide what the two likeliest classes have anew, where they are an expert's and both likely."""
        import torch

        if self.experts is None or observed is None:
            return outputs
        answer = outputs.log_probabilities
        which, sign = (table.to(answer.device) for table in self._tables())
        top, classes = answer.topk(2, dim=1)
        first, second = classes[:, 0], classes[:, 1]
        expert = which[first, second]  # (N,)
        said = observed.to(answer.device).gather(1, expert.clamp(min=0)[:, None])[:, 0] * sign[first, second]
        odds = torch.lerp(top[:, 0] - top[:, 1], said, self.weight)
        parts = torch.nn.functional.logsigmoid(torch.stack([odds, -odds], dim=1))
        divided = answer.scatter(1, classes, top.logsumexp(dim=1, keepdim=True) + parts)
        asked = (expert >= 0) & (top[:, 1].exp() >= self.experts_least)
        return replace(outputs, log_probabilities=torch.where(asked[:, None], divided, answer))

    def _tables(self) -> tuple[Tensor, Tensor]:
        """Return (K, K) int64 which expert is for two classes, −1 for none, and (K, K) float64 its odds' sign."""
        import torch

        assert self.experts is not None
        pairs = self.experts.pairs
        which = torch.full((self.classes, self.classes), -1, dtype=torch.int64)
        sign = torch.ones(self.classes, self.classes, dtype=torch.float64)
        each = torch.arange(len(pairs))
        which[pairs[:, 0], pairs[:, 1]] = which[pairs[:, 1], pairs[:, 0]] = each
        sign[pairs[:, 1], pairs[:, 0]] = -1.0
        return which, sign

    def state(self) -> dict[str, Tensor]:
        """Return the experts and their weight; nothing where there is no pair."""
        import torch

        if self.experts is None:
            return {}
        return {**self.experts.state(), "weight": torch.tensor(self.weight, dtype=torch.float64)}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], state: Mapping[str, Tensor], context: Context) -> Self:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        from sit2.features.experts import Experts as Fitted

        if not state:
            return cls(classes=context.num_classes, **settings)
        how = context.augmentation
        experts = Fitted.from_state(
            state,
            lambda: encoder_of(context),
            channels=context.channels,
            num_classes=context.num_classes,
            mirror=how.mirror,
            dihedral=how.dihedral,
        )
        weight = number(state, "weight", low=0.0, high=1.0)
        return cls(experts=experts, classes=context.num_classes, weight=weight, **settings)
