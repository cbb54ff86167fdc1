"""The one configuration: every value is checked, and every message has its hint."""

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sit2.config.recipe import Recipe
from sit2.config.schema import OWN, SETTINGS, Config, changed, make_config, read_config_file
from sit2.errors import ConfigError
from sit2.inference.predictors import PREDICTORS
from sit2.methods import METHODS
from sit2.parameters import parameters_of
from sit2.synthesis import SYNTHESIZERS
from sit2.synthesis.mixer import DEFAULT_OPERATORS
from sit2.training.augmentations import PRESETS


def value_of(config, name):
    return config.own[name] if name in OWN else getattr(config, name)


def message(*sources, **values):
    with pytest.raises(ConfigError) as error:
        make_config(*sources, values)
    assert 1 <= len(str(error.value).split("\n")) <= 3
    return str(error.value)


def other_value(name):
    """A value that the setting can take and that is not its default, as YAML would give it."""
    rule, default = SETTINGS[name].rule, SETTINGS[name].default
    special = {
        "seed": 7,
        "labels_per_class": 5,
        "val_per_class": 3,
        "cv": 3,
        "channels_from": [0, 2, 2],
        "calibration_fraction": 0.1,
        "groups": "patient",
        "group_pattern": r"^(\d+)_",
        "cache": "some/folder",
        "depth_window": "-1000,400",
        "method": "not-sure@all*2+tta",
        "control": "mixup",
        "operators": ["halves"],
        "pretrained": False,
        "add": ["some/labels.csv", "some/more.csv"],
        "weights": "some/model.pth",
        "backbone": "resnet18",
        "confusion_epochs": 3.5,
        "max_pairs": 11,
        "split_seed": 5,
        "phase_smoothing": 0.2,
        "ensemble_weight": 0.2,
        "soft_cut": 0.3,
        "samples_seen": 700,
        "lr": 0.017,
        "weight_decay": 0.3,
    }
    if name in special:
        return special[name]
    if rule.choices:
        return next(c for c in rule.choices if c != default)
    if isinstance(default, bool):
        return not default
    if default is None:
        return rule.low or 1
    for value in (default + 1, default * 1.5, default * 0.7):
        if (rule.low is None or value >= rule.low) and (rule.high is None or value <= rule.high):
            return type(default)(value)
    raise AssertionError(name)


class TestSettings:
    @pytest.mark.parametrize("name", SETTINGS)
    def test_every_setting_goes_through_yaml_and_back(self, name):
        value = other_value(name)
        made = make_config({name: value})
        assert value_of(made, name) != SETTINGS[name].default
        again = make_config(yaml.safe_load(yaml.safe_dump(made.as_dict())))
        assert again == made != make_config()
        assert list(made.as_dict()) == list(SETTINGS)

    @pytest.mark.parametrize("name", SETTINGS)
    def test_the_command_lines_text_means_the_same_as_a_value(self, name):
        value = other_value(name)
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        assert make_config({name: text}) == make_config({name: value})

    @pytest.mark.parametrize("name", SETTINGS)
    def test_it_survives_the_way_to_another_process(self, name):
        made = make_config({name: other_value(name)})
        again = pickle.loads(pickle.dumps(made))
        assert again == made
        assert again.own == made.own

    @pytest.mark.parametrize("name", SETTINGS)
    def test_one_setting_is_changed_and_the_others_stay(self, name):
        before = make_config({"seed": 3, "soft_alpha": 0.5, "batch_size": 19})
        after = changed(before, **{name: other_value(name)})
        assert {**before.as_dict(), name: after.as_dict()[name]} == after.as_dict()
        assert after.as_dict()[name] == make_config({name: other_value(name)}).as_dict()[name]

    @pytest.mark.parametrize("name", SETTINGS)
    def test_defaults_are_allowed_and_none_is_only_where_it_means_something(self, name):
        assert make_config({name: SETTINGS[name].default}) == make_config()
        optional = {
            "labels_per_class",
            "val_per_class",
            "epochs",
            "batch_size",
            "image_size",
            "groups",
            "group_pattern",
            "confusion_epochs",
            "max_pairs",
            "ensemble_weight",
            "split_seed",
            "samples_seen",
            "weights",
            "lr",
            "weight_decay",
        }
        if name in optional:
            assert value_of(make_config({name: None}), name) is None
        else:
            assert message({name: None})

    def test_choices_are_the_names_of_the_dicts(self):
        assert SETTINGS["operators"].rule.choices == SETTINGS["operators"].default == tuple(SYNTHESIZERS)
        assert tuple(SYNTHESIZERS) == DEFAULT_OPERATORS
        assert SETTINGS["augment"].rule.choices == tuple(PRESETS)

    def test_what_methods_and_predictors_declare_is_kept_apart_and_no_place_is_forgotten(self):
        owners = [*METHODS.values(), *PREDICTORS.values()]
        declared = {one.name for owner in owners for one in parameters_of(owner)}
        assert set(OWN) == declared
        assert set(make_config().own) == declared
        assert not declared & {f.name for f in dataclasses.fields(Config)}

    @pytest.mark.parametrize("name", [*METHODS, *PREDICTORS])
    def test_what_is_set_reaches_the_method_or_predictor(self, name):
        owner = (METHODS | PREDICTORS)[name]
        for one in parameters_of(owner):
            config = make_config({one.name: other_value(one.name)})
            if name in METHODS:
                made = config.make_method(name)
            else:
                (made,) = config.make_predictors((name,))
            assert type(made) is owner
            assert getattr(made, one.name) == config.own[one.name] != one.default

    def test_a_default_recipe_is_plain_training_with_calibrated_answers(self):
        config = make_config()
        assert config.recipe == Recipe("plain", predictors=("tta", "ensemble", "temperature"))
        assert [str(recipe) for recipe in config.recipes] == ["linear+tta+temperature", str(config.recipe)]
        assert config.recipe.control() is None  # nothing to compare it with

    def test_the_recipes_of_a_run_are_the_control_and_the_method(self):
        config = make_config({"method": "not-sure+tta", "backbone": "small-cnn"})
        assert [str(recipe) for recipe in config.recipes] == ["plain+tta", "not-sure+tta"]
        alone = changed(config, control="none")
        assert [str(recipe) for recipe in alone.recipes] == ["not-sure+tta"]

    def test_the_linear_classifier_stands_first_where_there_are_imagenet_weights(self):
        for method, expected in (
            ("plain+tta+ensemble", ["linear+tta", "plain+tta+ensemble"]),
            ("mixup", ["linear", "plain", "mixup"]),
            ("linear+tta", ["linear+tta"]),
        ):
            assert [str(recipe) for recipe in make_config({"method": method}).recipes] == expected

    def test_single_settings_win_over_a_preset(self):
        assert make_config({"preset": "quick"}).method.startswith("linear")
        assert make_config({"preset": "quick", "method": "mixup"}).method == "mixup"
        best = make_config({"preset": "best"}, {"image_size": 96})
        assert (best.recipe.members, best.image_size) == (4, 96)
        assert make_config(best.as_dict()) == best

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({}, True),
            ({"pretrained": False}, False),
            ({"backbone": "small-cnn"}, False),
            ({"backbone": "small-cnn", "weights": "some/model.pth"}, True),
        ],
    )
    def test_whether_trainings_start_from_trained_weights(self, settings, expected):
        assert make_config(settings).starts_trained is expected

    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            make_config().seed = 1  # type: ignore[misc]
        with pytest.raises(TypeError):
            make_config().own["soft_alpha"] = 1.0  # type: ignore[index]


class TestTypes:
    @pytest.mark.parametrize(
        ("name", "value", "stored"),
        [
            ("seed", "12", 12),
            ("seed", 12.0, 12),
            ("seed", 2**63 + 1, 2**63 + 1),
            ("epochs", 3, 3.0),
            ("epochs", "1e2", 100.0),
            ("pretrained", "True", True),
            ("pretrained", "false", False),
            ("channels", 1, "1"),
            ("operators", " blend , halves", ("blend", "halves")),
            ("operators", "patches", ("patches",)),
            ("operators", ("halves", "blend"), ("halves", "blend")),
            ("weights", "a/b.pth", Path("a/b.pth")),
            ("lr", 1e30, 1e30),
        ],
    )
    def test_is_stored_as(self, name, value, stored):
        made = value_of(make_config({name: value}), name)
        assert made == stored
        assert type(made) is type(stored)


class TestMessages:
    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"epoch": 3}, "unknown setting 'epoch'\ndid you mean 'epochs'?"),
            ({"image-sise": 3}, "unknown setting 'image-sise'\ndid you mean 'image_size'?"),
            ({"seed": "seven"}, "seed is 'seven'\nexpected a whole number"),
            ({"seed": True}, "seed is True\nexpected a whole number"),
            ({"seed": 1.5}, "seed is 1.5\nexpected a whole number"),
            ({"seed": [1]}, "seed is [1]\nexpected a whole number"),
            ({"seed": None}, "seed is None\nexpected a whole number"),
            ({"seed": -1}, "seed is -1\nexpected a whole number at least 0"),
            ({"batch_size": float("inf")}, "batch_size is inf\nexpected a whole number"),
            ({"batch_size": "inf"}, "batch_size is 'inf'\nexpected a whole number"),
            ({"batch_size": "nan"}, "batch_size is 'nan'\nexpected a whole number"),
            ({"epochs": "many"}, "epochs is 'many'\nexpected a number"),
            ({"epochs": False}, "epochs is False\nexpected a number"),
            ({"epochs": float("inf")}, "epochs is inf\nexpected a number"),
            ({"epochs": "nan"}, "epochs is 'nan'\nexpected a number"),
            ({"epochs": 0}, "epochs is 0\nexpected a number at least 0.01"),
            ({"image_size": 7}, "image_size is 7\nexpected a whole number from 8 to 1024"),
            ({"image_size": "2048"}, "image_size is '2048'\nexpected a whole number from 8 to 1024"),
            ({"val_fraction": 0.6}, "val_fraction is 0.6\nexpected a number from 0.01 to 0.5"),
            ({"pretrained": 1}, "pretrained is 1\nexpected true or false"),
            ({"pretrained": "yes"}, "pretrained is 'yes'\nexpected true or false"),
            ({"weights": 3}, "weights is 3\nexpected a path"),
            ({"backbone": 1.5}, "backbone is 1.5\nexpected a word"),
            ({"device": "gpu"}, "device cannot be 'gpu'\ndid you mean 'cpu'?"),
            ({"augment": "flop"}, "augment cannot be 'flop'\ndid you mean 'flip'?"),
            ({"channels": 4}, "channels cannot be 4\nchoose from auto, 1, 3"),
            ({"operators": "blend,halfs"}, "operators cannot be 'halfs'\ndid you mean 'halves'?"),
            ({"operators": ""}, "operators cannot be ''\nchoose from blend, halves, patches"),
            ({"operators": ["blend", 3]}, "operators cannot be 3\nchoose from blend, halves, patches"),
            ({"operators": []}, "operators is empty\nname at least one of blend, halves, patches"),
            (
                {"operators": 3},
                "operators is 3\nexpected names with commas between: blend, halves, patches",
            ),
            (
                {"method": "multilabel"},
                "unknown method 'multilabel'\ndid you mean 'multi-label' or 'soft-label'?",
            ),
            (
                {"method": "multilabel@all"},
                "unknown method 'multilabel'\ndid you mean 'multi-label' or 'soft-label'?",
            ),
            ({"control": "zzz"}, f"unknown method 'zzz'\nchoose from {', '.join(METHODS)}"),
            (
                {"method": "multi-label@foo"},
                "unknown pairs '@foo' in 'multi-label@foo'\nexpected '@random' or '@all'",
            ),
            (
                {"method": "not-sure+tta", "control": "plain+temperature"},
                (
                    "the control 'plain+temperature' has other predictors than 'not-sure+tta', so their "
                    "difference would not be the method's\nuse 'plain', which gets the same ones, or auto"
                ),
            ),
            ({"soft_alpha": 0}, "soft_alpha is 0\nexpected a number at least 0.01"),
            (
                {"soft_alfa": 0.5},
                "unknown setting 'soft_alfa'\ndid you mean 'soft_alpha' or 'soft_originals'?",
            ),
            ({"ensemble_weight": 1.5}, "ensemble_weight is 1.5\nexpected a number from 0.0 to 1.0"),
            (
                {"val_fraction": 0.5, "test_fraction": 0.5},
                (
                    "val_fraction 0.5 and test_fraction 0.5 leave less than a tenth of the images for "
                    "training\nexpected a sum of at most 0.9; lower one of them"
                ),
            ),
        ],
    )
    def test_whole_sentences(self, values, sentence):
        assert message(values) == sentence

    def test_an_unknown_setting_nothing_is_near_to_lists_them_all(self):
        assert message({"qqq": 1}) == f"unknown setting 'qqq'\nchoose from {', '.join(SETTINGS)}"

    @pytest.mark.parametrize(
        "name",
        [n for n, one in SETTINGS.items() if one.rule.low is not None and not isinstance(one.default, tuple)],
    )
    def test_limits_are_inclusive(self, name):
        rule = SETTINGS[name].rule
        low, high = rule.low, rule.high
        room = {"test_fraction": 0.05, "val_fraction": 0.05}
        assert value_of(make_config(room, {name: low}), name) == low
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        assert message({name: low - 1}).endswith(f" {limits}")
        if high is not None:
            assert value_of(make_config(room, {name: high}), name) == high
            assert message({name: high + max(1, high)}).endswith(f" {limits}")

    def test_own_settings_given_to_the_class_itself_are_checked_too(self):
        assert Config(own={"soft_alpha": "0.5"}).own["soft_alpha"] == 0.5
        with pytest.raises(ConfigError, match=r"^unknown setting 'soft_alfa'\ndid you mean 'soft_alpha'"):
            Config(own={"soft_alfa": 0.5})
        with pytest.raises(ConfigError, match=r"^soft_alpha is -1\n"):
            Config(own={"soft_alpha": -1})


def test_later_sources_win_and_dashes_are_underscores():
    made = make_config({"batch-size": 5, "seed": 1}, {"batch_size": 7}, {"seed": 2})
    assert (made.batch_size, made.seed) == (7, 2)


class TestFile:
    def test_settings(self, tmp_path):
        (tmp_path / "c.yaml").write_text("image-size: 32\noperators: [halves, blend]\nlr: null\n")
        made = make_config(read_config_file(tmp_path / "c.yaml"))
        assert (made.image_size, made.own["operators"], made.lr) == (32, ("halves", "blend"), None)

    def test_an_empty_file_sets_nothing(self, tmp_path):
        (tmp_path / "c.yaml").write_text("# nothing\n")
        assert read_config_file(tmp_path / "c.yaml") == {}

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("- a\n- b\n", "{} is not a list of settings\nexpected lines such as 'epochs: 60'"),
            ("epochs", "{} is not a list of settings\nexpected lines such as 'epochs: 60'"),
        ],
    )
    def test_no_settings(self, content, sentence, tmp_path):
        file = tmp_path / "c.yaml"
        file.write_text(content)
        with pytest.raises(ConfigError) as error:
            read_config_file(file)
        assert str(error.value) == sentence.format(file)

    @pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"!!python/object/apply:os.getcwd []"])
    def test_not_yaml(self, content, tmp_path):
        file = tmp_path / "c.yaml"
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot read the settings file") as error:
            read_config_file(file)
        assert len(str(error.value).split("\n")) == 1

    def test_no_file(self, tmp_path):
        with pytest.raises(ConfigError) as error:
            read_config_file(tmp_path / "none.yaml")
        assert (
            str(error.value)
            == f"no such settings file: {tmp_path / 'none.yaml'}\n--config expects a YAML file"
        )


def test_reading_settings_loads_nothing_heavy():
    code = (
        "import sys, sit2.config.schema\n"
        "config = sit2.config.schema.make_config({'seed': 1, 'method': 'not-sure@random*2+tta+temperature'})\n"
        "config.make_method('not-sure'), config.make_predictors(config.recipe.predictors), config.as_dict()\n"
        "heavy = {'torch', 'torchvision', 'timm', 'numpy', 'pandas', 'sklearn', 'scipy', 'joblib', 'PIL'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
