"""`sit2 serve`: a model over HTTP."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import DONE, Verb, argument, require_model
from sit2.errors import ConfigError
from sit2.parameters import parameters_of
from sit2.serve.settings import ENVIRONMENT, ServeSettings


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Answer requests until Ctrl-C."""
    given = {one.name: getattr(options, one.name, None) for one in parameters_of(ServeSettings)}
    known = {"token": os.environ.get(ENVIRONMENT, "")} if not given["no_token"] else {}
    settings = ServeSettings(
        **{**known, **{name: value for name, value in given.items() if value is not None}}
    )
    require_model(options.run_folder)
    try:
        from sit2.serve.app import create_app
        from sit2.serve.server import serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "starlette", "uvicorn", "pydantic", "h11"):
            raise
        raise ConfigError(
            "serving needs packages that are not installed\npip install 'sit2[serve]'"
        ) from None
    from sit2.cli.terminal import Terminal

    with Terminal(screen) as terminal:
        app = create_app(options.run_folder, settings, terminal)

    def started(address: str) -> None:
        screen.say(f"Serving {options.run_folder} at {address}")
        screen.say(f"The page, for a browser: {address}/; the interface, for programs: {address}/docs")
        screen.say("Ctrl-C ends it.")

    serve(app, settings, started)
    return DONE


VERB = Verb(
    run,
    "answer over HTTP what images show, for programs and on a page",
    (argument("run_folder", metavar="RUN", type=Path, help="a run folder, or its model folder"),),
    own=ServeSettings,
    ended="the server has ended",
)
