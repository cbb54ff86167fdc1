"""`sit2 predict` and `sit2 evaluate`: a trained model on images."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import DONE, IMAGES, MODEL, OVERWRITE, Verb, out, require, require_model
from sit2.errors import RunFolderError
from sit2.storage.files import atomic

if TYPE_CHECKING:
    import pandas as pd


def predict(options: argparse.Namespace, screen: Screen) -> int:
    """Write predictions.csv into a folder, or print it."""
    target = _target(options.out, "predictions.csv", overwrite=options.overwrite)
    for source in options.data:
        require(source)
    require_model(options.model)

    from sit2.cli.terminal import Terminal
    from sit2.confusion.predictions_file import predictions_table
    from sit2.data.words import counted
    from sit2.inference.prediction import predict as predict_images
    from sit2.storage.escaping import neutral_table

    with Terminal(screen) as terminal:
        found = predict_images(options.data, options.model, terminal)
    table = neutral_table(predictions_table(found.predictions, found.model.spec.classes, found.dataset.paths))
    if target is None:
        table.to_csv(sys.stdout, index=False, float_format="%.6f", lineterminator="\n")
        return DONE
    _write_csv(target, table)
    screen.say(f"{counted(len(found.predictions.ids), 'image')} predicted: {target}")
    return DONE


def evaluate(options: argparse.Namespace, screen: Screen) -> int:
    """Print and write the metrics of a model on labelled images, leaving out those it was trained on."""
    target = _target(options.out, "metrics.json", overwrite=options.overwrite)
    for source in options.data:
        require(source)
    require_model(options.model)

    from sit2.cli.results import print_metrics
    from sit2.cli.terminal import Terminal
    from sit2.confusion.predictions_file import predictions_table
    from sit2.inference.prediction import evaluate as evaluate_images
    from sit2.storage.escaping import neutral_table

    with Terminal(screen) as terminal:
        found = evaluate_images(options.data, options.model, terminal)
    print_metrics({found.recipe: found.predictions}, {found.recipe: found.metrics}, screen)
    if target is not None:
        table = predictions_table(found.predictions, found.classes, found.paths)
        _write_csv(target.with_name("predictions.csv"), neutral_table(table))
        with atomic(target) as path:
            text = json.dumps({found.recipe: {"test": found.metrics}}, indent=2)
            path.write_text(text + "\n", encoding="utf-8")
        screen.say(f"Written: {target}, predictions.csv beside it")
    return DONE


def _target(folder: Path | None, name: str, *, overwrite: bool) -> Path | None:
    """Return the file to write. Raises :class:`RunFolderError` when something is there already."""
    if folder is None:
        return None
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file\nexpected a folder; give another -o")
    if (folder / "run.json").exists():
        raise RunFolderError(
            f"{folder} is the folder of a run, which has files of these names\ngive another -o"
        )
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise RunFolderError(f"the output folder {folder} is not empty\nuse --overwrite, or another -o")
    return folder / name


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


PREDICT = Verb(
    predict,
    "write class probabilities of images",
    (IMAGES, MODEL, out("folder for predictions.csv (default: print it)"), OVERWRITE),
)
EVALUATE = Verb(
    evaluate,
    "test a model on labelled images that it was not trained on",
    (IMAGES, MODEL, out("folder for metrics.json and predictions.csv"), OVERWRITE),
)
