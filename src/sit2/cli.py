"""The command: parse, call, print. Everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sit2.config import Config, make_config, read_config_file
from sit2.errors import ConfigError, Sit2Error, did_you_mean
from sit2.screen import Screen

DONE, FOUND, WRONG, INTERRUPTED = 0, 1, 2, 130

SECTIONS = {
    "run": "run",
    "data": "images",
    "method": "method",
    "confusion": "confusion and not-sure images",
    "training": "training",
}


class _Parser(argparse.ArgumentParser):
    """argparse, with our errors: short, and with a cure."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}\n`{self.prog} --help` lists what there is")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    options: argparse.Namespace | None = None
    try:
        options = parse(given)
        if options.verb is None:
            make_parser().print_help()
            return WRONG
        code: int = options.run(options, Screen(quiet=options.quiet))
    except Sit2Error as error:
        if debug:
            traceback.print_exc()
        print(f"sit2: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print(f"\nsit2: interrupted; {_how_to_resume(given, options)}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has had enough
        sys.stderr.close()
        return DONE
    return code


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. Raises :class:`ConfigError` for what is unknown or missing."""
    parser = make_parser()
    verbs = list(_VERBS)
    word = next((a for a in given if not a.startswith("-")), None)
    if word is not None and word not in verbs and not {"-h", "--help", "--version"} & set(given):
        raise ConfigError(f"unknown verb {word!r}\n{did_you_mean(word, verbs)}")
    options, unknown = parser.parse_known_args(given)
    if unknown:
        flag = unknown[0].split("=")[0]
        known = _flags(parser, options.verb)
        raise ConfigError(
            f"unknown option {flag!r} of `sit2 {options.verb}`\n{_cure(flag, known, options.verb)}"
        )
    return options


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    from sit2 import __version__

    parser = _Parser(
        prog="sit2",
        description="Better image classifiers from few labels: train on the classifier's own confusion.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sit2 {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, (function, text, arguments, with_config) in _VERBS.items():
        verb = verbs.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False
        )
        for flags, options in (*arguments, *_COMMON):
            verb.add_argument(*flags, **options)
        if with_config:
            _add_settings(verb)
        verb.set_defaults(run=function)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Offer every field of Config as a flag; what is not given stays out of the result."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML file of settings; flags win over it"
    )
    groups = {section: parser.add_argument_group(title) for section, title in SECTIONS.items()}
    for field in dataclasses.fields(Config):
        rule = field.metadata
        flag = "--" + field.name.replace("_", "-")
        default = field.default
        shown = ",".join(default) if isinstance(default, tuple) else default
        text = rule["text"] + ("" if default is None or isinstance(default, bool) else f" (default: {shown})")
        if isinstance(default, bool):
            groups[rule["section"]].add_argument(
                flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
            )
            continue
        metavar = "|".join(rule["choices"]) if rule["choices"] and not isinstance(default, tuple) else None
        groups[rule["section"]].add_argument(
            flag,
            default=argparse.SUPPRESS,
            metavar=metavar or field.name.split("_")[-1].upper(),
            help=text.replace("%", "%%"),
        )


def _config(options: argparse.Namespace, **defaults: Any) -> Config:
    """Merge defaults, the YAML file and the flags, in this order."""
    names = {field.name for field in dataclasses.fields(Config)}
    flags = {k: v for k, v in vars(options).items() if k in names}
    file = read_config_file(options.config) if options.config else {}
    return make_config(defaults, file, flags)


def _flags(parser: argparse.ArgumentParser, verb: str) -> list[str]:
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return list(subparsers.choices[verb]._option_string_actions)


def _cure(flag: str, known: list[str], verb: str) -> str:
    cure = did_you_mean(flag, known)
    return f"`sit2 {verb} --help` lists what there is" if cure.startswith("choose from") else cure


def _how_to_resume(given: Sequence[str], options: argparse.Namespace | None) -> str:
    from sit2.runfolder import unfinished

    if options is None or options.verb != "train" or options.out is None or not unfinished(options.out):
        return "nothing is lost but the time"
    same = [word for word in given if word not in ("--resume", "--overwrite")]
    return "to go on: " + shlex.join(["sit2", *same, *getattr(options, "where", []), "--resume"])


def _demo(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.demo import demo

    demo(options.out, seed=options.seed, overwrite=options.overwrite, screen=screen)
    return DONE


def _check(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.verbs import check_data

    return FOUND if check_data(options.data, options.groups, screen) else DONE


def _train(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.verbs import default_folder, train_and_tell

    if options.resume and options.out is None:
        raise ConfigError("--resume needs the folder of the run\nname it with -o")
    if options.resume and options.overwrite:
        raise ConfigError("--resume and --overwrite contradict each other\nuse one of them")
    config = _config(options)
    if options.out is None:
        options.out = default_folder(options.data, config)
        options.where = ["-o", str(options.out)]
    train_and_tell(
        options.data, options.out, config, screen, resume=options.resume, overwrite=options.overwrite
    )
    return DONE


def _confusion(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.verbs import tell_confusion

    tell_confusion(options.data, options.out, _config(options), screen, overwrite=options.overwrite)
    return DONE


def _synthesize(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.verbs import synthesize_to_folder

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
    from sit2.prediction import predict_to_csv

    predict_to_csv(options.data, options.model, options.out, screen, overwrite=options.overwrite)
    return DONE


def _evaluate(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.prediction import evaluate_and_tell

    evaluate_and_tell(options.data, options.model, options.out, screen, overwrite=options.overwrite)
    return DONE


def _report(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.report.page import write_report

    screen.say(f"Written: {write_report(options.run_folder, megabytes=options.megabytes)}")
    return DONE


Argument = tuple[tuple[str, ...], dict[str, Any]]

_DATA: Argument = (
    ("data",),
    {"metavar": "DATA", "type": Path, "help": "folder of class folders, manifest (.csv, .parquet), or .npz"},
)
_IMAGES: Argument = (
    ("data",),
    {"metavar": "DATA", "type": Path, "nargs": "+", "help": "folder, image files, manifest, or .npz"},
)
_MODEL: Argument = (
    ("--model",),
    {"metavar": "RUN", "type": Path, "required": True, "help": "a run folder, or its model folder"},
)
_OVERWRITE: Argument = (
    ("--overwrite",),
    {"action": "store_true", "help": "replace what an earlier run wrote"},
)
_RESUME: Argument = (
    ("--resume",),
    {"action": "store_true", "help": "finish the run that was begun in --out"},
)


def _out(text: str, *, required: bool = False, default: str | None = None) -> Argument:
    return (
        ("-o", "--out"),
        {
            "metavar": "DIR",
            "type": Path,
            "required": required,
            "default": Path(default) if default else None,
            "help": text,
        },
    )


_COMMON: tuple[Argument, ...] = (
    (("--quiet",), {"action": "store_true", "help": "print errors only"}),
    (("--debug",), {"action": "store_true", "help": "show where an error came from"}),
)

_VERBS: dict[str, tuple[Any, str, tuple[Argument, ...], bool]] = {
    "demo": (
        _demo,
        "see it work on scikit-learn's handwritten digits, in a few minutes",
        (
            _out("run folder (default: demo-run)", default="demo-run"),
            _OVERWRITE,
            (("--seed",), {"type": int, "default": 0, "metavar": "N", "help": "root of all randomness"}),
        ),
        False,
    ),
    "check": (
        _check,
        "look for what is wrong with a data set",
        (_DATA, (("--groups",), {"metavar": "COLUMN", "help": "manifest column of patients, slides, …"})),
        False,
    ),
    "train": (
        _train,
        "train a classifier and its control, and say whether it is better",
        (_DATA, _out("run folder (default: runs/<data>-<method>)"), _RESUME, _OVERWRITE),
        True,
    ),
    "confusion": (
        _confusion,
        "find the pairs of classes that are confused, from images or from a file of predictions",
        (
            (("data",), {"metavar": "DATA", "type": Path, "help": "images, or a CSV with label,p_<class>…"}),
            _out("folder for matrix.csv and pairs.csv (default: print only)"),
            _OVERWRITE,
        ),
        True,
    ),
    "synthesize": (
        _synthesize,
        "write not-sure images to disk, for other tools",
        (
            _DATA,
            _out("folder to write", required=True),
            _OVERWRITE,
            (
                ("--count",),
                {"type": int, "default": 20, "metavar": "N", "help": "images a pair (default: 20)"},
            ),
            (("--sure",), {"action": "store_true", "help": "also write sure composites, as many a class"}),
            (("--pairs",), {"type": Path, "metavar": "FILE", "help": "a pairs.csv, instead of measuring"}),
        ),
        True,
    ),
    "predict": (
        _predict,
        "write class probabilities of images",
        (_IMAGES, _MODEL, _out("folder for predictions.csv (default: print it)"), _OVERWRITE),
        False,
    ),
    "evaluate": (
        _evaluate,
        "test a model on labelled images that it was not trained on",
        (_IMAGES, _MODEL, _out("folder for metrics.json and predictions.csv"), _OVERWRITE),
        False,
    ),
    "report": (
        _report,
        "write what a run found as one page, report.html, with its figures and tables",
        (
            (
                ("run_folder",),
                {"metavar": "RUN", "type": Path, "help": "what train, confusion or compare wrote"},
            ),
            (
                ("--megabytes",),
                {"type": float, "default": 5.0, "metavar": "N", "help": "size of the page (default: 5)"},
            ),
        ),
        False,
    ),
}


if __name__ == "__main__":
    sys.exit(main())
