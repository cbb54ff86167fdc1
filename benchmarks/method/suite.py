"""A suite: which sets, methods, numbers of labels and settings; one YAML file each in ``suites/``."""

from __future__ import annotations

from pathlib import Path

import yaml

from benchmarks.datasets import BY_NAME
from sit2.cells import Grid, Source
from sit2.config import Config, make_config

SUITES = Path(__file__).parent / "suites"


def names() -> list[str]:
    return sorted(file.stem for file in SUITES.glob("*.yaml"))


def read(name: str) -> tuple[Grid, Config]:
    """Return what a suite compares, and the settings that all its cells share."""
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
    return grid, make_config(suite["settings"])
