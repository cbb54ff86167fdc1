"""A model and the images that it is asked about: found before anything is decoded, then streamed.

Loads torch only for a model that needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sit2.data.readers import read_images
from sit2.data.readers.validate import refuse_missing
from sit2.data.words import LEFT_OUT, counted, unread
from sit2.events import Listener, Note, nobody
from sit2.inference.any_model import Answering
from sit2.inference.columns import Column
from sit2.inference.decisions import COVERAGE, guarantee, level
from sit2.inference.model_spec import EXPORTED
from sit2.inference.seen import seen_in_training
from sit2.inference.streaming import Chunk, stream
from sit2.records import Dataset, IntArray


def load_any(path: Path) -> Answering:
    """Load a run's model, or an exported one, for which no torch is needed.

    Raises:
        ModelError: when there is no model, or it is damaged, or another version wrote it.
    """
    if path.suffix == EXPORTED:
        from sit2.inference import onnx_file

        return onnx_file.load(path)
    from sit2.inference.model import Model

    return Model.load(path)


@dataclass
class Done:
    """What is remembered of images that were predicted: little for each."""

    problems: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)  # of the readable ones

    def add(self, chunk: Chunk) -> None:
        """Take in the next images."""
        self.problems += chunk.problems
        self.digests += chunk.digests


@dataclass(frozen=True)
class Asked:
    """A model, the images that it is asked about, and the coverage of its sets; nothing is decoded yet."""

    model: Answering
    dataset: Dataset
    coverage: float | None
    sources: tuple[Path, ...]
    folder: Path  # of the model, or its file

    @classmethod
    def of(
        cls,
        sources: Sequence[Path],
        folder: Path,
        listener: Listener,
        *,
        layout: str = "auto",
        coverage: float | None = None,
        sets: bool = True,
    ) -> Asked:
        """Load the model, find the images, and with ``sets`` say what the coverage means.

        ``layout`` is what the folders mean, one of LAYOUTS: where the labels stand that images may have.

        Raises:
            ConfigError: the model cannot promise this coverage.
            DataError: when there is no image.
            ModelError: when there is no model, or it is damaged.
        """
        model = load_any(folder)
        promise, classes = model.promise, model.spec.classes
        used = level(promise, coverage, classes, model.spec.recipe)
        chosen = "" if layout == "auto" else layout
        dataset = read_images(sources, classes, layout=model.spec.layout, chosen=chosen)
        for note in dataset.notes:
            listener(Note(note))
        refuse_missing(dataset)
        if sets and promise is not None and used is not None:
            if coverage is None and used < COVERAGE:
                few = f"{100 * COVERAGE:g} % cannot be promised with so few calibration images"
                listener(Note(f"{few}: sets are made for {100 * used:.1f} %, the highest that can"))
            listener(Note(guarantee(promise, used)))
        return cls(model, dataset, used, tuple(sources), folder)

    def stream(self, listener: Listener, *, start: int = 0) -> Iterator[Chunk]:
        """Yield what the model says, some images at a time; see :func:`~sit2.inference.streaming.stream`."""
        return stream(self.model, self.dataset, listener, start=start)

    def tell(
        self,
        done: Done,
        listener: Listener,
        *,
        warn: bool = True,
        before: Sequence[str] = (),
        then: str = LEFT_OUT,
    ) -> None:
        """Say which images cannot be read and, with ``warn``, how many trained a model of all images.

        ``then`` is what becomes of those that cannot be read.
        ``before`` are the problems of those images that were predicted before an interruption; how many of these
        trained the model is not said.
        """
        start = len(before)
        if missing := unread(self.dataset.paths, [*before, *done.problems], then):
            listener(Note(missing))
        if not (warn and self.model.spec.figures and self.folder.is_dir()):
            return
        readable = self.dataset.take(start + good_rows(done.problems))

        def column(name: str) -> tuple[str, ...]:
            return Column.of(self.sources, name).values(readable)

        known = seen_in_training(readable, tuple(done.digests), self.folder, nobody, column).itself
        if known.any():
            listener(
                Note(
                    f"{counted(int(known.sum()), 'image')} trained this model, as all images of its run did: what "
                    "it says of them does not show how good it is"
                )
            )


def good_rows(problems: Sequence[str]) -> IntArray:
    """Return the rows of the images that can be read."""
    return np.array([n for n, problem in enumerate(problems) if not problem], np.int64)
