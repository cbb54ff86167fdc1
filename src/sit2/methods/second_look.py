"""Beyond SIT²: train as another method does, then look again where classes are confused."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.methods.method import Method
from sit2.methods.plain import LabelSmoothing, Plain
from sit2.records import ClassPair
from sit2.training.phase import Phase

TRAINERS: dict[str, type[Method]] = {"plain": Plain, "label-smoothing": LabelSmoothing}


class SecondLook(Method):
    """Another method's training; the finished model looks twice among the classes of the pairs.

    What a second look is stands in :mod:`sit2.inference.second_look`. It costs no image passes: the probe that
    it asks is made in closed form.
    """

    uses_pairs = True
    looks_again = True
    settings = ("second_network", "second_weight")

    @property
    def trains_as(self) -> str:
        """Return the method that trains the network."""
        return self.config.second_network

    def phases(self, pairs: Sequence[ClassPair], num_classes: int) -> list[Phase]:
        """Return the other method's; the pairs count afterwards."""
        return TRAINERS[self.trains_as](self.config).phases(pairs, num_classes)
