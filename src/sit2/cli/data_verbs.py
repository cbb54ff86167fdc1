"""The verbs that begin with a labelled data set, as the command line runs them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sit2.cli.comparison_tables import tell_comparison
from sit2.cli.run_tables import tell_results
from sit2.cli.screen import Screen
from sit2.config.schema import Config
from sit2.confusion.pairs import measure
from sit2.confusion.pairs_file import read_pairs
from sit2.confusion.predictions_file import read_predictions
from sit2.errors import ConfigError, DataError
from sit2.experiments.artifacts import Composite, file_name, picture, synthesize
from sit2.experiments.comparison import DEFAULT_METHODS, compare_grid
from sit2.experiments.grid import Grid, Source
from sit2.experiments.run import methods_of, record_confusion, record_data, run_experiment, tell_pairs
from sit2.experiments.stages import Prepared, choose, measure_confusion, prepare
from sit2.records import ByteArray, ClassPair
from sit2.storage.escaping import restored
from sit2.storage.files import atomic
from sit2.storage.run_folder import RunFolder, free_folder
from sit2.training.feed import Feed


def train_and_tell(
    source: Path, out: Path, config: Config, screen: Screen, *, resume: bool, overwrite: bool
) -> None:
    """Train and compare; print the results."""
    run = run_experiment(
        source, out, config, methods_of(config), screen=screen, resume=resume, overwrite=overwrite
    )
    tell_results(run, screen)


def compare_and_tell(
    sources: Sequence[Path],
    out: Path,
    config: Config,
    screen: Screen,
    *,
    methods: Sequence[str],
    splits: int,
    seeds: int,
    labels: Sequence[str],
    trials: int,
    metric: str,
    overwrite: bool,
) -> None:
    """Compare methods over repeats; print the table and the verdicts."""
    try:
        numbers = tuple(int(word) for word in labels)
    except ValueError:
        raise ConfigError(f"--labels is {','.join(labels)!r}\nexpected numbers, such as 10,50,200") from None
    grid = Grid(
        tuple(Source(path) for path in sources),
        tuple(dict.fromkeys([config.control, *(methods or DEFAULT_METHODS)])),
        splits=splits,
        seeds=seeds,
        labels=numbers,
        trials=trials,
    )
    comparison = compare_grid(grid, out, config, metric=metric, screen=screen, overwrite=overwrite)
    tell_comparison(comparison, screen)


def default_folder(source: Path, config: Config) -> Path:
    """Return where a run goes that was not told where: runs/<data>-<method>, or the next that is free."""
    name = source.expanduser().resolve().stem or "data"
    return free_folder(Path("runs") / f"{name}-{config.method.replace('@', '-')}")


def tell_confusion(
    source: Path, out: Path | None, config: Config, screen: Screen, *, overwrite: bool
) -> list[ClassPair]:
    """Measure confusion on images, or read it from a file of predictions; print and write the pairs."""
    if out is None:
        return _tell_confusion(source, None, config, screen)
    with _open(out, source, config, overwrite=overwrite) as folder:
        return _tell_confusion(source, folder, config, screen)


def _tell_confusion(
    source: Path, folder: RunFolder | None, config: Config, screen: Screen
) -> list[ClassPair]:
    prepared = None
    if is_predictions_file(source):
        probabilities, labels, classes = read_predictions(source)
        confusion = measure(probabilities, labels, classes)
        pairs = choose(confusion, config)
    else:
        prepared = prepare(source, config, screen)
        confusion, pairs = measure_confusion(prepared, config, screen)
    tell_pairs(pairs, confusion.classes, screen)
    if folder is not None:
        folder.begin()
        if prepared is not None:
            record_data(folder, prepared)
        record_confusion(folder, confusion, pairs)
        folder.finish()
        screen.say(f"Written: {folder.path / 'confusion' / 'pairs.csv'}, matrix.csv beside it")
    return pairs


def is_predictions_file(source: Path) -> bool:
    """Say whether a file is a table with a column p_<class>."""
    if source.suffix.lower() not in (".csv", ".parquet") or not source.is_file():
        return False
    try:
        if source.suffix.lower() == ".parquet":
            import pyarrow.parquet

            columns = pyarrow.parquet.read_schema(source).names
        else:
            columns = list(pd.read_csv(source, nrows=0, encoding="utf-8-sig").columns)
    except Exception:  # pyarrow raises nearly anything; the reader of manifests says what is wrong
        return False
    return any(restored(str(column)).startswith("p_") for column in columns)


def synthesize_to_folder(
    source: Path,
    out: Path,
    config: Config,
    screen: Screen,
    *,
    count: int,
    sure: bool,
    pairs_file: Path | None,
    overwrite: bool,
) -> None:
    """Write not-sure images as PNG, by pair, with sources.csv: what each one is made of.

    Parents are training images only, augmented by the preset; ``--augment none`` leaves them as they are.
    """
    if count < 1:
        raise ConfigError(f"--count is {count}\nexpected at least 1")
    with _open(out, source, config, overwrite=overwrite) as folder:
        _synthesize(source, folder, config, screen, count=count, sure=sure, pairs_file=pairs_file)


def _synthesize(
    source: Path,
    folder: RunFolder,
    config: Config,
    screen: Screen,
    *,
    count: int,
    sure: bool,
    pairs_file: Path | None,
) -> None:
    prepared = prepare(source, config, screen)
    classes = prepared.dataset.classes
    confusion = None
    if pairs_file is not None:
        pairs = read_pairs(pairs_file, classes)
    else:
        confusion, pairs = measure_confusion(prepared, config, screen)
    tell_pairs(pairs, classes, screen)
    chosen = [pair for pair in pairs if pair.chosen]
    if not chosen:
        raise DataError(
            "no pair to make not-sure images from\nname some with --pairs FILE, or lower --min-confused"
        )
    feed = prepared.feed(config)
    _require_parents(chosen, feed, classes)
    folder.begin()
    record_data(folder, prepared)
    if confusion is not None:
        record_confusion(folder, confusion, pairs)
    sources: list[dict[str, object]] = []
    for number, pair in enumerate(chosen):
        name = f"synthesis/{number + 1:03d}_{file_name(pair)}"
        made = synthesize(feed, [pair], config, count=count, step=number)
        sources += _write_images(folder.path, name, prepared, config, made)
    if sure:
        made = synthesize(feed, [], config, count=count * len(classes), step=len(chosen))
        sources += _write_images(folder.path, "synthesis/sure", prepared, config, made)
    columns = ["file", "operator", "weight", "left_id", "right_id", "left_label", "right_label"]
    table = pd.DataFrame(sources, columns=pd.Index(columns), dtype=object).astype({"weight": float})
    folder.write_table("sources.csv", table)
    folder.finish()
    screen.say(f"Written: {len(sources):,} images in {folder.path / 'synthesis'}, listed in sources.csv")


def _require_parents(pairs: Sequence[ClassPair], feed: Feed, classes: Sequence[str]) -> None:
    for pair in pairs:
        for number in (pair.a, pair.b):
            if feed.index.count[number] == 0:
                raise DataError(
                    f"class {classes[number]!r} has no training image to make not-sure images from"
                )


def _write_images(
    out: Path, name: str, prepared: Prepared, config: Config, made: Composite
) -> list[dict[str, object]]:
    """Write images, and return their rows of sources.csv."""
    train, dataset, rows = prepared.rows("train"), prepared.dataset, []
    for n, pixels in enumerate(made.images):
        file = f"{name}/{n + 1:05d}.png"
        _save_png(out / file, pixels)
        left, right = int(train[int(made.parents.left[n])]), int(train[int(made.parents.right[n])])
        rows.append(
            {
                "file": file,
                "operator": config.operators[int(made.operator[n])],
                "weight": float(made.weight[n]),
                "left_id": dataset.ids[left],
                "right_id": dataset.ids[right],
                "left_label": dataset.classes[dataset.labels[left]],
                "right_label": dataset.classes[dataset.labels[right]],
            }
        )
    return rows


def _save_png(path: Path, pixels: ByteArray) -> None:
    with atomic(path) as temporary:
        picture(np.ascontiguousarray(pixels)).save(temporary, format="PNG")


def _open(out: Path, source: Path, config: Config, *, overwrite: bool) -> RunFolder:
    return RunFolder.open(
        out,
        settings=config.as_dict(),
        identity={"data": str(source.expanduser().resolve())},
        command=shlex.join(["sit2", *sys.argv[1:]]),
        overwrite=overwrite,
    )
