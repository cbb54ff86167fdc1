"""Declarations of settings: of every method and predictor, and of every room."""

import functools
import math
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from sit2.cli.parser import make_parser
from sit2.config.schema import SETTINGS, Config
from sit2.errors import ConfigError
from sit2.inference.predictors import PREDICTORS
from sit2.methods import METHODS
from sit2.parameters import (
    check_fields,
    one_declaration_each,
    parameter,
    parameters_of,
    summary_of,
)

OWNERS = {"Config": Config, **METHODS, **PREDICTORS}
DECLARED = [(owner, one) for owner, kind in OWNERS.items() for one in parameters_of(kind)]
EACH = pytest.mark.parametrize(
    ("owner", "one"), DECLARED, ids=[f"{owner}-{one.name}" for owner, one in DECLARED]
)


@dataclass(frozen=True, kw_only=True)
class Oven:
    """An oven. It heats."""

    degrees: float = parameter(180.0, "how hot", low=50, high=250, tune=(100, 200), topic="heat")
    program: str = parameter("air", "which program", choices=("air", "grill"), aliases={"fan": "air"})
    racks: tuple[str, ...] = parameter(("top",), "which racks", choices=("top", "low"))
    minutes: int | None = parameter(None, "how long", low=1)
    light: bool = parameter(True, "whether there is light")
    dish: Path | None = parameter(None, "what it is in")
    hot: bool = False  # no setting

    def __post_init__(self):
        check_fields(self)


class TestDeclarations:
    @EACH
    def test_the_default_can_be_set(self, owner, one):
        assert one.check(one.default) == one.default

    @EACH
    def test_the_default_and_what_tuning_tries_are_in_range(self, owner, one):
        rule = one.rule
        low, high = (
            (-math.inf if rule.low is None else rule.low),
            (math.inf if rule.high is None else rule.high),
        )
        assert low < high
        if isinstance(one.default, int | float) and not isinstance(one.default, bool):
            assert low <= one.default <= high
        if rule.tune is not None:
            assert low <= rule.tune[0] < rule.tune[1] <= high
        if rule.choices:
            assert len(set(rule.choices)) == len(rule.choices)
            assert set(rule.aliases.values()) <= set(rule.choices)
            assert not set(rule.aliases) & set(rule.choices)

    @EACH
    def test_the_help_says_what_it_is(self, owner, one):
        assert one.rule.text
        assert not one.rule.text.endswith(".")
        assert one.rule.topic

    @EACH
    def test_the_command_and_the_settings_have_it(self, owner, one):
        assert SETTINGS[one.name] == one
        assert re.search(f"--{one.name.replace('_', '-')}[ ,]", whole_help())
        assert "".join(one.rule.text.split()) in "".join(whole_help().split())  # broken at hyphens too

    @pytest.mark.parametrize("name", [*METHODS, *PREDICTORS])
    def test_a_line_of_help_for_each_method_and_predictor(self, name):
        kind = OWNERS[name]
        summary = summary_of(kind)
        assert 10 < len(summary) <= 116
        assert not summary.endswith(".")
        assert kind.__doc__.startswith(summary)  # its own, not its parent's

    def test_names_are_of_one_style(self):
        assert all(name.replace("_", "").isalpha() and name.islower() for name in SETTINGS)
        for name in (*METHODS, *PREDICTORS):
            assert name.replace("-", "").isalpha()
            assert name.islower()
        assert not set(METHODS) & set(PREDICTORS)

    @pytest.mark.parametrize("name", [*METHODS, *PREDICTORS])
    def test_made_without_arguments_it_has_its_defaults_and_is_frozen(self, name):
        made = OWNERS[name]()
        for one in parameters_of(type(made)):
            assert getattr(made, one.name) == one.default
            with pytest.raises(FrozenInstanceError):
                setattr(made, one.name, one.default)

    @pytest.mark.parametrize("name", [*METHODS, *PREDICTORS])
    def test_a_value_out_of_range_is_refused_when_it_is_made(self, name):
        kind = OWNERS[name]
        for one in parameters_of(kind):
            if one.rule.low is not None:
                with pytest.raises(ConfigError, match=f"^{one.name} is "):
                    kind(**{one.name: one.rule.low - 1})
            if one.rule.choices:
                with pytest.raises(ConfigError, match=f"^{one.name} cannot be "):
                    kind(**{one.name: "something else"})


@functools.cache
def whole_help():
    """Return what `sit2 train --help-all` prints, in one line."""
    verbs = next(action for action in make_parser(everything=True)._actions if action.dest == "verb")
    return " ".join(verbs.choices["train"].format_help().split())


@pytest.mark.parametrize("module", ["sit2.methods", "sit2.inference.predictors", "sit2.config.schema"])
def test_declarations_are_read_without_torch(module):
    code = f"import sys, {module}; print(*({{'torch', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


class TestChecking:
    def test_fields_without_a_rule_are_no_settings(self):
        names = ["degrees", "program", "racks", "minutes", "light", "dish"]
        assert [one.name for one in parameters_of(Oven)] == names

    def test_values_become_what_they_are_declared_as(self):
        made = Oven(degrees="200", program="fan", racks="low, top", minutes=3.0, light="false", dish="a/b")
        assert made == Oven(
            degrees=200.0, program="air", racks=("low", "top"), minutes=3, light=False, dish=Path("a/b")
        )
        assert type(made.minutes) is int
        assert type(made.degrees) is float

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"degrees": 300}, "degrees is 300\nexpected a number from 50 to 250"),
            ({"degrees": "hot"}, "degrees is 'hot'\nexpected a number"),
            ({"degrees": True}, "degrees is True\nexpected a number"),
            ({"degrees": None}, "degrees is None\nexpected a number"),
            ({"degrees": math.nan}, "degrees is nan\nexpected a number"),
            ({"program": "gril"}, "program cannot be 'gril'\ndid you mean 'grill'?"),
            ({"racks": ["top", "mid"]}, "racks cannot be 'mid'\nchoose from top, low"),
            ({"racks": 3}, "racks is 3\nexpected names with commas between: top, low"),
            ({"minutes": 0}, "minutes is 0\nexpected a whole number at least 1"),
            ({"minutes": 2.5}, "minutes is 2.5\nexpected a whole number"),
            ({"light": 1}, "light is 1\nexpected true or false"),
            ({"dish": 3}, "dish is 3\nexpected a path"),
        ],
    )
    def test_whole_sentences(self, values, sentence):
        with pytest.raises(ConfigError) as error:
            Oven(**values)
        assert str(error.value) == sentence

    def test_the_first_line_of_the_docstring_is_the_summary(self):
        assert summary_of(Oven) == "An oven. It heats"


class TestOneDeclarationEach:
    def test_classes_may_share_a_declaration(self):
        @dataclass(frozen=True, kw_only=True)
        class Stove(Oven):
            plates: int = parameter(4, "how many plates", low=1)

        found = one_declaration_each([Oven, Stove])
        assert list(found) == ["degrees", "program", "racks", "minutes", "light", "dish", "plates"]
        assert found["plates"].default == 4

    def test_but_not_differ_in_it(self):
        @dataclass(frozen=True, kw_only=True)
        class Stove:
            degrees: float = parameter(90.0, "how hot", low=50, high=250)

        with pytest.raises(ValueError, match="Stove declares 'degrees' differently than another"):
            one_declaration_each([Oven, Stove])
