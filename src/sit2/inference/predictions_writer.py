"""``predictions.csv`` of `sit2 predict`, row by row: what is done stays, and can be gone on with."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from sit2.errors import RunFolderError, Sit2Error
from sit2.inference.decisions import BETWEEN, Answers, Decision, decide
from sit2.inference.model_spec import EXPORTED, find_model
from sit2.inference.streaming import Chunk
from sit2.records import FloatArray, Predictions
from sit2.storage.escaping import neutral, restored
from sit2.storage.files import atomic, make_folder
from sit2.storage.output_folder import PARTIAL
from sit2.storage.untrusted import read_json, to_json

if TYPE_CHECKING:
    import pandas as pd

NAME, IDENTITY = "predictions.csv", "predictions.partial.json"


def columns(classes: Sequence[str]) -> list[str]:
    """Return the header of the table."""
    return [
        "path",
        "predicted",
        "confidence",
        "decision",
        "set",
        *(f"p_{name}" for name in classes),
        "problem",
    ]


def cells(decision: Decision) -> list[str]:
    """Return the cells of an image that say what was decided: predicted, confidence, decision, set."""
    said = decision.predicted, f"{decision.confidence:.6f}", decision.decision, BETWEEN.join(decision.set)
    return list(said)


def rows_of(chunk: Chunk, classes: Sequence[str], coverage: float | None) -> list[list[str]]:
    """Return the rows of a chunk: an image that cannot be read has its problem, and nothing else."""
    said = dict(
        zip(
            chunk.good.tolist(),
            zip(decide(chunk.answers, classes, coverage), chunk.answers.probabilities, strict=True),
            strict=True,
        )
    )
    rows = []
    for n, (path, problem) in enumerate(zip(chunk.dataset.paths, chunk.problems, strict=True)):
        if n in said:
            decision, chances = said[n]
            rows.append([path, *cells(decision), *_texts(chances), ""])
        else:
            rows.append([path, *[""] * (4 + len(classes)), problem])
    return rows


def evaluated_rows(
    predictions: Predictions, classes: Sequence[str], paths: Sequence[str], said: Sequence[Decision]
) -> list[list[str]]:
    """Return the table of labelled images: path, label, predicted, confidence, decision, set, p_<class>…"""
    rows = [["path", "label", *columns(classes)[1:-1]]]
    for path, label, one, chances in zip(
        paths, predictions.labels, said, predictions.probabilities, strict=True
    ):
        rows.append([path, classes[label], *cells(one), *_texts(chances)])
    return rows


def with_decisions(
    table: pd.DataFrame, predictions: Predictions, classes: Sequence[str], coverage: float | None
) -> pd.DataFrame:
    """Return a run's table of predictions with columns confidence, decision, set.

    ``predictions`` are of its last rows, the test images; of the others, which calibrated, nothing is decided.
    """
    said = [cells(one)[1:] for one in decide(Answers.of(predictions), classes, coverage)]
    rows = [[""] * 3] * (len(table) - len(said)) + said
    for place, name in enumerate(("confidence", "decision", "set")):
        table.insert(4 + place, name, [row[place] for row in rows])
    return table


def _texts(chances: FloatArray) -> list[str]:
    return [f"{chance:.6f}" for chance in chances]


def write_rows(file: IO[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows as CSV that neither a spreadsheet nor a terminal acts on; each is one line."""
    csv.writer(file, lineterminator="\n").writerows([neutral(cell) for cell in row] for row in rows)


class PredictionsFile:
    """The file in a folder, while it grows. A context: only if it ends without an error the file gets its name."""

    def __init__(
        self, folder: Path, model: Path, paths: Sequence[str], coverage: float | None, *, resume: bool
    ) -> None:
        self.path, self._growing, self._known = folder / NAME, folder / PARTIAL, folder / IDENTITY
        self.done = 0  # images whose rows are there already
        self.problems: list[str] = []  # of these
        identity = _identity(model, paths, coverage)
        make_folder(folder)
        if resume and self._growing.is_file():
            self.done = self._taken_up(identity, paths)
        else:
            with atomic(self._known) as path:
                path.write_text(to_json(identity), encoding="utf-8")
        mode = "a" if self.done else "w"
        self._file = self._growing.open(mode, encoding="utf-8", newline="")

    def _taken_up(self, identity: dict[str, Any], paths: Sequence[str]) -> int:
        """Return how many rows are whole, and cut off what is not."""
        try:
            same = read_json(self._known) == identity
        except (OSError, ValueError):
            same = False
        content = self._growing.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        done = whole.count(b"\n") - 1
        if not same or done > len(paths):
            raise RunFolderError(
                f"{self._growing} was begun with another model, other images or another coverage\n"
                "use the same ones, or --overwrite to begin again"
            )
        os.truncate(self._growing, len(whole))
        rows = csv.reader(whole.decode("utf-8").splitlines())
        self.problems = [restored(row[-1]) for row in rows][1:]
        return max(0, done)

    def header(self, classes: Sequence[str]) -> None:
        """Begin the table, unless it was begun before."""
        if not self.done:
            self.write([columns(classes)])

    def write(self, rows: Sequence[Sequence[str]]) -> None:
        """Add rows; they are safe from a kill of this process."""
        write_rows(self._file, rows)
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._growing.replace(self.path)
        if kind is None or issubclass(kind, Sit2Error):
            for path in (self._known, self._growing):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def _identity(model: Path, paths: Sequence[str], coverage: float | None) -> dict[str, Any]:
    """Return what must be the same for rows of one file; ``paths`` are absolute: other folders, others."""
    digest, files = hashlib.blake2b(digest_size=16), [model]
    if model.suffix != EXPORTED:
        files = [find_model(model) / name for name in ("model.json", "model.safetensors")]
    for file in files:
        digest.update(file.read_bytes())
    seen = "\0".join(f"{path}\0{_state(path)}" for path in paths)
    images = hashlib.blake2b(seen.encode("utf-8", "surrogatepass"), digest_size=16)
    return {"model": digest.hexdigest(), "images": images.hexdigest(), "coverage": coverage}


def _state(path: str) -> str:
    """Return what changes when a file is written anew; "" where there is none, as of images in memory."""
    try:
        found = Path(path).stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
