"""The command line's grammar, made from the verbs and from the settings that they take."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sit2.cli.verbs import VERBS
from sit2.cli.verbs.verb import COMMON, Verb
from sit2.config.schema import RUN, SETTINGS
from sit2.confusion.settings import CONFUSION
from sit2.data.settings import DATA, DECODING, SPLITTING
from sit2.errors import ConfigError, did_you_mean
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import PREDICTOR
from sit2.methods import METHODS
from sit2.methods.method import METHOD
from sit2.parameters import Parameter, parameters_of, summary_of
from sit2.training.settings import OPTIMISING, TRAINING

TOPICS = (METHOD, DATA, SPLITTING, TRAINING, OPTIMISING, CONFUSION, PREDICTOR, DECODING, RUN)  # as they stand


class Parser(argparse.ArgumentParser):
    """argparse, with our errors: short, and with a hint."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._negative_number_matcher = re.compile(r"-[.\d]")  # "-1000,400" is a value too, not an option

    def error(self, message: str) -> NoReturn:
        """Raise :class:`ConfigError` instead of printing the usage."""
        raise ConfigError(f"{message}\n`{self.prog} --help` lists what there is")


class _HelpAll(argparse.Action):
    """``--help-all``: the help with every setting."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        verb = parser.prog.rpartition(" ")[2]
        whole = make_parser(everything=True)
        _of(whole, verb).print_help()
        parser.exit()


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. Raises :class:`ConfigError` for what is unknown or missing."""
    parser = make_parser()
    word = next((a for a in given if not a.startswith("-")), None)
    if word is not None and word not in VERBS and not {"-h", "--help", "--version"} & set(given):
        raise ConfigError(f"unknown verb {word!r}\n{did_you_mean(word, VERBS)}")
    options, unknown = parser.parse_known_args(given)
    if unknown and options.verb is None:
        raise ConfigError(
            f"{unknown[0]!r} comes before the verb\nwrite the verb first: sit2 VERB {unknown[0]}"
        )
    if unknown:
        flag = unknown[0].split("=")[0]
        hint = did_you_mean(flag, _of(parser, options.verb)._option_string_actions)
        if hint.startswith("choose from"):
            hint = f"`sit2 {options.verb} --help` lists what there is"
        raise ConfigError(f"unknown option {flag!r} of `sit2 {options.verb}`\n{hint}")
    return options


def make_parser(*, everything: bool = False) -> argparse.ArgumentParser:
    """Return the parser of all verbs; with ``everything``, its help shows every setting."""
    from sit2 import __version__

    parser = Parser(
        prog="sit2",
        description="Image classifiers from few labels, with evidence that they are good, and where they are not "
        "sure.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sit2 {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for name, verb in VERBS.items():
        made = verbs.add_parser(
            name,
            help=verb.text,
            description=verb.text[0].upper() + verb.text[1:] + ".",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=_lists() if verb.lists else None,
        )
        for flags, options in (*verb.arguments, *COMMON):
            made.add_argument(*flags, **options)
        _add_settings(made, verb, everything=everything)
        made.set_defaults(run=verb.run)
    return parser


def _add_settings(parser: argparse.ArgumentParser, verb: Verb, *, everything: bool) -> None:
    """Offer settings as flags, all together as a file too; what is not given is left to Config."""
    if verb.config_file:
        parser.add_argument(
            "--config", type=Path, metavar="FILE", help="YAML file of settings; flags win over it"
        )
    if set(verb.settings) - set(verb.basic):
        parser.add_argument("--help-all", action=_HelpAll, nargs=0, help="show every setting, and exit")
    own = parameters_of(verb.own) if verb.own is not None else ()
    groups = {
        topic: parser.add_argument_group(topic) for topic in dict.fromkeys(one.rule.topic for one in own)
    }
    for one in own:
        _add_setting(groups[one.rule.topic], one, hidden=False)
    for topic in TOPICS:
        names = [name for name in verb.settings if SETTINGS[name].rule.topic == topic]
        shown = [name for name in names if everything or name in verb.basic]
        group = parser.add_argument_group(topic) if shown else parser
        for name in names:
            _add_setting(group, SETTINGS[name], hidden=name not in shown)


def _add_setting(group: Any, one: Parameter, *, hidden: bool) -> None:
    flag, default = "--" + one.name.replace("_", "-"), one.default
    words = ",".join(default) if isinstance(default, tuple) else default
    text = one.rule.text + (
        ""
        if default in (None, "") or isinstance(default, bool) or "default" in one.rule.text
        else f" (default: {words})"
    )
    help_text = argparse.SUPPRESS if hidden else text.replace("%", "%%")
    if isinstance(default, bool):
        action = "store_true" if one.rule.alone else argparse.BooleanOptionalAction
        group.add_argument(flag, action=action, default=argparse.SUPPRESS, help=help_text)
        return
    group.add_argument(flag, default=argparse.SUPPRESS, metavar=_metavar(one), help=help_text)


_BY_TYPE = {int: "N", float: "X"}


def _metavar(one: Parameter) -> str:
    """Return what stands for a setting's value in the help."""
    if one.rule.choices and not isinstance(one.default, tuple):
        return "|".join(one.rule.choices)
    kind = next((k for k in _BY_TYPE if k is one.hint or k in getattr(one.hint, "__args__", ())), None)
    return one.rule.value or (_BY_TYPE[kind] if kind else one.name.split("_")[-1].upper())


def _lists() -> str:
    """Return the methods and the predictors, a line each."""
    width = max(map(len, (*METHODS, *PREDICTORS))) + 2
    lines = ["methods (those that use pairs of classes take @random or @all, all take *N members):"]
    lines += [f"  {name:{width}}{summary_of(kind)}" for name, kind in METHODS.items()]
    lines += ["", "predictors (each after a +):"]
    lines += [f"  {name:{width}}{summary_of(kind)}" for name, kind in PREDICTORS.items()]
    return "\n".join(lines)


def _of(parser: argparse.ArgumentParser, verb: str) -> argparse.ArgumentParser:
    """Return the parser of one verb."""
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    found: argparse.ArgumentParser = subparsers.choices[verb]
    return found
