"""The command: parse, call, print. Everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import argparse
import io
import shlex
import sys
import traceback
from collections.abc import Sequence

from sit2.cli.accidents import explain, interruptible
from sit2.cli.parser import make_parser, parse
from sit2.cli.progress import Screen
from sit2.cli.verbs import VERBS
from sit2.cli.verbs.verb import DONE, INTERRUPTED, WRONG, Verb
from sit2.storage.escaping import visible


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


def _how_to_resume(given: Sequence[str], options: argparse.Namespace | None) -> str:
    from sit2.storage.output_folder import unfinished

    if options is None or options.verb is None:
        return Verb.ended
    if getattr(options, "out", None) is None or not unfinished(options.out):
        return VERBS[options.verb].ended
    same = [word for word in given if word not in ("--resume", "--overwrite")]
    resume = VERBS[options.verb].resume
    begin, more = ("to go on", []) if resume == "again" else ("to begin again", ["--overwrite"])
    if resume.startswith("--"):
        begin, more = "to go on", [resume]
    return f"{begin}: " + shlex.join(["sit2", *same, *getattr(options, "where", []), *more])


if __name__ == "__main__":
    sys.exit(main())
