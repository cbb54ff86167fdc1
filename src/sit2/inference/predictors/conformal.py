"""Sets of possible classes with a guarantee: split conformal prediction (Vovk et al. 2005), and by classes.

The score of a class is its −log probability (Sadinle et al. 2019, least ambiguous sets). Where nothing was fitted
to the calibration images, at least 1 − α of new images have the true class in their set, on average over draws of
both. Where predictors were fitted to them too, each image's score comes from predictors that were fitted
without it, and a new image is scored by the same ones (CV+, Barber et al. 2021; cross-conformal, Vovk 2015): about
1 − 2α is certain, and 1 − α is what is nearly always seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sit2.inference.predictors.predictor import (
    PREDICTOR,
    Calibration,
    Context,
    Outputs,
    Predictor,
    Promise,
    Stage,
)
from sit2.parameters import parameter

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Conformal(Predictor):
    """Give every image the set of its possible classes, which contains the true one as often as you ask for."""

    stage: ClassVar[Stage] = Stage.DECIDE
    is_calibrated: ClassVar[bool] = True

    coverage_per_class: bool = parameter(
        False,
        "conformal: promise the coverage for the images of each class by itself; needs calibration images of "
        "each, 19 for 95 %",
        topic=PREDICTOR,
    )
    scores: Tensor | None = None  # (n,) float64: −log probability of the true class of each calibration image
    labels: Tensor | None = None  # (n,) int64
    part: Tensor | None = None  # (n,) int64: which predictors were fitted without it
    exact: bool = True  # nothing was fitted to them
    classes: int = 0  # K

    def __post_init__(self) -> None:
        super().__post_init__()
        # By class and part, made before anything is traced: how many there are must not look like chance.
        object.__setattr__(self, "_compared", tuple(self._scores_of(k) for k in range(self.classes)))

    def _scores_of(self, k: int) -> tuple[Tensor, ...]:
        """Return the scores that class k is compared with, for each part."""
        assert self.scores is not None
        assert self.labels is not None
        assert self.part is not None
        mine = (self.labels == k) | (not self.coverage_per_class)
        parts = range(int(self.part.max()) + 1 if len(self.part) else 1)
        return tuple(self.scores[mine & (self.part == f)].clone() for f in parts)

    def calibrate(self, outputs: Outputs, observed: Tensor | None, known: Calibration) -> Self:
        """Return this with the scores of the calibration images that count."""
        rows = known.one_of_each(per_class=self.coverage_per_class)
        labels = known.labels[rows]
        return replace(
            self,
            scores=-outputs.log_probabilities[rows, labels],
            labels=labels,
            part=known.part[rows],
            exact=known.exact,
            classes=outputs.log_probabilities.shape[1],
        )

    def __call__(self, outputs: Outputs, observed: Tensor | None) -> Outputs:
        """Say how well the image fits each class, compared with the calibration images and theirs."""
        import torch

        if self.scores is None:
            return outputs
        whole = outputs.log_probabilities
        answers = [whole] if outputs.left_out is None else list(outputs.left_out)
        compared: tuple[tuple[Tensor, ...], ...] = self.__dict__["_compared"]
        columns = []
        for k, parts in enumerate(compared):
            poorer = torch.ones_like(
                whole[:, k]
            )  # as poor as the image or poorer, the image itself among them
            for scores, answer in zip(parts, answers, strict=False):
                poorer = poorer + (scores.to(whole.device) >= -answer[:, k, None]).sum(dim=1)
            columns.append(poorer / (1 + sum(len(scores) for scores in parts)))
        return replace(outputs, p_values=torch.stack(columns, dim=1))

    def promise(self) -> Promise | None:
        """Return how many calibration images there are, and what that allows."""
        if self.labels is None:
            return None
        n = len(self.labels)
        if not self.coverage_per_class:
            return Promise(n, n, per_class=False, exact=self.exact)
        each = self.labels.bincount(minlength=self.classes)
        return Promise(n, int(each.min()), per_class=True, exact=self.exact, rarest=int(each.argmin()))

    def state(self) -> dict[str, Tensor]:
        """Return the scores, where there are some."""
        if self.scores is None or self.labels is None or self.part is None:
            return {}
        return {"scores": self.scores, "labels": self.labels, "part": self.part}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], state: Mapping[str, Tensor], context: Context) -> Self:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        import torch

        if not state:
            return cls(**settings)
        scores, labels, part = (state.get(name) for name in ("scores", "labels", "part"))
        if scores is None or not scores.is_floating_point() or scores.ndim != 1 or scores.isnan().any():
            raise ValueError("the predictor conformal lacks its scores")
        for numbers, end in ((labels, context.num_classes), (part, max(1, context.parts))):
            if numbers is None or numbers.dtype != torch.int64 or numbers.shape != scores.shape:
                raise ValueError("the predictor conformal lacks the labels of its scores")
            if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < end:
                raise ValueError("the predictor conformal has scores of other classes or predictors")
        return cls(
            scores=scores,
            labels=labels,
            part=part,
            exact=not context.parts,
            classes=context.num_classes,
            **settings,
        )
