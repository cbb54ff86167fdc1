"""A refinement among confused classes only: the rest of the answer stays what the network said at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sit2.inference.predictors.predictor import Context, Known, Outputs, Predictor, Stage

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Pairwise(Predictor):
    """Let the predictors before it count only among classes that are confused with the predicted one.

    The probability of the class that the network predicts, and of its partners in the pairs, is divided anew
    among them; all other classes keep what the network gave them.
    """

    stage: ClassVar[Stage] = Stage.REFINE
    uses_pairs: ClassVar[bool] = True

    partners: Tensor | None = None  # (K, K) bool, symmetric: which classes are a pair

    def learn(self, known: Known) -> Self:
        """Return this with the recipe's pairs."""
        import torch

        partners = torch.zeros(known.num_classes, known.num_classes, dtype=torch.bool)
        for pair in known.pairs:
            partners[pair.a, pair.b] = partners[pair.b, pair.a] = True
        return replace(self, partners=partners)

    def __call__(self, outputs: Outputs, observed: Tensor | None) -> Outputs:
        """Return the network's first answer, with the refined one among the predicted class's partners."""
        import torch

        assert self.partners is not None
        first, refined = outputs.first, outputs.log_probabilities
        predicted = first.argmax(dim=1)
        partners = self.partners.to(first.device)[predicted]
        among = partners.scatter(1, predicted[:, None], value=True)
        nothing = torch.full_like(first, -torch.inf)
        divided = torch.where(among, refined, nothing).log_softmax(dim=1)
        mass = torch.where(among, first, nothing).logsumexp(dim=1, keepdim=True)
        changed = among & partners.any(dim=1, keepdim=True)
        return replace(outputs, log_probabilities=torch.where(changed, divided + mass, first))

    def state(self) -> dict[str, Tensor]:
        """Return the pairs."""
        assert self.partners is not None
        return {"partners": self.partners}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], state: Mapping[str, Tensor], context: Context) -> Self:
        """Put together what :meth:`state` took apart. Raises ValueError for what does not fit."""
        import torch

        partners = state.get("partners")
        shape = (context.num_classes, context.num_classes)
        if (
            partners is None
            or partners.dtype != torch.bool
            or partners.shape != shape
            or not torch.equal(partners, partners.T)
        ):
            raise ValueError("the predictor pairwise has pairs that do not fit the classes")
        return cls(partners=partners, **settings)
