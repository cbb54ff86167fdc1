"""A suite: which sets, methods, numbers of labels and settings; one YAML file each in ``suites/``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from benchmarks.datasets import BY_NAME
from sit2.cells import Grid, Source
from sit2.config import Config, check_method, make_config

SUITES = Path(__file__).parent / "suites"


def names() -> list[str]:
    return sorted(file.stem for file in SUITES.glob("*.yaml"))


@dataclass(frozen=True)
class Part:
    """Cells that share all settings: a grid, and what its methods are called in the results."""

    grid: Grid
    config: Config
    variant: str | None = None  # the name of the only method, where its settings are not the usual ones


def read(name: str) -> list[Part]:
    """Return the parts of a suite: its methods with the common settings, then one part for each variant."""
    suite = yaml.safe_load((SUITES / f"{name}.yaml").read_text(encoding="utf-8"))
    sources = []
    for one in (BY_NAME[name] for name in suite["sets"]):
        own = {"augment": one.augment} | ({"groups": one.groups} if one.groups else {})
        sources.append(Source(one.path, own))
    grid = Grid(
        tuple(sources),
        tuple(suite["methods"]),
        splits=suite["splits"],
        seeds=suite.get("seeds", 1),
        labels=tuple(suite.get("labels", ())),
    )
    parts = [Part(grid, make_config(suite["settings"]))]
    for variant, settings in suite.get("variants", {}).items():
        own = dict(settings)
        method = own.pop("method")
        check_method(method)
        parts.append(Part(replace(grid, methods=(method,)), make_config(suite["settings"], own), variant))
    return parts
