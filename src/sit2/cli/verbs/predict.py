"""`sit2 predict` and `sit2 evaluate`: a trained model on images."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import (
    DONE,
    EITHER,
    IMAGES,
    MODEL,
    OVERWRITE,
    Verb,
    argument,
    config_of,
    free_target,
    one_way,
    out,
    require,
    require_model,
)
from sit2.errors import ConfigError, RunFolderError
from sit2.storage.files import atomic
from sit2.storage.output_folder import PARTIAL

if TYPE_CHECKING:
    import pandas as pd

    from sit2.inference.prediction import Evaluated


ROW = "; see the column problem"


def predict(options: argparse.Namespace, screen: Screen) -> int:
    """Write predictions.csv into a folder, or print it: row by row, so that an interruption loses nothing."""
    layout = config_of(options).layout
    one_way(options)
    if options.resume and options.out is None:
        raise ConfigError("--resume needs the folder of the predictions\nname it with -o")
    folder = options.out
    begun = folder is not None and (folder / PARTIAL).is_file()
    if begun and not (options.resume or options.overwrite):
        raise RunFolderError(
            f"{folder} holds predictions that were begun\n"
            "use --resume to go on with them, --overwrite to begin again, or another -o"
        )
    if not (options.resume and begun):
        free_target(folder, "predictions.csv", overwrite=options.overwrite)
    for source in options.data:
        require(source, labelled=False)
    require_model(options.model, exported=True)

    from sit2.cli.terminal import Terminal
    from sit2.data.words import counted
    from sit2.inference.model_and_images import Asked, Done
    from sit2.inference.predictions_writer import PredictionsFile, columns, rows_of, write_rows

    with Terminal(screen) as terminal:
        asked = Asked.of(options.data, options.model, terminal, layout=layout, coverage=options.coverage)
        classes, paths, done = asked.model.spec.classes, asked.dataset.paths, Done()
        if folder is None:
            header = [columns(classes)]
            for chunk in asked.stream(terminal):
                write_rows(sys.stdout, header + rows_of(chunk, classes, asked.coverage))
                header = []
                done.add(chunk)
            asked.tell(done, terminal, then=ROW)
            return DONE
        places = [str((asked.dataset.root / path).absolute()) for path in paths]
        with PredictionsFile(folder, options.model, places, asked.coverage, resume=options.resume) as file:
            file.header(classes)
            for chunk in asked.stream(terminal, start=file.done):
                file.write(rows_of(chunk, classes, asked.coverage))
                done.add(chunk)
        asked.tell(done, terminal, before=file.problems, then=ROW)
    screen.say(f"{counted(len(paths), 'image')}, a row for each: {file.path}")
    return DONE


def evaluate(options: argparse.Namespace, screen: Screen) -> int:
    """Print and write the metrics of a model on labelled images, leaving out those it was trained on."""
    if options.sensitivity is not None and options.positive is None:
        raise ConfigError("--sensitivity needs the class that must not be missed\nname it with --positive")
    layout = config_of(options).layout
    target = free_target(options.out, "metrics.json", overwrite=options.overwrite)
    for source in options.data:
        require(source)
    require_model(options.model)

    from sit2.cli.results import (
        print_classes,
        print_matrix,
        print_metrics,
        print_operating,
        print_sets,
        print_subgroups,
    )
    from sit2.cli.terminal import Terminal
    from sit2.inference.prediction import SENSITIVITY
    from sit2.inference.prediction import evaluate as evaluate_images
    from sit2.report.evaluation_page import write_evaluation_page

    wanted = SENSITIVITY if options.sensitivity is None else options.sensitivity
    with Terminal(screen) as terminal:
        found = evaluate_images(
            options.data,
            options.model,
            terminal,
            layout=layout,
            by=options.by,
            positive=options.positive,
            sensitivity=wanted,
            every=options.all,
            coverage=options.coverage,
        )
    print_metrics({found.recipe: found.predictions}, {found.recipe: found.metrics}, screen)
    print_matrix(found.predictions, found.classes, screen)
    print_classes(found.figures, screen)
    print_sets(found.sets, screen)
    if found.subgroups:
        print_subgroups(options.by, found.subgroups, screen)
    if found.operating is not None:
        print_operating(found.operating, screen)
    if target is not None:
        _write_evaluated(target, found, options.by)
        page = write_evaluation_page(target.parent, found, model=options.model)
        screen.say(f"Written: {target}, predictions.csv beside it; the report, for a browser: {page}")
    return DONE


def _write_evaluated(target: Path, found: Evaluated, by: str | None) -> None:
    """Write metrics.json, and tables of the predictions, the classes and, where there are some, the subgroups."""
    import pandas as pd

    from sit2.evaluation.class_figures import COLUMNS
    from sit2.inference.decisions import Answers, decide
    from sit2.inference.predictions_writer import evaluated_rows, write_rows
    from sit2.storage.escaping import neutral_table

    said = decide(Answers.of(found.predictions), found.classes, found.sets.coverage)
    with (
        atomic(target.with_name("predictions.csv")) as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        write_rows(file, evaluated_rows(found.predictions, found.classes, found.paths, said))
    rows = [(one.name, one.images, *one.values) for one in found.figures]
    classes = pd.DataFrame(rows, columns=pd.Index(["class", "images", *COLUMNS]))
    _write_csv(target.with_name("classes.csv"), neutral_table(classes))
    content: dict[str, Any] = dict(found.metrics)
    if found.subgroups:
        content["by"] = {"column": by, "values": [one.to_json() for one in found.subgroups]}
        _write_csv(
            target.with_name("by.csv"), neutral_table(pd.DataFrame([one.row for one in found.subgroups]))
        )
    content["sets"] = found.sets.to_json()
    if found.operating is not None:
        content["threshold"] = found.operating.to_json()
    with atomic(target) as path:
        text = json.dumps({found.recipe: {"test": content}}, indent=2)
        path.write_text(text + "\n", encoding="utf-8")


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


COVERAGE = argument(
    "--coverage",
    metavar="NUMBER",
    type=float,
    help="how often the set of possible classes must contain the true one, where the model gives sets "
    "(default: 0.95)",
)
PREDICT = Verb(
    predict,
    "say what images show: a class, or between which classes the model is not sure",
    (
        IMAGES,
        EITHER,
        COVERAGE,
        out("folder for predictions.csv (default: print it)"),
        argument("--resume", action="store_true", help="go on with the predictions that were begun in --out"),
        OVERWRITE,
    ),
    settings=("layout",),
    basic=("layout",),
    resume="--resume",
)
EVALUATE = Verb(
    evaluate,
    "test a model on labelled images that it was not trained on",
    (
        IMAGES,
        MODEL,
        argument(
            "--by",
            metavar="COLUMN",
            help="also for each value of a column of the manifest, or TABLE.csv:COLUMN: each hospital, device, sex",
        ),
        argument(
            "--positive",
            metavar="CLASS",
            help="of two classes, the one that must not be missed: also at a threshold for that",
        ),
        argument(
            "--sensitivity",
            metavar="NUMBER",
            type=float,
            help="fraction of the positive images that the threshold must find, in the run's validation images "
            "(default: 0.95)",
        ),
        argument(
            "--all",
            action="store_true",
            help="count images that the model was trained on too, and those of patients that it was trained on",
        ),
        COVERAGE,
        out("folder for metrics.json, predictions.csv, classes.csv, by.csv and report.html"),
        OVERWRITE,
    ),
    settings=("layout",),
    basic=("layout",),
)
