"""What is to be compared: which recipes, on what, how often. Loads nothing heavy, so mistakes are told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sit2.config.recipe import AUTO, Recipe, parse_all, with_controls
from sit2.config.schema import Config
from sit2.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from sit2.records import Dataset

DEFAULT_METHODS = (
    "plain",
    "label-smoothing",
    "not-sure",
    "sure-or-not",
    "multi-label",
    "confusion-smoothing",
)
RANKED_METRICS = ("accuracy", "macro_f1", "balanced_accuracy")


@dataclass(frozen=True)
class Source:
    """A data set, and the settings that are its own, such as ``augment`` and ``groups``."""

    data: Path | Dataset
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name that stands in results.csv."""
        if not isinstance(self.data, Path):
            return self.data.name
        return self.data.expanduser().resolve().stem or "data"


@dataclass(frozen=True)
class Grid:
    """What is to be compared: every recipe on every source, split, seed and number of labels."""

    sources: tuple[Source, ...]
    recipes: tuple[Recipe, ...]
    splits: int = 5
    seeds: int = 1
    labels: tuple[int, ...] = ()  # training images a class, in place of labels_per_class
    trials: int = 1
    is_run: bool = False  # one split and seed, as the settings say; a comparison's can be added to

    def __post_init__(self) -> None:
        for name, value in (("splits", self.splits), ("seeds", self.seeds), ("tune", self.trials)):
            if value < 1:
                raise ConfigError(f"{name} is {value}\nexpected at least 1")
        names = [source.name for source in self.sources]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ConfigError(f"the data set {twice[0]!r} is named twice\nexpected each name once")
        if len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"labels are {self.labels}\nexpected each number once")
        if any(n < 1 for n in self.labels):
            raise ConfigError(f"labels are {self.labels}\nexpected numbers of at least 1")

    def repeats(self, config: Config) -> list[tuple[int | None, int]]:
        """Return every (split, seed), from the configured ones upwards; another split first."""
        if self.is_run:
            return [(config.split_seed, config.seed)]
        first = config.seed if config.split_seed is None else config.split_seed
        return [(first + s, config.seed + r) for r in range(self.seeds) for s in range(self.splits)]


def make_grid(
    sources: Sequence[Path | Dataset],
    methods: Sequence[str],
    *,
    splits: int = 5,
    seeds: int = 1,
    labels: tuple[int, ...] = (),
    trials: int = 1,
    control: str = AUTO,
) -> Grid:
    """Return a grid of recipes by name, with the control of each.

    Raises:
        ConfigError: for a name that is none, one that stands twice, or no name at all.
    """
    recipes = parse_all(methods)
    if not recipes:
        raise ConfigError("there is no method to compare\nname at least one")
    if len(recipes) < len(methods):
        names = [str(Recipe.parse(method)) for method in methods]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"the method {twice!r} is named twice\nexpected each name once")
    return Grid(
        tuple(Source(one) for one in sources),
        with_controls(recipes, control),
        splits=splits,
        seeds=seeds,
        labels=labels,
        trials=trials,
    )


def check_metric(metric: str) -> None:
    """Raise :class:`ConfigError` for a metric that cannot be tested or ranked."""
    if metric not in RANKED_METRICS:
        raise ConfigError(f"unknown metric {metric!r}\n{did_you_mean(metric, RANKED_METRICS)}")
