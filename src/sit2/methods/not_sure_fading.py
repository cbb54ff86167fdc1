"""Beyond SIT²: not-sure images that fade out, in one phase (as mixup without hesitation, Yu et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sit2.methods.method import METHOD, MixesPairs
from sit2.parameters import parameter

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class NotSureFading(MixesPairs):
    """Train on the original images and on not-sure images that become fewer until none is left.

    "Not sure" is an output beside the K classes, which is left out at the end; the head is never begun anew.
    """

    fading_fraction: float = parameter(
        0.5,
        "not-sure-fading: fraction of not-sure images at the beginning; at the end there are none",
        low=0.0,
        high=1.0,
        tune=(0.1, 0.9),
        topic=METHOD,
    )

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return one phase."""
        from sit2.methods.batches import Composites
        from sit2.methods.targets import class_or_none
        from sit2.training.phase import Phase, cross_entropy_or_none

        batches = Composites(
            pairs,
            original_fraction=1 - self.fading_fraction,
            sure_fraction=0.0,
            operators=self.operators,
            fades=True,
        )
        return [Phase("train", batches, class_or_none, cross_entropy_or_none, num_classes, fraction=1.0)]
