"""A suite: which sets, methods, numbers of labels and settings; one YAML file each in ``suites/``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from benchmarks.datasets import BY_NAME
from benchmarks.method.source import train_source
from sit2.config.recipe import parse_all
from sit2.config.schema import Config, make_config
from sit2.experiments.design import Grid, Source

SUITES = Path(__file__).parent / "suites"


def names() -> list[str]:
    return sorted(file.stem for file in SUITES.glob("*.yaml"))


@dataclass(frozen=True)
class Part:
    """Cells that share all settings: a grid, and what its recipes are called in the results."""

    grid: Grid
    config: Config
    variant: str | None = None  # the name of the only recipe, where its settings are not the usual ones


def read(name: str, out: Path, *, from_split: int = 0) -> list[Part]:
    """Return the parts of a suite: its recipes with the common settings, then one part for each variant.

    What they start from, where the suite names a source, is trained first, and kept in ``out``. Splits before
    ``from_split`` are left out.

    Raises:
        ConfigError: for a name or value that is none, or where no split is left.
    """
    suite = yaml.safe_load((SUITES / f"{name}.yaml").read_text(encoding="utf-8"))
    settings = dict(suite["settings"])
    first = settings.get("split_seed", 0)
    settings["split_seed"] = max(first, from_split)
    sources = []
    for one in (BY_NAME[name] for name in suite["sets"]):
        own = {"augment": one.augment} | ({"groups": one.groups} if one.groups else {})
        sources.append(Source(one.path, own))
    grid = Grid(
        tuple(sources),
        parse_all(suite["methods"]),
        splits=first + suite["splits"] - settings["split_seed"],
        seeds=suite.get("seeds", 1),
        labels=tuple(suite.get("labels", ())),
    )
    if source := suite.get("source"):
        settings["weights"] = train_source(source["sets"], source["settings"], out)
    parts = [Part(grid, make_config(settings))]
    for variant, changes in suite.get("variants", {}).items():
        own = dict(changes)
        recipes = parse_all([own.pop("method")])
        parts.append(Part(replace(grid, recipes=recipes), make_config(settings, own), variant))
    return parts
