"""The command: parse, call, print. Everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import argparse
import dataclasses
import io
import re
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sit2.accidents import explain, interruptible
from sit2.cli.screen import Screen
from sit2.cli.verbs import COMMON, DONE, INTERRUPTED, SETTINGS, VERBS, WRONG
from sit2.config.schema import Config
from sit2.errors import ConfigError, did_you_mean
from sit2.storage.escaping import visible

SECTIONS = {
    "run": "run",
    "data": "images",
    "method": "method",
    "confusion": "confusion and not-sure images",
    "training": "training",
}


class _Parser(argparse.ArgumentParser):
    """argparse, with our errors: short, and with a cure."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._negative_number_matcher = re.compile(r"-[.\d]")  # "-1000,400" is a value too, not an option

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}\n`{self.prog} --help` lists what there is")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code, which for SIGTERM is that of Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # one that cannot show "≈" gets "\\u2248", and no traceback
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in given
    options: argparse.Namespace | None = None
    try:
        with interruptible():
            options = parse(given)
            if options.verb is None:
                make_parser().print_help()
                return WRONG
            code: int = options.run(options, Screen(quiet=options.quiet))
            sys.stdout.flush()  # a full disk behind it is said here, not at the exit
    except KeyboardInterrupt:
        print(f"\nsit2: interrupted; {_how_to_resume(given, options)}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has had enough
        sys.stderr.close()
        return DONE
    except Exception as error:
        if (words := explain(error)) is None:
            raise
        if debug:
            print(visible(traceback.format_exc()), file=sys.stderr)
        print(f"sit2: {visible(words)}", file=sys.stderr)
        return WRONG
    return code


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. Raises :class:`ConfigError` for what is unknown or missing."""
    parser = make_parser()
    verbs = list(VERBS)
    word = next((a for a in given if not a.startswith("-")), None)
    if word is not None and word not in verbs and not {"-h", "--help", "--version"} & set(given):
        raise ConfigError(f"unknown verb {word!r}\n{did_you_mean(word, verbs)}")
    options, unknown = parser.parse_known_args(given)
    if unknown and options.verb is None:
        raise ConfigError(
            f"{unknown[0]!r} stands before the verb\nwrite the verb first: sit2 VERB {unknown[0]}"
        )
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
    for name, (function, text, arguments, settings) in VERBS.items():
        verb = verbs.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False
        )
        for flags, options in (*arguments, *COMMON):
            verb.add_argument(*flags, **options)
        _add_settings(verb, settings)
        verb.set_defaults(run=function)
    return parser


def _add_settings(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """Offer fields of Config as flags, all together as a file too; what is not given is left to it."""
    if names == SETTINGS:
        parser.add_argument(
            "--config", type=Path, metavar="FILE", help="YAML file of settings; flags win over it"
        )
    groups = {section: parser.add_argument_group(title) for section, title in SECTIONS.items()}
    for field in dataclasses.fields(Config):
        if field.name not in names:
            continue
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
        groups[rule["section"]].add_argument(
            flag,
            default=argparse.SUPPRESS,
            metavar=_metavar(field),
            help=text.replace("%", "%%"),
        )


_BY_TYPE = {"int": "N", "float": "X"}


def _metavar(field: dataclasses.Field[Any]) -> str:
    """Return what stands for a setting's value in the help."""
    if field.metadata["choices"] and not isinstance(field.default, tuple):
        return "|".join(field.metadata["choices"])
    kind = str(field.type).split(" ")[0]
    return field.metadata["value"] or _BY_TYPE.get(kind) or field.name.split("_")[-1].upper()


def _flags(parser: argparse.ArgumentParser, verb: str) -> list[str]:
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return list(subparsers.choices[verb]._option_string_actions)


def _cure(flag: str, known: list[str], verb: str) -> str:
    cure = did_you_mean(flag, known)
    return f"`sit2 {verb} --help` lists what there is" if cure.startswith("choose from") else cure


def _how_to_resume(given: Sequence[str], options: argparse.Namespace | None) -> str:
    from sit2.storage.run_folder import unfinished

    if options is None or getattr(options, "out", None) is None or not unfinished(options.out):
        return "nothing is lost but the time"
    same = [word for word in given if word not in ("--resume", "--overwrite")]
    begin, more = {"train": ("to go on", ["--resume"]), "compare": ("to go on", [])}.get(
        options.verb, ("to begin again", ["--overwrite"])
    )
    return f"{begin}: " + shlex.join(["sit2", *same, *getattr(options, "where", []), *more])


if __name__ == "__main__":
    sys.exit(main())
