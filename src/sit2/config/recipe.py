"""A recipe: a method, its pairs, how many members, and the predictors that come after training.

It is written ``method[/method…][@pairs][*members][+predictor…]``: ``plain``, ``not-sure@random+tta+temperature``,
``plain*4+tta``; ``plain/not-sure+tta`` are two trainings, one by each method, put together like members.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from sit2.errors import ConfigError, did_you_mean
from sit2.inference.predictors import PREDICTORS
from sit2.methods import METHODS
from sit2.methods.method import PAIR_SOURCES
from sit2.storage.run_folder import file_name

MOST_MEMBERS = 16
AUTO, NONE = "auto", "none"  # what a control may be beside a recipe
EXPECTED = "expected method[@pairs][*members][+predictor…], such as plain+tta or not-sure@random*4"
# What was a method of its own before there were predictors.
_RENAMED = {
    "second-look": "plain+tta+ensemble+pairwise",
    "second-look@random": "plain@random+tta+ensemble+pairwise",
    "second-look@all": "plain+tta+ensemble",
}


@dataclass(frozen=True)
class Recipe:
    """What to train, and what to do with its outputs."""

    method: str
    pairs: str = "chosen"  # one of PAIR_SOURCES
    members: int = 1  # trainings that differ by seed, put together
    predictors: tuple[str, ...] = ()  # in the order in which they have their turn
    others: tuple[str, ...] = ()  # methods of further trainings, which are put together with the first

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a recipe. Raises :class:`ConfigError` for anything that is none."""
        training, *predictors = text.split("+")
        if (name := training.partition("*")[0]) in _RENAMED:
            raise ConfigError(f"{name!r} is no method any more\nwrite {_RENAMED[name]!r}")
        found = re.fullmatch(r"([^@*]*)(?:@([^@*]*))?(?:\*([^@*]*))?", training)
        if found is None:
            raise ConfigError(f"cannot read the recipe {text!r}\n{EXPECTED}")
        written, pairs, members = found.groups()
        method, *others = _methods(written, text)
        recipe = cls(
            method,
            _pairs(pairs, text),
            _members(members, text),
            tuple(sorted(predictors, key=lambda name: _stage(name, text))),
            tuple(others),
        )
        if recipe.trainings > MOST_MEMBERS:
            raise ConfigError(f"{text!r} takes {recipe.trainings} trainings\nexpected at most {MOST_MEMBERS}")
        if len(set(predictors)) < len(predictors):
            raise ConfigError(f"{text!r} names a predictor twice\nexpected each once")
        if pairs is not None and not recipe.uses_pairs:
            raise ConfigError(f"{text!r} uses no pairs\n'@random' and '@all' follow {_using_pairs()}")
        return recipe

    def __str__(self) -> str:
        return self.training + "".join(f"+{name}" for name in self.predictors)

    @cached_property
    def training(self) -> str:
        """Return the part that is trained: recipes with the same one share their networks."""
        pairs = "" if self.pairs == "chosen" else f"@{self.pairs}"
        return f"{'/'.join(self.methods)}{pairs}" + ("" if self.members == 1 else f"*{self.members}")

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods of its trainings: nearly always one."""
        return (self.method, *self.others)

    @property
    def trainings(self) -> int:
        """Return how many trainings it takes."""
        return len(self.methods) * self.members

    @property
    def uses_pairs(self) -> bool:
        """Whether its method or one of its predictors uses pairs of classes."""
        return self.trains_with_pairs or any(PREDICTORS[name].uses_pairs for name in self.predictors)

    @property
    def trains_with_pairs(self) -> bool:
        """Whether one of its methods uses pairs of classes."""
        return any(METHODS[name].uses_pairs for name in self.methods)

    @property
    def is_calibrated(self) -> bool:
        """Whether one of its predictors needs images that chose neither network nor predictors."""
        return any(PREDICTORS[name].is_calibrated for name in self.predictors)

    @property
    def needs_confusion(self) -> bool:
        """Whether confusion must be measured for it."""
        return self.uses_pairs and self.pairs != "all"

    @property
    def file_name(self) -> str:
        """Return it as every file system takes it."""
        return file_name(str(self))

    @property
    def reference(self) -> Recipe:
        """Return the linear classifier on frozen features, with those predictors that suit it."""
        suits = (
            name
            for name in self.predictors
            if not (PREDICTORS[name].uses_features or PREDICTORS[name].uses_pairs)
        )
        return Recipe("linear", predictors=tuple(suits))

    def control(self, asked: str = AUTO) -> Recipe | None:
        """Return what it is compared with, always with the same predictors; None for nothing.

        Args:
            asked: ``auto`` is plain training, and nothing for plain training itself; ``none``; or a recipe.
        """
        if (
            asked == NONE
            or METHODS[self.method].in_closed_form
            or (asked == AUTO and self.methods == ("plain",))
        ):
            return None
        base = Recipe("plain", members=self.trainings) if asked == AUTO else Recipe.parse(asked)
        if base.predictors not in ((), self.predictors):
            raise ConfigError(
                f"the control {asked!r} has other predictors than '{self}', so their difference would not be the "
                f"method's\nuse {base.training!r}, which gets the same ones, or auto"
            )
        control = replace(base, predictors=self.predictors)
        if any(PREDICTORS[name].uses_pairs for name in self.predictors):  # which then use the same pairs
            control = replace(control, pairs=self.pairs)
        return None if control == self else control


def parse_all(texts: Iterable[str]) -> tuple[Recipe, ...]:
    """Read recipes, each kept once, in their order."""
    return tuple(dict.fromkeys(Recipe.parse(text) for text in texts))


def with_controls(recipes: Sequence[Recipe], asked: str = AUTO) -> tuple[Recipe, ...]:
    """Return the recipes with the control of each before them, each once."""
    controls = [control for recipe in recipes if (control := recipe.control(asked)) is not None]
    return tuple(dict.fromkeys([*controls, *recipes]))


def model_folder(run: Path, recipe: Recipe, main: Recipe) -> Path:
    """Return where a run keeps a recipe's model: that of its main recipe, or beside it."""
    model = run / "model"
    return model if recipe == main else model / recipe.file_name


def _methods(given: str, text: str) -> list[str]:
    methods = given.split("/")
    for name in methods:
        if name not in METHODS:
            raise ConfigError(f"unknown method {name!r}\n{did_you_mean(name, METHODS)}")
    if len(set(methods)) < len(methods):
        raise ConfigError(
            f"{text!r} names a method twice\nexpected each once; {methods[0]}*2 differs by seed"
        )
    if len(methods) > 1 and any(METHODS[name].in_closed_form for name in methods):
        raise ConfigError(
            f"{text!r} puts a method in closed form together with others\nexpected trained ones"
        )
    return methods


def _pairs(given: str | None, text: str) -> str:
    if given is None:
        return "chosen"
    if given not in PAIR_SOURCES[1:]:
        raise ConfigError(f"unknown pairs {'@' + given!r} in {text!r}\nexpected '@random' or '@all'")
    return given


def _members(given: str | None, text: str) -> int:
    if given is None:
        return 1
    if not (given.isascii() and given.isdecimal()) or not 2 <= int(given) <= MOST_MEMBERS:
        raise ConfigError(
            f"{text!r} has {given!r} members\nexpected a number from 2 to {MOST_MEMBERS} after '*'"
        )
    return int(given)


def _stage(name: str, text: str) -> int:
    if name not in PREDICTORS:
        raise ConfigError(f"unknown predictor {name!r} in {text!r}\n{did_you_mean(name, PREDICTORS)}")
    return PREDICTORS[name].stage


def _using_pairs() -> str:
    methods = [name for name, method in METHODS.items() if method.uses_pairs]
    predictors = [f"…+{name}" for name, predictor in PREDICTORS.items() if predictor.uses_pairs]
    return ", ".join([*methods, *predictors])
