"""What is to be compared: which recipes, on what, how often. Loads nothing heavy, so mistakes are told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    given: str = ""  # a name; "": that of the file or folder

    @property
    def name(self) -> str:
        """Return the name that stands in results.csv."""
        if self.given or not isinstance(self.data, Path):
            return self.given or self.data.name
        return self.data.expanduser().resolve().stem or "data"


def sources_of(given: Sequence[str | Path | Dataset]) -> tuple[Source, ...]:
    """Return data sets, by their paths or in memory, each under a name of its own.

    ``name=path`` gives one. Paths that end alike (two ``samples.csv``, two folders ``images``) are named by the
    first of the folders above in which all of them differ; where none does, :class:`Grid` refuses them.
    """
    sources = [_source(one) if isinstance(one, str | Path) else Source(one) for one in given]
    alike: dict[str, list[int]] = {}
    for number, source in enumerate(sources):
        if not source.given and isinstance(source.data, Path):
            alike.setdefault(source.name, []).append(number)
    for numbers in alike.values():
        paths = [Path(str(sources[n].data)).expanduser().resolve() for n in numbers]
        taken = {one.name for n, one in enumerate(sources) if n not in numbers}
        for level in range(min(len(path.parents) for path in paths) if len(paths) > 1 else 0):
            names = [path.parents[level].name for path in paths]
            if all(names) and len(set(names)) == len(names) and not taken & set(names):
                for number, name in zip(numbers, names, strict=True):
                    sources[number] = replace(sources[number], given=name)
                break
    return tuple(sources)


def _source(text: str | Path) -> Source:
    """Return what stands for one data set; a path that exists is one, whatever is in it."""
    name, equals, path = str(text).partition("=")
    if not equals or "/" in name or "\\" in name or Path(text).expanduser().exists():
        return Source(Path(text))
    if not name.strip(" .") or not path:
        raise ConfigError(f"cannot read the data set {str(text)!r}\nexpected a path, or name=path")
    return Source(Path(path), given=name.strip())


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
            raise ConfigError(
                f"the data set {twice[0]!r} is named twice\nexpected each name once; write name=path to give one"
            )
        if len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"labels are {self.labels}\nexpected each number once")
        if any(n < 1 for n in self.labels):
            raise ConfigError(f"labels are {self.labels}\nexpected numbers of at least 1")

    def repeats(self, config: Config) -> list[tuple[int | None, int]]:
        """Return every (split, seed), from the configured ones upwards; another split first."""
        if self.is_run:
            return [(config.split_seed, config.seed)]
        first = config.split_root
        return [(first + s, config.seed + r) for r in range(self.seeds) for s in range(self.splits)]


def make_grid(
    sources: Sequence[str | Path | Dataset],
    methods: Sequence[str],
    *,
    splits: int = 5,
    seeds: int = 1,
    labels: tuple[int, ...] = (),
    trials: int = 1,
    control: str = AUTO,
) -> Grid:
    """Return a grid of recipes by name, with the control of each; of paths, or ``name=path``.

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
        sources_of(sources),
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


def check_repeats(config: Config) -> None:
    """Raise :class:`ConfigError` where a comparison is to be by folds: it repeats random splits."""
    if config.cv:
        raise ConfigError(
            f"a comparison repeats random splits, and cv is {config.cv}\nleave out --cv (--cv 0 over a file of "
            "settings) and choose --splits; or give `sit2 train` --cv, which tests a method against its control"
        )
