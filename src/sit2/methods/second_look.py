"""Beyond SIT²: train plainly, then look again where classes are confused."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.methods.method import Method, train_plainly
from sit2.records import ClassPair
from sit2.training.phase import Phase


class SecondLook(Method):
    """Plain training; the finished model looks twice among the classes of the pairs.

    What a second look is stands in :mod:`sit2.training.second_look`. It costs no image passes: the probe that
    it asks is made in closed form.
    """

    uses_pairs = True
    looks_again = True
    trains_as = "plain"
    settings = ("second_weight",)

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return the phase of plain training; the pairs count afterwards."""
        return [train_plainly(num_classes)]
