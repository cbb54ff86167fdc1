"""Kill a command at random moments: what goes on afterwards must end as if nothing had happened.

``python -m benchmarks.torture [train|compare|synthesize ...]`` prints a line a kill, and the count. Each kill
is a new folder: the command runs in a process of its own, is killed at a random moment after its folder
appeared, and is run again as sit2 says; the results must be those of an uninterrupted run to the byte. Of
five kills three are SIGKILL (of the command alone: what it started must end by itself), one is SIGTERM, one
Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

SETTINGS = [
    "--backbone",
    "small-cnn",
    "--confusion",
    "folds",
    "--image-size",
    "16",
    "--folds",
    "2",
    "--batch-size",
    "16",
    "--early-stop",
    "4",
]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL)
CLASSES = (3, 8, 9)
PER_CLASS = 30
TIMED = ("results.csv", "history.csv")  # tables with a column of seconds
POOL_EVERY = 10  # kills: then two processes train at once; starting them takes long


@dataclass(frozen=True)
class Victim:
    """A command, how to go on with it, and what must come out."""

    words: tuple[str, ...]
    again: tuple[str, ...]  # what to add, when it is run again
    results: tuple[str, ...]


VICTIMS = {
    "train": Victim(
        ("--epochs", "16"),
        ("--resume",),
        (
            "samples.csv", "confusion/*.csv", "synthesis/*.png", "model/**/model.*", "predictions/*.csv",
            "history.csv", "metrics.json", "comparison.json",
        ),
    ),
    "compare": Victim(
        ("--epochs", "3", "--methods", "plain,multi-label", "--splits", "2"),
        (),
        ("results.csv", "pairs/*.csv", "cells/*.npz", "comparison.json"),
    ),
    "synthesize": Victim(
        ("--epochs", "3", "--count", "40", "--sure"),
        ("--overwrite",),
        ("samples.csv", "sources.csv", "confusion/*.csv", "synthesis/**/*.png"),
    ),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("verbs", nargs="*", default=["train", "compare"], metavar="VERB")
    parser.add_argument("--kills", type=int, default=20, help="of each verb (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ |= {"SIT2_CACHE": "off", "OMP_NUM_THREADS": "1"}
    survived = {verb: torture(verb, options.kills, options.seed) for verb in options.verbs}
    for verb, count in survived.items():
        print(f"{verb}: {count} of {options.kills} kills survived, bit-identical")
    return int(any(count < options.kills for count in survived.values()))


def torture(verb: str, kills: int, seed: int) -> int:
    """Kill a verb so often; return how many times the result was the same."""
    draw, victim, survived = random.Random(f"{seed} {verb}"), VICTIMS[verb], 0
    with tempfile.TemporaryDirectory(prefix="sit2-torture-") as name:
        place = Path(name)
        data = write_digits(place / "digits")
        command = (verb, str(data), *SETTINGS, *victim.words, "--quiet", "-o")
        whole = Attempt.start((*command, str(place / "whole"), "--workers", "1"), place / "whole")
        seconds = whole.wait()
        whole.require(0)
        expected = contents(whole.out, victim.results)
        number = missed = 0
        while number < kills:
            out = place / f"killed-{number}-{missed}"
            workers = str(2 if number % POOL_EVERY == POOL_EVERY - 1 else 1)
            words = (*command, str(out), "--workers", workers)
            killed = Attempt.start(words, out)
            told = killed.kill(SIGNALS[number % len(SIGNALS)], after=draw.uniform(0, seconds))
            if told is None:
                missed += 1
                continue
            status = status_of(out)
            if status != "complete":
                again = Attempt.start((*words, *victim.again), out)
                again.wait()
                again.require(0)
            wrong = differences(contents(out, victim.results), expected)
            wrong += [str(path.relative_to(out)) for path in out.rglob(".*")]  # nothing half written is left
            survived += not wrong
            result = f"differs in {', '.join(wrong)}" if wrong else "identical"
            number += 1
            print(f"{verb} {number:2} of {kills}: {told}; {status}; run again: {result}", flush=True)
    return survived


@dataclass(frozen=True)
class Attempt:
    """A command in a process of its own."""

    process: BaseProcess
    out: Path
    errors: Path

    @classmethod
    def start(cls, words: Sequence[str], out: Path) -> Attempt:
        """Start a command in a process that has torch loaded already: loading takes longer than training."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["sit2.experiments.run", "sit2.experiments.comparison", "sit2.cli.command"]
        )
        errors = out.with_suffix(".errors")
        process = context.Process(target=run, args=(list(words), errors))
        process.start()
        return cls(process, out, errors)

    def wait(self) -> float:
        """Let it end; return the seconds since its folder appeared."""
        began = self._appeared()
        self.process.join()
        return time.monotonic() - began

    def kill(self, number: signal.Signals, *, after: float) -> str | None:
        """Send a signal so many seconds after the folder appeared; say what it met; None: it was late."""
        self._appeared()
        self.process.join(timeout=after)
        if not self.process.is_alive():
            return None
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        self.process.join()
        there = [p for name in ("state", "cells") for p in self.out.glob(f"{name}/[!.]*")]
        if number != signal.SIGKILL and self.process.exitcode != 0:
            self.require(130, "interrupted")
        return f"{number.name} after {after:5.2f} s, {len(there)} files of trainings"

    def require(self, code: int, words: str = "") -> None:
        """End everything unless the command ended with this code, having said these words."""
        said = self.errors.read_text(encoding="utf-8")
        if self.process.exitcode != code or words not in said:
            raise SystemExit(f"{self.out}: exit code {self.process.exitcode}, expected {code}\n{said}")

    def _appeared(self) -> float:
        while self.process.is_alive() and not self.out.exists():
            time.sleep(0.005)
        return time.monotonic()


def run(words: list[str], errors: Path) -> None:
    """Be the command, with a checkpoint after every epoch, so that kills meet some."""
    from sit2.cli.command import main as command
    from sit2.training import loop

    loop.CHECKPOINT_SECONDS = 0.0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    with errors.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
    code = command(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # multiprocessing would first wait for the pool's idle processes, for minutes


def status_of(out: Path) -> str:
    path = out / "run.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["status"]) if path.exists() else "not begun"


def contents(folder: Path, patterns: Sequence[str]) -> dict[str, bytes]:
    """Return the files that match, without their columns of seconds."""
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    read = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {name: without_seconds(data) if name in TIMED else data for name, data in read.items()}


def without_seconds(table: bytes) -> bytes:
    rows = list(csv.reader(io.StringIO(table.decode())))
    drop = rows[0].index("seconds")
    return repr([[cell for n, cell in enumerate(row) if n != drop] for row in rows]).encode()


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def write_digits(root: Path) -> Path:
    """Write handwritten digits that look alike, as a folder of classes."""
    digits = load_digits()
    for name in CLASSES:
        (root / str(name)).mkdir(parents=True)
        for n, pixels in enumerate(digits.images[digits.target == name][:PER_CLASS]):
            Image.fromarray((pixels * 15.9).astype("uint8")).save(root / str(name) / f"{n:03}.png")
    return root


if __name__ == "__main__":
    sys.exit(main())
