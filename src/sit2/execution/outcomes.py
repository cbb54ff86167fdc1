"""What a recipe leaves behind, in files: kept under a name, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sit2.errors import ModelError
from sit2.events import EpochEnded
from sit2.execution.recipe_job import Outcome
from sit2.inference.decisions import Answers
from sit2.inference.predictors.predictor import Promise
from sit2.storage.files import atomic
from sit2.storage.untrusted import read_json, to_json


def save_outcome(keep: Path | None, name: str, outcome: Outcome) -> None:
    """Keep an outcome under a name; the JSON, which is written last, says that it is whole."""
    if keep is None:
        return
    with atomic(keep / f"{name}.npz") as path, path.open("wb") as file:
        given = {name: values for name, values in vars(outcome.answers).items() if values is not None}
        np.savez(file, validation=outcome.validation, **given)
    content = {
        "budget": outcome.budget,
        "seconds": outcome.seconds,
        "histories": [[vars(row) for row in history] for history in outcome.histories],
        "chosen": outcome.chosen,
        "notes": list(outcome.notes),
    }
    if outcome.promise is not None:
        content["promise"] = vars(outcome.promise)
    with atomic(keep / f"{name}.json") as path:
        path.write_text(to_json(content, indent=None), encoding="utf-8")


def load_outcome(keep: Path | None, name: str) -> Outcome | None:
    """Return an outcome that was kept under this name; None where there is none.

    Raises:
        ModelError: when it is damaged.
    """
    if keep is None or not (keep / f"{name}.json").exists():
        return None
    try:
        content = read_json(keep / f"{name}.json")
        content["histories"] = [[EpochEnded(**row) for row in one] for one in content["histories"]]
        with np.load(keep / f"{name}.npz", allow_pickle=False) as arrays:
            kept = {part: arrays[part] for part in arrays.files}
        for part, values in kept.items():
            if part == "unlike":
                if values.ndim != 1 or values.dtype != np.bool_:
                    raise ValueError("it does not say what is unlike the training images")
            elif values.ndim != 2 or not np.isfinite(values).all():
                raise ValueError(f"{part} holds no probabilities")
        if "promise" in content:
            content["promise"] = Promise(**content["promise"])
        return Outcome(kept.pop("validation"), Answers(**kept), **content)
    except Exception:  # NumPy raises nearly anything on a damaged header
        raise ModelError(f"what was kept as {keep / name} is damaged") from None
