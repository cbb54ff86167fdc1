"""Interleaved rounds, and the median of the ratios of each."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """One line of the result."""

    name: str
    ratio: float  # median over rounds
    low: float
    high: float
    rounds: int
    what: str


def measure(name: str, what: str, top: Work, bottom: Work, *, rounds: int = 7) -> Ratio:
    """Return time(top) / time(bottom), round by round, so that a noisy neighbour meets both.

    The first round warms up and does not count. The clock is the process's CPU time, or wall time where there
    is a GPU, which is waited for.
    """
    ratios = []
    for number in range(rounds + 1):
        order = (top, bottom) if number % 2 else (bottom, top)
        seconds = {work: _time(work) for work in order}
        if number:
            ratios.append(seconds[top] / seconds[bottom])
    return Ratio(name, statistics.median(ratios), min(ratios), max(ratios), rounds, what)


def _time(work: Work) -> float:
    gc.collect()
    gpu = torch.cuda.is_available()
    clock = time.perf_counter if gpu else time.process_time
    if gpu:
        torch.cuda.synchronize()
    began = clock()
    work()
    if gpu:
        torch.cuda.synchronize()
    return clock() - began
