"""Where a run can be logged besides its folder: one file per tracker. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from sit2.errors import ConfigError
from sit2.trackers.mlflow import MLflow
from sit2.trackers.tensorboard import TensorBoard
from sit2.trackers.tracker import Tracker
from sit2.trackers.wandb import WandB

TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


def refuse_missing(names: Iterable[str]) -> None:
    """Look whether the packages of some trackers are installed, without loading them.

    Raises:
        ConfigError: one is not.
    """
    for name in names:
        if find_spec(TRACKERS[name].package) is None:
            raise ConfigError(
                f"log: the package {TRACKERS[name].package} is not installed\n"
                f"pip install 'sit2[{name}]', or leave {name} out of --log"
            )
