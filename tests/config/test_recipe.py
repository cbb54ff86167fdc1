"""Recipes: how they are written, what they use, and what they are compared with."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sit2.config.recipe import MOST_MEMBERS, Recipe, parse_all, with_controls
from sit2.config.schema import make_config
from sit2.errors import ConfigError
from sit2.inference.predictors import PREDICTORS
from sit2.methods import METHODS

USING = [name for name, method in METHODS.items() if method.uses_pairs]
PLAIN = [name for name, method in METHODS.items() if not method.uses_pairs]
FOLLOW = "'@random' and '@all' follow " + ", ".join([*USING, "…+pairwise", "…+experts"])
EXPECTED = "expected method[@pairs][*members][+predictor…], such as plain+tta or not-sure@random*4"


def message(text):
    with pytest.raises(ConfigError) as error:
        Recipe.parse(text)
    assert 1 <= len(str(error.value).split("\n")) <= 3
    return str(error.value)


def written(texts):
    return [str(recipe) for recipe in texts]


@st.composite
def recipes(draw):
    """A recipe as its parts, every one that can be written."""
    predictors = draw(st.lists(st.sampled_from(sorted(PREDICTORS)), unique=True))
    trained = sorted(name for name in METHODS if not METHODS[name].in_closed_form)
    several = st.lists(st.sampled_from(trained), unique=True, min_size=2, max_size=4)
    methods = draw(st.one_of(st.sampled_from(sorted(METHODS)).map(lambda name: [name]), several))
    method = "/".join(methods)
    uses = any(name in USING for name in methods) or any(PREDICTORS[name].uses_pairs for name in predictors)
    pairs = draw(st.sampled_from(["", "@random", "@all"])) if uses else ""
    most = MOST_MEMBERS // len(methods)
    members = draw(st.sampled_from(["", *(f"*{n}" for n in range(2, most + 1))]))
    return method, pairs, members, predictors


class TestSeveralMethods:
    def test_its_control_has_as_many_trainings_and_the_same_predictors(self):
        recipe = Recipe.parse("plain/not-sure/multi-label/label-smoothing+tta")
        assert recipe.trainings == 4
        assert str(recipe.control()) == "plain*4+tta"
        assert Recipe.parse("plain/mixup*2").trainings == 4
        assert recipe.uses_pairs
        assert not Recipe.parse("plain/mixup").uses_pairs

    def test_each_stands_once_and_is_trained(self):
        assert "twice" in message("plain/mixup/plain")
        assert "closed form" in message("plain/linear")
        assert "expected at most 16" in message("plain/mixup*9")
        assert "unknown method" in message("plain/")
        assert "uses no pairs" in message("plain/mixup@random")


class TestGrammar:
    @pytest.mark.parametrize(
        ("text", "recipe"),
        [
            ("plain", Recipe("plain")),
            ("not-sure@random", Recipe("not-sure", "random")),
            ("multi-label@all", Recipe("multi-label", "all")),
            ("plain*4", Recipe("plain", members=4)),
            ("plain+tta", Recipe("plain", predictors=("tta",))),
            ("plain/not-sure@random+tta", Recipe("plain", "random", 1, ("tta",), ("not-sure",))),
            ("not-sure@random*4+tta", Recipe("not-sure", "random", 4, ("tta",))),
            (
                "plain@random+tta+ensemble+pairwise",
                Recipe("plain", "random", predictors=("tta", "ensemble", "pairwise")),
            ),
        ],
    )
    def test_by_hand(self, text, recipe):
        assert Recipe.parse(text) == recipe
        assert str(recipe) == text

    @given(recipes())
    def test_what_is_read_is_written_the_same(self, parts):
        method, pairs, members, predictors = parts
        recipe = Recipe.parse(method + pairs + members + "".join(f"+{name}" for name in predictors))
        assert (recipe.methods, recipe.pairs) == (tuple(method.split("/")), pairs[1:] or "chosen")
        assert recipe.members == int(members[1:] or 1)
        assert set(recipe.predictors) == set(predictors)
        assert recipe.training == method + pairs + members
        assert Recipe.parse(str(recipe)) == recipe
        assert str(Recipe.parse(str(recipe))) == str(recipe)

    @given(st.permutations(sorted(PREDICTORS)))
    def test_predictors_have_one_order_however_they_are_written(self, order):
        recipe = Recipe.parse("not-sure+" + "+".join(order))
        assert str(recipe) == "not-sure+tta+ensemble+pairwise+experts+temperature+conformal+ood"
        stages = [PREDICTORS[name].stage for name in recipe.predictors]
        assert stages == sorted(stages)

    def test_no_two_predictors_have_their_turn_at_once(self):
        """Or their order in a recipe would decide."""
        assert len({predictor.stage for predictor in PREDICTORS.values()}) == len(PREDICTORS)

    @given(recipes())
    def test_its_file_name_is_one_everywhere_and_its_own(self, parts):
        recipe = Recipe.parse(parts[0] + parts[1] + parts[2] + "".join(f"+{name}" for name in parts[3]))
        assert re.fullmatch(r"[a-z0-9@+-]+", recipe.file_name)  # no sign that Windows refuses, no capitals
        assert Recipe.parse(re.sub(r"-x(?=\d)", "*", recipe.file_name).replace("--", "/")) == recipe

    @given(recipes(), recipes())
    def test_other_recipes_have_other_file_names(self, first, second):
        one, other = (
            Recipe.parse(method + pairs + members + "".join(f"+{name}" for name in names))
            for method, pairs, members, names in (first, second)
        )
        assert (one.file_name.casefold() == other.file_name.casefold()) == (one == other)


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", f"unknown method ''\nchoose from {', '.join(METHODS)}"),
            ("multilabel", "unknown method 'multilabel'\ndid you mean 'multi-label' or 'soft-label'?"),
            ("+tta", f"unknown method ''\nchoose from {', '.join(METHODS)}"),
            ("Plain", "unknown method 'Plain'\ndid you mean 'plain'?"),
            ("plain+", f"unknown predictor '' in 'plain+'\nchoose from {', '.join(PREDICTORS)}"),
            (
                "plain+temprature",
                "unknown predictor 'temprature' in 'plain+temprature'\ndid you mean 'temperature'?",
            ),
            (
                "plain+tta+ensemble+tta",
                "'plain+tta+ensemble+tta' names a predictor twice\nexpected each once",
            ),
            ("plain@random", f"'plain@random' uses no pairs\n{FOLLOW}"),
            ("plain@all+tta", f"'plain@all+tta' uses no pairs\n{FOLLOW}"),
            ("not-sure@", "unknown pairs '@' in 'not-sure@'\nexpected '@random' or '@all'"),
            ("not-sure@chosen", "unknown pairs '@chosen' in 'not-sure@chosen'\nexpected '@random' or '@all'"),
            ("plain*", "'plain*' has '' members\nexpected a number from 2 to 16 after '*'"),
            ("plain*1", "'plain*1' has '1' members\nexpected a number from 2 to 16 after '*'"),
            ("plain*17", "'plain*17' has '17' members\nexpected a number from 2 to 16 after '*'"),
            ("plain*-2", "'plain*-2' has '-2' members\nexpected a number from 2 to 16 after '*'"),
            ("plain*2.0", "'plain*2.0' has '2.0' members\nexpected a number from 2 to 16 after '*'"),
            ("not-sure*2@random", f"cannot read the recipe 'not-sure*2@random'\n{EXPECTED}"),
            ("not-sure@all@all", f"cannot read the recipe 'not-sure@all@all'\n{EXPECTED}"),
            ("plain*2*2", f"cannot read the recipe 'plain*2*2'\n{EXPECTED}"),
        ],
    )
    def test_whole_sentences(self, text, sentence):
        assert message(text) == sentence

    @pytest.mark.parametrize(
        ("text", "now"),
        [
            ("second-look", "plain+tta+ensemble+pairwise"),
            ("second-look@random", "plain@random+tta+ensemble+pairwise"),
            ("second-look@all", "plain+tta+ensemble"),
        ],
    )
    def test_what_was_a_method_is_refused_with_how_it_is_written_now(self, text, now):
        assert message(text) == f"{text!r} is no method any more\nwrite {now!r}"
        assert str(Recipe.parse(now)) == now
        with pytest.raises(ConfigError, match="is no method any more"):
            make_config({"method": text})

    @given(st.text("plain-sure@*+2tacs ", max_size=20))
    def test_anything_else_is_a_recipe_or_refused_in_words(self, text):
        with contextlib.suppress(ConfigError):
            assert Recipe.parse(str(Recipe.parse(text))) == Recipe.parse(text)


class TestPairs:
    @pytest.mark.parametrize("name", METHODS)
    def test_pairs_follow_what_uses_them(self, name):
        for source in ("random", "all"):
            assert Recipe.parse(f"{name}@{source}+pairwise").pairs == source
            if name in USING:
                assert Recipe.parse(f"{name}@{source}").pairs == source
            else:
                assert message(f"{name}@{source}") == f"'{name}@{source}' uses no pairs\n{FOLLOW}"

    @pytest.mark.parametrize(
        ("text", "trains", "uses", "needs"),
        [
            ("plain+tta+ensemble+temperature", False, False, False),
            ("plain+pairwise", False, True, True),
            ("plain@random+pairwise", False, True, True),  # as many as were chosen
            ("plain@all+pairwise", False, True, False),
            ("not-sure", True, True, True),
            ("not-sure@random", True, True, True),
            ("not-sure@all+tta", True, True, False),
        ],
    )
    def test_what_needs_the_confusion(self, text, trains, uses, needs):
        recipe = Recipe.parse(text)
        assert (recipe.trains_with_pairs, recipe.uses_pairs, recipe.needs_confusion) == (trains, uses, needs)


class TestControls:
    @pytest.mark.parametrize(
        ("recipe", "control"),
        [
            ("not-sure", "plain"),
            ("not-sure+tta+temperature", "plain+tta+temperature"),
            ("not-sure@random+tta", "plain+tta"),
            ("multi-label*4+tta", "plain*4+tta"),
            ("label-smoothing+temperature", "plain+temperature"),
            ("not-sure+pairwise", "plain+pairwise"),
            ("not-sure@random+tta+pairwise", "plain@random+tta+pairwise"),  # the same pairs for both
            ("plain", None),
            ("plain+tta+ensemble", None),
            ("plain*4+tta", None),
        ],
    )
    def test_auto_is_plain_training_with_the_same_predictors(self, recipe, control):
        found = Recipe.parse(recipe).control()
        assert found == (None if control is None else Recipe.parse(control))

    @pytest.mark.parametrize("name", METHODS)
    def test_auto_for_every_method(self, name):
        control = Recipe.parse(f"{name}+tta+temperature").control("auto")
        expected = None if name in ("plain", "linear") else Recipe.parse("plain+tta+temperature")
        assert control == expected

    @given(recipes())
    def test_a_control_is_a_recipe_with_predictors_of_its_recipe(self, parts):
        recipe = Recipe.parse(parts[0] + parts[1] + parts[2] + "".join(f"+{name}" for name in parts[3]))
        for asked in ("auto", "plain", "mixup"):
            control = recipe.control(asked)
            if control is None:
                assert recipe.method in ("linear", "mixup" if asked == "mixup" else "plain")
                continue
            assert Recipe.parse(str(control)) == control != recipe
            missing = set(recipe.predictors) - set(control.predictors)
            assert set(control.predictors) <= set(recipe.predictors)
            assert all(PREDICTORS[name].uses_pairs for name in missing)
            assert not missing or recipe.pairs != "chosen"

    @pytest.mark.parametrize(
        ("recipe", "asked", "control"),
        [
            ("not-sure+tta", "none", None),
            ("not-sure+tta", "mixup", "mixup+tta"),
            ("not-sure+tta", "mixup+tta", "mixup+tta"),
            ("not-sure+tta", "not-sure@random", "not-sure@random+tta"),
            ("not-sure@random+pairwise", "multi-label@random", "multi-label@random+pairwise"),
            ("plain*4+tta", "plain", "plain+tta"),
            ("plain+tta", "plain", None),  # nothing is compared with itself
            ("not-sure+tta", "not-sure+tta", None),
        ],
    )
    def test_one_that_is_asked_for(self, recipe, asked, control):
        found = Recipe.parse(recipe).control(asked)
        assert found == (None if control is None else Recipe.parse(control))

    def test_methods_with_other_predictors_are_not_compared(self):
        with pytest.raises(ConfigError) as error:
            Recipe.parse("not-sure+tta").control("mixup+temperature")
        assert str(error.value) == (
            "the control 'mixup+temperature' has other predictors than 'not-sure+tta', so their difference "
            "would not be the method's\nuse 'mixup', which gets the same ones, or auto"
        )

    def test_controls_come_first_and_each_recipe_once(self):
        recipes = parse_all(["not-sure+tta", "multi-label+tta", "plain+tta", "not-sure+tta", "mixup"])
        assert written(recipes) == ["not-sure+tta", "multi-label+tta", "plain+tta", "mixup"]
        assert written(with_controls(recipes)) == [
            *("plain+tta", "plain", "not-sure+tta", "multi-label+tta", "mixup")
        ]
        assert with_controls(recipes, "none") == recipes

    def test_recipes_that_are_written_differently_are_one(self):
        assert len(parse_all(["plain+tta+temperature", "plain+temperature+tta"])) == 1
