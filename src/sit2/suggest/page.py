"""``suggestions.html``: the pictures to label from, in one file that opens offline."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path, PurePath
from typing import Any

from sit2.data.pixels import source_of
from sit2.data.words import counted
from sit2.errors import RunFolderError
from sit2.inference.seen import run_of
from sit2.report.about import can_be_repeated, train_command
from sit2.report.images import Album
from sit2.report.page import MEGABYTES, render
from sit2.storage.files import atomic
from sit2.storage.reading import read_settings
from sit2.storage.run_info import read_info
from sit2.suggest.suggesting import TABLE, Suggested

PAGE = "suggestions.html"
SIDE = 160  # pixels of a picture: large enough to tell what it shows


def train_again(model: Path, table: Path) -> str:
    """Return the command that trains as the model's run did, with a table of labels added."""
    if (run := run_of(model)) is not None:
        with contextlib.suppress(RunFolderError):
            if can_be_repeated(info := read_info(run)):
                earlier = read_settings(run / "config.yaml").get("add") or []
                return train_command(
                    info, run, f"{run}-more", "--add", ",".join([*map(str, earlier), str(table)])
                )
    return shlex.join(["sit2", "train", "DATA", "--add", str(table)])


def write_page(folder: Path, found: Suggested, again: str) -> Path:
    """Write the page into a folder; return it. Where there is no room for more pictures, names stand alone.

    ``again`` is the command that trains with the labels.
    """
    album = Album(found.dataset.root, int(MEGABYTES * 1e6), found.spec.preprocessing())
    items: list[dict[str, Any]] = [
        {
            **vars(one),
            "name": PurePath(one.path).name,
            "src": album.picture(source_of(found.dataset, n), SIDE),
        }
        for n, one in enumerate(found.suggestions)
    ]
    count = counted(len(items), "image")
    context = {
        "title": f"{count} to label next",
        "answer": f"Chosen from {found.among:,} by the policy {found.policy}. Under each picture: the two classes "
        "that the model finds the most probable.",
        "items": items,
        "next": [
            (
                f"Write the class of each image into the column label of {TABLE}; leave it empty where none fits.",
                "",
            ),
            ("Train again, with these images added to those for training.", again),
        ],
    }
    path = folder / PAGE
    with atomic(path) as temporary:
        temporary.write_text(render("suggest.html", context), encoding="utf-8", errors="backslashreplace")
    return path
