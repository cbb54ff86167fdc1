"""A suite: which sets, methods, numbers of labels and settings; one YAML file each in ``suites/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.datasets import BY_NAME
from benchmarks.method.source import train_source
from sit2.config.recipe import parse_all
from sit2.config.schema import Config, make_config
from sit2.errors import ConfigError
from sit2.experiments.design import Grid, Source, sources_of

SUITES = Path(__file__).parent / "suites"
DESIGN = ("labels", "splits", "seeds", "methods")  # what a change may be of, beside settings


def names() -> list[str]:
    return sorted(file.stem for file in SUITES.glob("*.yaml"))


def file_of(name: str) -> Path:
    """Return a suite's file. Raises :class:`ConfigError` where there is none."""
    if name not in names():
        raise ConfigError(f"there is no suite {name!r}\nexpected one of {', '.join(names())}")
    return SUITES / f"{name}.yaml"


@dataclass(frozen=True)
class Part:
    """Cells that share all settings: a grid, and what its recipes are called in the results."""

    grid: Grid
    config: Config
    variant: str | None = None  # the name of the only recipe, where its settings are not the usual ones


def read(
    name: str,
    out: Path,
    *,
    from_split: int = 0,
    data: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> list[Part]:
    """Return the parts of a suite: its recipes with the common settings, then one part for each variant.

    What they start from, where the suite names a source, is trained first, and kept in ``out``. Splits before
    ``from_split`` are left out. With ``data`` (paths, or ``name=path``) these sets stand in place of the
    suite's, each with parts of its own, so that one which cannot be used stops no other. ``changes`` are settings
    in place of the suite's, or what :data:`DESIGN` names.

    Raises:
        ConfigError: for a name or value that is none, or where no split is left.
    """
    suite = yaml.safe_load(file_of(name).read_text(encoding="utf-8"))
    for key, value in (changes or {}).items():
        if key in DESIGN:
            suite[key] = value
        else:
            suite["settings"] = {**suite["settings"], key: value}
    settings = dict(suite["settings"])
    first = settings.get("split_seed", 0)
    settings["split_seed"] = max(first, from_split)
    if source := suite.get("source"):
        settings["weights"] = train_source(source["sets"], source["settings"], out)
    own_sets = sources_of(data) if data else ()
    parts = []
    for sources in [(one,) for one in own_sets] if data else [_sources(suite["sets"])]:
        grid = Grid(
            sources,
            parse_all(_listed(suite["methods"])),
            splits=first + suite["splits"] - settings["split_seed"],
            seeds=suite.get("seeds", 1),
            labels=tuple(_listed(suite.get("labels", ()))),
        )
        parts.append(Part(grid, make_config(settings)))
        for variant, changed in suite.get("variants", {}).items():
            own = dict(changed)
            recipes = parse_all([own.pop("method")])
            parts.append(Part(replace(grid, recipes=recipes), make_config(settings, own), variant))
    if len({source.name for source in own_sets}) < len(own_sets):
        raise ConfigError("two sets have one name\nwrite name=path to give one")
    return parts


def _sources(sets: Sequence[str] | Mapping[str, Mapping[str, Any]]) -> tuple[Source, ...]:
    """Return the named sets, with settings of their own where the suite gives some."""
    more = sets if isinstance(sets, Mapping) else {}
    sources = []
    for one in (BY_NAME[name] for name in sets):
        own = {"augment": one.augment} | ({"groups": one.groups} if one.groups else {})
        sources.append(Source(one.path, {**own, **more.get(one.name, {})}))
    return tuple(sources)


def _listed(value: Any) -> list[Any]:
    """Return a list, of one where a single value is given, or words with commas between."""
    if isinstance(value, str):
        return value.split(",")
    return list(value) if isinstance(value, Sequence) else [value]
