"""Whatever the docs and docstrings name is there: flags, recipes, files, modules, functions, constants."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from pathlib import Path

import pytest

import sit2
import sit2.errors
from sit2.cli.parser import make_parser
from sit2.cli.verbs import VERBS
from sit2.config.recipe import Recipe
from sit2.config.schema import SETTINGS
from sit2.errors import ConfigError
from sit2.inference.predictors import PREDICTORS
from sit2.methods import METHODS

ROOT = Path(__file__).parent.parent
PACKAGE = Path(sit2.__file__).parent
# The log and the changelog tell of what was called otherwise at their time.
PAGES = [p for p in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md") if p.stem != "experiments"]
SOURCES = sorted(PACKAGE.rglob("*.py"))
OTHERS = {
    "--headless",
    "--from-split",
    "--page",
    "--out",
    "--kills",
    *("--contrast", "--data", "--images", "--power", "--set"),
    *("--index-url", "--no-deps"),  # pip's
    "--logdir",  # TensorBoard's
}  # flags of other programs, the benchmarks'


def code(page: Path) -> list[str]:
    """Return what a page sets as code: within a line, and blocks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:console|yaml)\n(.*?)^```", text, re.M | re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return [*re.findall(r"`([^`\n]+)`", text), *(line for block in blocks for line in block.splitlines())]


def flags() -> set[str]:
    parser = make_parser()
    verbs = next(action for action in parser._actions if hasattr(action, "choices") and action.choices)
    return {flag for verb in verbs.choices.values() for flag in verb._option_string_actions} | {"--version"}


FLAGS = flags()
CONSTANTS = {
    target.id
    for path in SOURCES
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.Assign | ast.AnnAssign)
    for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    if isinstance(target, ast.Name)
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
class TestPages:
    def test_flags(self, page: Path) -> None:
        for text in code(page):
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
                assert flag in FLAGS | OTHERS, f"{page.name}: {text}"

    def test_verbs(self, page: Path) -> None:
        for text in code(page):
            for verb in re.findall(r"\bsit2 ([a-z]+)\b", text):
                assert verb in VERBS, f"{page.name}: {text}"

    def test_recipes(self, page: Path) -> None:
        for text in code(page):
            for recipe in re.findall(rf"(?<![\w./@+*-])(?:{'|'.join(METHODS)})[@*+][\w@*+-]+", text):
                assert Recipe.parse(recipe).method in METHODS

    def test_files_of_the_package_and_the_project(self, page: Path) -> None:
        for text in code(page):
            for name in re.findall(
                r"(?<![\w./-])(?:\w+/)*\w+\.(?:py|toml)\b|(?<![\w./-])\w+(?:/\w+)*/(?=$|`)", text
            ):
                places = (
                    PACKAGE,
                    ROOT,
                    PACKAGE / "data",
                    PACKAGE / "execution",
                    ROOT / "benchmarks" / "method",
                )
                if "/" in name or name.endswith(".py"):
                    assert any((place / name).exists() for place in places) or name in EXAMPLES, (
                        f"{page.name}: {name}"
                    )

    def test_names_of_the_package(self, page: Path) -> None:
        for text in code(page):
            for name in re.findall(r"\bsit2(?:\.\w+)+", text):
                if name != "sit2.dev":
                    assert found(name), f"{page.name}: {name}"

    def test_constants(self, page: Path) -> None:
        for text in code(page):
            for name in re.findall(r"^[A-Z][A-Z]+(?:_[A-Z]+)*$", text):
                assert name in CONSTANTS | WORDS, f"{page.name}: {name}"


# Files that a page tells one to write, or that a run writes.
EXAMPLES = {
    *(
        "methods/x.py",
        "inference/predictors/x.py",
        "synthesis/x.py",
        "data/readers/x.py",
        "execution/executors/x.py",
        "suggest/policies/x.py",
        "trackers/x.py",
    ),
    *("methods/half_smooth.py", "inference/predictors/prior.py"),
    *(
        "figures/",
        "tables/",
        "cells/",
        "history/",
        "confusion/",
        "model/",
        "predictions/",
        "synthesis/",
        "batches/",
    ),
}
WORDS = {
    "DATA",
    "COLUMN",
    "FILE",
    "LO",
    "HI",
    "CC0",
    "HF_HOME",
    "MONOCHROME",
    "LINEAR",
    "SIGMOID",
    "DICOMDIR",
    "RUN",
    *("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT", "MEDMNIST_ROOT"),
    "DIR",
}


def found(name: str) -> bool:
    """Import a dotted name; raise where there is none."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            thing = getattr(thing, part)
        return True
    raise AssertionError(name)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_docstrings_refer_to_what_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    module = "sit2." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for role, target in re.findall(r":(class|func|meth|mod|attr|data):`~?([\w.]+)`", text):
        if target.startswith("sit2."):
            found(target)
            continue
        home = importlib.import_module(module) if not module.endswith("__main__") else None
        owners = [home, *(kind for kind in vars(home).values() if isinstance(kind, type))] if home else []
        first = target.split(".")[0]
        known = (
            hasattr(builtins, first) or hasattr(sit2.errors, first) or any(hasattr(o, first) for o in owners)
        )
        assert known, f"{module}: {role} {target}"


def test_settings_and_predictors_have_a_word_in_the_docs() -> None:
    text = " ".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in (*METHODS, *PREDICTORS) if name not in text] == []


def test_an_unknown_recipe_would_be_found() -> None:
    with pytest.raises(ConfigError):
        Recipe.parse("plain+nothing")
    assert "image_size" in SETTINGS
