"""Choose a method's settings by the validation images alone, with the same number of trials for every method.

A trial is a whole training. Its validation log-loss decides, and the chosen trial's own predictions are
the outcome: nothing is trained twice, and the test images decide nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from sit2.errors import ConfigError
from sit2.execution.job import Job, Outcome, Report, run_job
from sit2.methods import settings_of
from sit2.records import FloatArray
from sit2.training.loop import DEFAULT_LR, DEFAULT_WEIGHT_DECAY

# Ranges, on a logarithmic scale where they span more than a factor of ten and not 0.
RANGES: dict[str, tuple[float, float]] = {
    "label_smoothing": (0.02, 0.3),
    "mixup_alpha": (0.1, 1.0),
    "pretrain_share": (0.25, 0.9),
    "finetune_lr": (0.05, 1.0),
    "phase_smoothing": (0.0, 0.2),
    "soft_originals": (0.0, 0.5),
    "soft_alpha": (0.2, 2.0),
    "soft_emphasis": (0.0, 1.0),
    "soft_cut": (0.0, 1.0),
    "smoothing_emphasis": (0.0, 1.0),
}


def tune(job: Job, report: Report | None = None) -> Outcome:
    """Train ``job.trials`` times, the first with the job's own settings; return the best by validation.

    The rates and the method's own settings vary. ``seconds`` and ``passes`` are those of all trials together;
    ``chosen`` holds the settings that won.

    Raises:
        ConfigError: Optuna is not installed, or the job predicts no validation images.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError("--tune needs Optuna\ninstall it: pip install 'sit2[tune]'") from None
    validation = np.isin(job.predict_rows, job.val_rows)
    if not validation.any():
        raise ConfigError("tuning needs validation images\nexpected some; see --val-fraction")
    ranges = _ranges(job)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=job.seeds.sklearn("tuning")))
    study.enqueue_trial({name: default for name, (_, _, default) in ranges.items()})
    outcomes: list[tuple[float, Outcome]] = []
    for number in range(job.trials):
        trial = study.ask()
        values: dict[str, Any] = {
            name: trial.suggest_float(name, low, high, log=0 < 10 * low < high)
            for name, (low, high, _) in ranges.items()
        }

        def share(done: float, loss: float, number: int = number) -> None:
            if report is not None:
                report((number + done) / job.trials, loss)

        outcome = run_job(
            replace(job, config=replace(job.config, **values), trials=1, checkpoint=None, shared=None), share
        )
        rows = job.predict_rows[validation]
        loss = _log_loss(outcome.probabilities[validation], job.labels[rows])
        study.tell(trial, loss)
        outcomes.append((loss, replace(outcome, chosen=values)))
    best = min(outcomes, key=lambda pair: pair[0])[1]
    every = [outcome for _, outcome in outcomes]
    return replace(best, seconds=sum(o.seconds for o in every), passes=sum(o.passes for o in every))


def _ranges(job: Job) -> dict[str, tuple[float, float, float]]:
    """Return low, high and default of everything that varies."""
    config = job.config
    lr = DEFAULT_LR[config.optimizer] if config.lr is None else config.lr
    decay = DEFAULT_WEIGHT_DECAY[config.optimizer] if config.weight_decay is None else config.weight_decay
    ranges = {"lr": (lr / 4, lr * 4, lr)}
    if decay > 0:
        ranges["weight_decay"] = (decay / 10, decay * 10, decay)
    for name in settings_of(job.method, config):
        if name in RANGES:
            low, high = RANGES[name]
            default = float(getattr(config, name))
            ranges[name] = (min(low, default), max(high, default), default)
    return ranges


def _log_loss(probabilities: FloatArray, labels: Any) -> float:
    chance = probabilities[np.arange(len(labels)), labels]
    loss = float(-np.log(np.clip(chance, np.finfo(np.float64).eps, 1.0)).mean())
    return loss if math.isfinite(loss) else math.inf
