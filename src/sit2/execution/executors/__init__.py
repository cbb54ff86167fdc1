"""Where jobs run: one file per executor. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable

from sit2.events import Listener
from sit2.execution.executors.executor import Executor
from sit2.execution.executors.processes import ProcessExecutor
from sit2.execution.executors.serial import SerialExecutor

EXECUTORS: dict[str, Callable[[Listener, int], Executor]] = {
    "serial": lambda listener, _workers: SerialExecutor(listener),
    "joblib": ProcessExecutor,
}
