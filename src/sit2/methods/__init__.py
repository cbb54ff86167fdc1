"""What to train: one file per method, each a list of phases over one budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sit2.config.schema import Config, check_method
from sit2.confusion.pairs import all_pairs, random_pairs
from sit2.methods.confusion_smoothing import ConfusionSmoothing
from sit2.methods.method import Method, train_plainly
from sit2.methods.mixup import CutMix, Mixup, MixupFinetune
from sit2.methods.multi_label import MultiLabel
from sit2.methods.not_sure import NotSure
from sit2.methods.plain import LabelSmoothing, Plain, PlainRestart
from sit2.methods.second_look import SecondLook
from sit2.methods.soft_label import SoftLabel
from sit2.methods.sure_or_not import SureOrNot
from sit2.methods.targets import SmoothedTargets
from sit2.records import ClassPair
from sit2.seeds import Seeds
from sit2.training.phase import Phase, cross_entropy

METHODS: dict[str, type[Method]] = {
    "plain": Plain,
    "plain-restart": PlainRestart,
    "label-smoothing": LabelSmoothing,
    "mixup": Mixup,
    "cutmix": CutMix,
    "mixup-finetune": MixupFinetune,
    "not-sure": NotSure,
    "sure-or-not": SureOrNot,
    "multi-label": MultiLabel,
    "soft-label": SoftLabel,
    "confusion-smoothing": ConfusionSmoothing,
    "second-look": SecondLook,
}


def uses_pairs(name: str) -> bool:
    """Say whether a method, by its full name, needs the confusion to be measured."""
    base, _, source = name.partition("@")
    return METHODS[base].uses_pairs and source != "all"


def settings_of(name: str, config: Config) -> tuple[str, ...]:
    """Return which settings of its own a method depends on, by its full name, its training's included."""
    own, training = METHODS[name.partition("@")[0]], METHODS[trains_as(name, config).partition("@")[0]]
    return own.settings if own is training else (*own.settings, *training.settings)


def looks_again(name: str) -> bool:
    """Say whether a method's model looks twice, by its full name."""
    return METHODS[name.partition("@")[0]].looks_again


def trains_as(name: str, config: Config) -> str:
    """Return the method whose training this one's is, by its full name: itself, for most."""
    return METHODS[name.partition("@")[0]](config).trains_as or name


def pairs_of(name: str, chosen: Sequence[ClassPair], classes: Sequence[str], seeds: Seeds) -> list[ClassPair]:
    """Return the pairs of a method by its full name.

    ``@random`` takes as many pairs as were chosen, drawn evenly from all, and gives them the scores of the
    chosen ones; ``@all`` takes every pair.
    """
    source = name.partition("@")[2]
    if source == "random":
        drawn = random_pairs(classes, len(chosen), seeds.numpy("random pairs"))
        return [replace(pair, score=real.score) for pair, real in zip(drawn, chosen, strict=True)]
    return all_pairs(classes) if source == "all" else list(chosen)


def make_phases(
    name: str, config: Config, chosen: Sequence[ClassPair], classes: Sequence[str], seeds: Seeds
) -> list[Phase]:
    """Return the phases of a method by its full name, such as ``multi-label@random``.

    A method that has no pairs to train with trains plainly.

    Raises:
        ConfigError: for an unknown name.
    """
    check_method(name)
    method = METHODS[name.partition("@")[0]](config)
    pairs = pairs_of(name, chosen, classes, seeds)
    if method.uses_pairs and not pairs and method.trains_as is None:
        return [train_plainly(len(classes))]
    phases = method.phases(pairs, len(classes))
    if config.phase_smoothing and "phase_smoothing" in method.settings:
        phases = [_smoothed(phase, config.phase_smoothing) for phase in phases]
    return phases


def _smoothed(phase: Phase, epsilon: float) -> Phase:
    if phase.loss is not cross_entropy:
        return phase
    return replace(phase, targets=SmoothedTargets(phase.targets, epsilon))
