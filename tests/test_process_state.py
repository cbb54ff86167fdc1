"""sit2 runs inside other people's services: whatever it does leaves the process as it was."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from synthetic import SETTINGS, finished, write_folder

import sit2
from sit2.config.schema import make_config
from sit2.errors import TrainingError
from sit2.events import nobody
from sit2.experiments.check import check_data
from sit2.inference.export import export_onnx
from sit2.inference.prediction import predict
from sit2.report.page import write_report
from sit2.storage.process_state import Shared, quiet_libraries
from sit2.training.device import threads


def state() -> dict[str, Any]:
    """Everything of the process that libraries let one change, and that sit2 has had to do with."""
    names = ("PIL", "tifffile", "lightning_fabric", "optuna", "matplotlib", "torch")
    return {
        "pixels": Image.MAX_IMAGE_PIXELS,
        "filters": list(warnings.filters),
        "levels": {name: logging.getLogger(name).level for name in names},
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": torch.is_grad_enabled(),
        "torch": torch.random.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),
        "python": random.getstate(),
        "matplotlib": dict(mpl.rcParams),
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
        "dtype": torch.get_default_dtype(),
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "interop": torch.get_num_interop_threads(),
        "numpy errors": np.geterr(),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "signals": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)],
        "hook": sys.excepthook,
        "root log": (logging.getLogger().level, list(logging.getLogger().handlers)),
    }


PLAIN = {**SETTINGS, "method": "plain", "control": "none", "epochs": 1, "cache": "off"}


def _train(data: Path, _run: Path, out: Path) -> None:
    sit2.train(data, out=out, **{**PLAIN, "threads": 2})


def _train_badly(data: Path, _run: Path, out: Path) -> None:
    with pytest.raises(TrainingError):
        sit2.train(data, out=out, **{**PLAIN, "lr": 1e30})


def _check(data: Path, _run: Path, _out: Path) -> None:
    config = make_config({"backbone": "small-cnn", "cache": "off"})
    assert check_data(data, config, nobody, labels=True).classes


def _report(_data: Path, run: Path, out: Path) -> None:
    shutil.copytree(run, out)
    write_report(out)


def _export(_data: Path, run: Path, out: Path) -> None:
    export_onnx(run, out)


@pytest.mark.parametrize("work", [_train, _train_badly, _check, _report, _export])
def test_whatever_is_done_leaves_everything_as_it_was(
    tmp_path: Path, work: Callable[[Path, Path, Path], None]
) -> None:
    """What libraries change as they are imported for the first time is theirs: all are loaded by a first time."""
    done = finished()
    work(done.data, done.run, tmp_path / "first")
    before = state()
    work(done.data, done.run, tmp_path / "second")
    after = state()
    assert {name for name in before if before[name] != after[name]} == set()


def test_eight_threads_that_predict_at_once_leave_everything_as_it_was(tmp_path: Path) -> None:
    """Pillow's limit stayed None, and three filters of warnings remained."""
    data = write_folder(tmp_path / "photos", 4)
    model, barrier = finished().run, Barrier(8)
    predict([data], model, nobody)  # loads what is loaded once
    before = state()

    def work(_: int) -> np.ndarray[Any, Any]:
        barrier.wait()
        return np.concatenate([predict([data], model, nobody).predictions.probabilities for _ in range(5)])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert state() == before
    for probabilities in found[1:]:
        np.testing.assert_array_equal(probabilities, found[0])


@pytest.mark.parametrize("fails", [False, True])
def test_contexts_that_overlap_are_restored_with_the_last(fails: bool) -> None:
    before, first, second = state(), Barrier(2), Barrier(2)

    def early() -> None:
        with quiet_libraries(), threads(3):
            first.wait()
        second.wait()  # leaves before the other

    def late() -> None:
        first.wait()
        with quiet_libraries(), threads(5):
            second.wait()
            if fails:
                raise KeyError

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(early), pool.submit(late)]
    assert [type(one.exception()) for one in done] == [type(None), KeyError if fails else type(None)]
    assert state() == before


def test_the_first_value_holds_for_all_that_are_inside() -> None:
    entered: list[str] = []

    class Recording:
        def __init__(self, value: str) -> None:
            self.value = value

        def __enter__(self) -> None:
            entered.append(f"in {self.value}")

        def __exit__(self, *_: object) -> None:
            entered.append(f"out {self.value}")

    shared = Shared(Recording)
    with shared("a"), shared("b"):
        assert entered == ["in a"]
    with shared("c"):
        pass
    assert entered == ["in a", "out a", "in c", "out c"]
