"""sit2 runs inside other people's services: whatever it does leaves the process as it was."""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import finished, write_folder

from sit2.events import nobody
from sit2.inference.prediction import predict
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
        "matplotlib": dict(mpl.rcParams),
    }


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
