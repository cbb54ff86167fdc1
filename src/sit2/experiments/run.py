"""One run: the stages in order."""

from __future__ import annotations

import contextlib
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sit2.cli.screen import Screen
from sit2.config.schema import Config, make_config
from sit2.confusion.pairs import matrix_table, pairs_table
from sit2.confusion.predictions_file import predictions_table
from sit2.errors import RunFolderError
from sit2.evaluation.metrics import compute_metrics
from sit2.evaluation.statistics import TestResult, compare_all
from sit2.execution.job import Outcome
from sit2.experiments.artifacts import write_batches, write_examples, write_thumbnails
from sit2.experiments.stages import (
    Prepared,
    check_network,
    measure_confusion,
    prepare,
    train_methods,
    training_seeds,
)
from sit2.methods import make_phases, uses_pairs
from sit2.records import ClassPair, Confusion, Dataset, IntArray, Predictions
from sit2.report.page import write_report
from sit2.seeds import Seeds
from sit2.storage.run_folder import RunFolder

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Run:
    """A finished run; its folder holds the same."""

    folder: Path
    classes: tuple[str, ...]
    pairs: tuple[ClassPair, ...]  # ranked; ``chosen`` marks those that not-sure images were made from
    predictions: dict[str, Predictions] = field(repr=False)  # of the test images, by method
    metrics: dict[str, dict[str, Metrics]] = field(repr=False)  # method → split → metric → value
    comparison: dict[str, TestResult] = field(repr=False)  # method → its test against the control


def train(
    data: str | Path | Dataset,
    *,
    out: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
    **settings: Any,
) -> Run:
    """Train a classifier and its control on a folder of images, and compare them.

    Args:
        data: a folder, manifest or ``.npz`` file, or a :class:`~sit2.records.Dataset`.
        out: the run folder to write; must not hold anything yet, unless one of the next two is set.
        resume: finish the run that was begun in ``out``.
        overwrite: replace the run in ``out``.
        quiet: print nothing.
        settings: as in :class:`~sit2.config.schema.Config`, for example ``method="not-sure", image_size=48``.

    Raises:
        Sit2Error: for anything that the caller can mend.
    """
    config = make_config(settings)
    return run_experiment(
        data,
        Path(out),
        config,
        methods_of(config),
        screen=Screen(quiet=quiet),
        resume=resume,
        overwrite=overwrite,
    )


def methods_of(config: Config) -> list[str]:
    """Return what a run trains: the control first, then the method."""
    return list(dict.fromkeys([config.control, config.method]))


def run_experiment(
    source: str | Path | Dataset,
    out: Path,
    config: Config,
    methods: Sequence[str],
    *,
    screen: Screen,
    resume: bool | None = None,
    overwrite: bool = False,
) -> Run:
    """Train ``methods`` on one data set at one budget, compare each with the first, write the run folder.

    Raises:
        Sit2Error: for anything that the caller can mend.
    """
    name = source.name if isinstance(source, Dataset) else str(Path(source).expanduser().resolve())
    opened = RunFolder.open(
        out,
        settings=config.as_dict(),
        identity={"data": name, "methods": list(methods)},
        command=shlex.join(["sit2", *sys.argv[1:]]),
        resume=resume,
        overwrite=overwrite,
    )
    with opened as folder:
        if folder.complete:
            raise RunFolderError(
                f"the run in {out} is complete\nuse --overwrite to run it again, or another -o"
            )
        if resume and not folder.resumed:
            screen.warn(f"there is nothing to resume in {out}: the run begins")
        return _run(source, folder, config, methods, screen)


def _run(
    source: str | Path | Dataset, folder: RunFolder, config: Config, methods: Sequence[str], screen: Screen
) -> Run:
    """Run the stages in order."""
    confused = any(uses_pairs(method) for method in methods)
    names = ("images", *(["confusion"] if confused else []), "training", "evaluation", "report")

    def stage(name: str) -> contextlib.AbstractContextManager[None]:
        screen.place = f"{names.index(name) + 1}/{len(names)}"
        return folder.stage(name)

    with stage("images"):
        prepared = prepare(source, config, screen)
        check_network(prepared, config, screen)
        folder.begin()
        record_data(folder, prepared)
    with folder.running():
        pairs: list[ClassPair] = []
        if confused:
            with stage("confusion"):
                confusion, pairs = measure_confusion(prepared, config, screen, keep=folder.state)
                record_confusion(folder, confusion, pairs)
                tell_pairs(pairs, prepared.dataset.classes, screen)
                if not any(pair.chosen for pair in pairs):
                    screen.say("So the SIT² methods train plainly.")
                write_examples(folder.path / "synthesis", prepared.feed(config), pairs, config)
        with stage("training"):
            _record_batches(folder, prepared, methods, pairs, config)
            # The method asked for is the run's model; its control lies beside it.
            model = folder.path / "model"
            models = {method: model / method.replace("@", "-at-") for method in methods}
            models[config.method] = model
            outcomes = train_methods(
                prepared, config, methods, pairs, screen, models=models, keep=folder.state
            )
        with stage("evaluation"), screen.progress("Comparing on the test images"):
            run = evaluate(folder, prepared, outcomes, pairs, config)
        with stage("report"), screen.progress("Writing the report"):
            folder.save_info(notes=screen.notes)
            write_report(folder.path, last=True)
    folder.finish()
    return run


def record_data(folder: RunFolder, prepared: Prepared) -> None:
    """Write samples.csv and check.json; refuse to go on with a run whose images have changed.

    Raises:
        RunFolderError: when the unfinished run saw other images, labels or splits.
    """
    before = folder.info.get("dataset", {}).get("fingerprint")
    if before not in (None, prepared.fingerprint):
        raise RunFolderError(
            f"the images or labels have changed since the run in {folder.path} began\n"
            "use --overwrite to begin again, or another -o"
        )
    folder.write_table("samples.csv", prepared.samples)
    folder.write_json("check.json", {"findings": [asdict(f) for f in prepared.findings]})
    folder.save_info(
        root=str(prepared.dataset.root.resolve()),
        dataset={
            "name": prepared.dataset.name,
            "fingerprint": prepared.fingerprint,
            "classes": list(prepared.dataset.classes),
            "images": len(prepared.dataset),
            "left_out": len(prepared.samples) - len(prepared.dataset),
            "bytes": int(prepared.images.nbytes),
        },
    )


def _record_batches(
    folder: RunFolder, prepared: Prepared, methods: Sequence[str], pairs: Sequence[ClassPair], config: Config
) -> None:
    """Write the beginning of every phase's first batch, and small copies of images that are in no file."""
    chosen = [pair for pair in pairs if pair.chosen]
    for method in methods:
        phases = make_phases(method, config, chosen, prepared.dataset.classes, training_seeds(config))
        write_batches(folder.path / "batches", prepared.feed(config, "training"), method, phases, config)
    if prepared.dataset.arrays:
        rows = np.concatenate([prepared.rows("train"), prepared.rows("test")])
        write_thumbnails(folder.path / "thumbnails.npz", prepared.dataset.take(rows), config)


def record_confusion(folder: RunFolder, confusion: Confusion, pairs: Sequence[ClassPair]) -> None:
    """Write confusion/matrix.csv and confusion/pairs.csv."""
    folder.write_table("confusion/matrix.csv", matrix_table(confusion))
    folder.write_table("confusion/pairs.csv", pairs_table(pairs))


def tell_pairs(pairs: Sequence[ClassPair], classes: Sequence[str], screen: Screen, *, most: int = 10) -> None:
    """Print the chosen pairs, or why there is none."""
    chosen = [pair for pair in pairs if pair.chosen]
    possible = len(classes) * (len(classes) - 1) // 2
    if not chosen:
        screen.say(
            f"No pair of classes is confused enough (of {possible}): there is nothing to make not-sure "
            "images from."
        )
        return
    title, every = f"Confused pairs: {len(chosen)} of {possible} chosen", sum(pair.score for pair in pairs)
    if every > 0:  # a table of somebody's own need not say how much the pairs are confused
        title += f", with {sum(pair.score for pair in chosen) / every:.0%} of all confusion"
    rows = [
        (
            f"{pair.class_a} – {pair.class_b}",
            _measured("{:.3f}", pair.score),
            _measured("{:.3f} to {:.3f}", pair.lower, pair.upper),
            _measured("{:.1f} of {}", pair.confused, pair.samples),
        )
        for pair in chosen[:most]
    ]
    screen.table(title, ("pair", "score", "95 % interval", "images confused"), rows)
    if len(chosen) > most:
        screen.say(f"… and {len(chosen) - most} more in confusion/pairs.csv")


def _measured(words: str, *values: float) -> str:
    return "–" if any(math.isnan(value) for value in values) else words.format(*values)


def evaluate(
    folder: RunFolder,
    prepared: Prepared,
    outcomes: dict[str, Outcome],
    pairs: Sequence[ClassPair],
    config: Config,
) -> Run:
    """Write predictions, metrics, history and the comparison with the first method."""
    splits = {name: prepared.rows(name) for name in ("val", "test")}
    rows: IntArray = np.concatenate(list(splits.values()))
    classes, metrics, tests = prepared.dataset.classes, dict[str, dict[str, Metrics]](), {}
    for method, outcome in outcomes.items():
        predictions = prepared.predictions(rows, outcome.probabilities)
        paths = [prepared.dataset.paths[n] for n in rows]
        folder.write_table(f"predictions/{method}.csv", predictions_table(predictions, classes, paths))
        folder.write_json(f"history/{method}.json", {"progress": outcome.history})
        parts = {"val": np.arange(len(splits["val"])), "test": np.arange(len(splits["val"]), len(rows))}
        metrics[method] = {
            split: compute_metrics(predictions.take(part), pairs)
            for split, part in parts.items()
            if len(part)
        }
        tests[method] = predictions.take(parts["test"])
    control = next(iter(outcomes))
    comparison = compare_all(tests, control, seeds=Seeds(config.seed).child("statistics"))
    folder.write_json("metrics.json", metrics)
    folder.write_json("comparison.json", {method: test.to_json() for method, test in comparison.items()})
    folder.save_info(
        passes={method: outcome.passes for method, outcome in outcomes.items()},
        training_seconds={method: round(outcome.seconds, 2) for method, outcome in outcomes.items()},
    )
    return Run(folder.path, classes, tuple(pairs), tests, metrics, comparison)
