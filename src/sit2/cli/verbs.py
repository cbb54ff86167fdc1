"""The verbs of the command: what each takes, and what it calls. Heavy modules are imported by their verb."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sit2.cli.screen import Screen
from sit2.config.schema import Config, make_config, read_config_file
from sit2.errors import ConfigError

DONE, FOUND, WRONG, INTERRUPTED = 0, 1, 2, 130


SETTINGS = tuple(field.name for field in dataclasses.fields(Config))


def _config(options: argparse.Namespace) -> Config:
    """Merge the YAML file, where the verb takes one, and the flags, which win."""
    flags = {name: value for name, value in vars(options).items() if name in SETTINGS}
    file = read_config_file(options.config) if getattr(options, "config", None) else {}
    return make_config(file, flags)


def _demo(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.cli.demo import demo

    demo(options.out, seed=options.seed, overwrite=options.overwrite, screen=screen)
    return DONE


def _check(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.cli.check import check_data

    found = check_data(
        options.data,
        _config(options),
        screen,
        labels=options.labels,
        predictions=options.predictions,
        as_json=options.json,
    )
    return FOUND if found else DONE


def _train(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.cli.data_verbs import default_folder, train_and_tell

    if options.resume and options.out is None:
        raise ConfigError("--resume needs the folder of the run\nname it with -o")
    _resume_or_overwrite(options)
    config = _config(options)
    if options.out is None:
        options.out = default_folder(options.data, config)
        options.where = ["-o", str(options.out)]
    train_and_tell(
        options.data, options.out, config, screen, resume=options.resume, overwrite=options.overwrite
    )
    return DONE


def _resume_or_overwrite(options: argparse.Namespace) -> None:
    if options.resume and options.overwrite:
        raise ConfigError("--resume and --overwrite contradict each other\nuse one of them")


def _compare(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.cli.data_verbs import compare_and_tell

    _resume_or_overwrite(options)
    compare_and_tell(
        options.data,
        options.out,
        _config(options),
        screen,
        methods=_words(options.methods),
        splits=options.splits,
        seeds=options.seeds,
        labels=_words(options.labels),
        trials=options.tune,
        metric=options.metric,
        overwrite=options.overwrite,
    )
    return DONE


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _confusion(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.cli.data_verbs import tell_confusion

    tell_confusion(options.data, options.out, _config(options), screen, overwrite=options.overwrite)
    return DONE


def _synthesize(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.cli.data_verbs import synthesize_to_folder

    synthesize_to_folder(
        options.data,
        options.out,
        _config(options),
        screen,
        count=options.count,
        sure=options.sure,
        pairs_file=options.pairs,
        overwrite=options.overwrite,
    )
    return DONE


def _predict(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.inference.prediction import predict_to_csv

    predict_to_csv(options.data, options.model, options.out, screen, overwrite=options.overwrite)
    return DONE


def _cache(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.data.cache import cache_folder, clear, size

    folder = cache_folder(_config(options).cache)
    if folder is None:
        screen.say("No decoded images are kept: the cache is off.")
    elif options.clear:
        screen.say(f"Removed {clear(folder) / 1e6:,.1f} MB of decoded images from {folder}")
    else:
        screen.say(f"{size(folder) / 1e6:,.1f} MB of decoded images in {folder}; --clear removes them")
    return DONE


def _evaluate(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.inference.prediction import evaluate_and_tell

    evaluate_and_tell(options.data, options.model, options.out, screen, overwrite=options.overwrite)
    return DONE


def _report(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.report.page import write_report

    screen.say(f"Written: {write_report(options.run_folder, megabytes=options.megabytes)}")
    return DONE


def _export(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.inference.export import export_onnx

    path, difference = export_onnx(options.run_folder, options.out, overwrite=options.overwrite)
    screen.say(f"Written: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    screen.say(f"Checked: ONNX Runtime gives the model's own probabilities, to within {difference:.0e}")
    return DONE


Command = Callable[[argparse.Namespace, Screen], int]
Argument = tuple[tuple[str, ...], dict[str, Any]]


def _argument(*flags: str, **options: Any) -> Argument:
    return flags, options


def _out(text: str, *, required: bool = False, default: str | None = None) -> Argument:
    where = Path(default) if default else None
    return _argument("-o", "--out", metavar="DIR", type=Path, required=required, default=where, help=text)


_DATA = _argument(
    "data", metavar="DATA", type=Path, help="folder of class folders, manifest (.csv, .parquet), or .npz"
)
_DATA_SETS = _argument(
    "data", metavar="DATA", type=Path, nargs="+", help="folders of class folders, manifests, or .npz files"
)
_IMAGES = _argument(
    "data", metavar="DATA", type=Path, nargs="+", help="folder, image files, manifest, or .npz"
)
_MODEL = _argument(
    "--model", metavar="RUN", type=Path, required=True, help="a run folder, or its model folder"
)
_OVERWRITE = _argument("--overwrite", action="store_true", help="replace what an earlier run wrote")
_RESUME = _argument("--resume", action="store_true", help="finish the run that was begun in --out")

_CHECK = (
    _argument("--labels", action="store_true", help="look for wrong labels too (needs sit2[labels])"),
    _argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="look for them by these out-of-fold predictions (CSV)",
    ),
    _argument("--json", action="store_true", help="print all that was found as JSON"),
)

_COMPARE = (
    _argument(
        "--methods",
        metavar="A,B,C",
        help="what to compare (default: two controls, SIT²'s three, and three more)",
    ),
    _argument("--splits", type=int, default=5, metavar="N", help="splits (default: 5)"),
    _argument("--seeds", type=int, default=1, metavar="N", help="trainings on each split (default: 1)"),
    _argument("--labels", metavar="N,N", help="numbers of training images a class to go through"),
    _argument(
        "--tune",
        type=int,
        default=1,
        metavar="N",
        help="trainings of each cell to choose among by its validation images (default: 1)",
    ),
    _argument(
        "--metric",
        default="accuracy",
        metavar="accuracy|macro_f1|balanced_accuracy",
        help="what the verdicts are about (default: accuracy)",
    ),
)

COMMON = (
    _argument("--quiet", action="store_true", help="print errors only"),
    _argument("--debug", action="store_true", help="show where an error came from"),
)

# What runs it, what it does, its arguments beside the common ones, and the settings that it takes.
VERBS: dict[str, tuple[Command, str, tuple[Argument, ...], tuple[str, ...]]] = {
    "demo": (
        _demo,
        "see it work on scikit-learn's handwritten digits, in a few minutes",
        (
            _out("run folder (default: demo-run)", default="demo-run"),
            _OVERWRITE,
            _argument("--seed", type=int, default=0, metavar="N", help="root of all randomness"),
        ),
        (),
    ),
    "check": (
        _check,
        "look for what is wrong with a data set",
        (_DATA, *_CHECK),
        ("groups", "group_pattern", "max_megapixels"),
    ),
    "train": (
        _train,
        "train a classifier and its control, and say whether it is better",
        (_DATA, _out("run folder (default: runs/<data>-<method>)"), _RESUME, _OVERWRITE),
        SETTINGS,
    ),
    "compare": (
        _compare,
        "compare methods over repeated splits and seeds, on one data set or many",
        (
            _DATA_SETS,
            _out("folder for results.csv; what an earlier call finished there is taken up", required=True),
            _argument("--resume", action="store_true", help="as it does anyway: go on in --out"),
            _OVERWRITE,
            *_COMPARE,
        ),
        SETTINGS,
    ),
    "confusion": (
        _confusion,
        "find the pairs of classes that are confused, from images or from a file of predictions",
        (
            _argument("data", metavar="DATA", type=Path, help="images, or a CSV with label,p_<class>…"),
            _out("folder for matrix.csv and pairs.csv (default: print only)"),
            _OVERWRITE,
        ),
        SETTINGS,
    ),
    "synthesize": (
        _synthesize,
        "write not-sure images to disk, for other tools",
        (
            _DATA,
            _out("folder to write", required=True),
            _OVERWRITE,
            _argument("--count", type=int, default=20, metavar="N", help="images a pair (default: 20)"),
            _argument("--sure", action="store_true", help="also write sure composites, as many a class"),
            _argument("--pairs", type=Path, metavar="FILE", help="a pairs.csv, instead of measuring"),
        ),
        SETTINGS,
    ),
    "predict": (
        _predict,
        "write class probabilities of images",
        (_IMAGES, _MODEL, _out("folder for predictions.csv (default: print it)"), _OVERWRITE),
        (),
    ),
    "evaluate": (
        _evaluate,
        "test a model on labelled images that it was not trained on",
        (_IMAGES, _MODEL, _out("folder for metrics.json and predictions.csv"), _OVERWRITE),
        (),
    ),
    "report": (
        _report,
        "write what a run found as one page, report.html, with its figures and tables",
        (
            _argument("run_folder", metavar="RUN", type=Path, help="what train, confusion or compare wrote"),
            _argument(
                "--megabytes", type=float, default=5.0, metavar="N", help="size of the page (default: 5)"
            ),
        ),
        (),
    ),
    "export": (
        _export,
        "write a model as one ONNX file, for programs without sit2",
        (
            _argument("run_folder", metavar="RUN", type=Path, help="a run folder, or its model folder"),
            _out("folder for model.onnx (default: the model's own)"),
            _OVERWRITE,
        ),
        (),
    ),
    "cache": (
        _cache,
        "show how much room decoded images take, or free it",
        (_argument("--clear", action="store_true", help="remove them"),),
        ("cache",),
    ),
}
