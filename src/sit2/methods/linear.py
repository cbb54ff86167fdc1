"""No training at all: a linear classifier on the frozen features of a pretrained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sit2.methods.method import Method

if TYPE_CHECKING:
    from sit2.records import ClassPair
    from sit2.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class Linear(Method):
    """Fit a linear classifier on frozen features, in closed form: seconds, and the baseline of all training."""

    in_closed_form: ClassVar[bool] = True

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return no phase: the loop has nothing to do."""
        return []
