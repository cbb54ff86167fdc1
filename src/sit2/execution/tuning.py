"""Choose a method's settings by the validation images alone, with the same number of trials for every method.

A trial is a whole training. The validation log-loss of its network decides, before any predictor is fitted to
these images; the best network is kept, so nothing is trained twice, and the test images decide nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from sit2.config.schema import Config, changed
from sit2.errors import ConfigError, TrainingError
from sit2.events import Listener, nobody
from sit2.execution.trained import Trained, load_trained
from sit2.execution.training_job import TrainingJob, load_finished
from sit2.methods.method import Method
from sit2.parameters import parameters_of
from sit2.storage.process_state import quiet_libraries


def tuned(job: TrainingJob, listener: Listener = nobody) -> Trained:
    """Train ``job.trials`` times, the first with the job's own settings; keep the best by validation.

    The rates and the method's own settings vary. ``seconds`` and ``samples_seen`` are those of all trials
    together; ``chosen`` holds the settings that won.

    Raises:
        ConfigError: Optuna is not installed, or there are no validation images.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError("--tune needs Optuna\ninstall it: pip install 'sit2[tune]'") from None
    assert job.network is not None
    if load_trained(job.network) is not None:
        return replace(job, trials=1).run(listener)  # found: it tells of it
    if not len(job.val):
        raise ConfigError("tuning needs validation images\nexpected some; see --val-fraction")
    ranges = _ranges(job.config, job.method)
    with quiet_libraries():
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=job.seeds.sklearn("tuning")))
    study.enqueue_trial({name: default for name, (_, _, default) in ranges.items()})
    trials: list[tuple[float, Trained, TrainingJob]] = []
    failed: TrainingError | None = None
    for number in range(job.trials):
        trial = study.ask()
        values: dict[str, Any] = {
            name: trial.suggest_float(name, low, high, log=0 < 10 * low < high)
            for name, (low, high, _) in ranges.items()
        }
        one = _trial(job, number, values)
        try:
            trained = one.run(listener)
        except TrainingError as error:
            failed = error
            study.tell(trial, math.inf)
            continue
        loss = _validation_loss(trained, job.config)
        study.tell(trial, loss)
        trials.append((loss, replace(trained, chosen=values), one))
    if not trials:
        assert failed is not None
        raise failed
    _, best, winner = min(trials, key=lambda found: found[0])
    every = [trained for _, trained, _ in trials]
    result = replace(
        best,
        seconds=sum(trained.seconds for trained in every),
        samples_seen=sum(trained.budget for trained in every),
    )
    result.save(job.network, load_finished(winner)[1])
    for _, _, one in trials:
        assert one.network is not None
        one.network.unlink(missing_ok=True)
    return result


def _validation_loss(trained: Trained, config: Config) -> float:
    """Return the validation log-loss of the network that was kept."""
    losses = [row.val_log_loss for row in trained.history if row.val_log_loss is not None]
    kept = (min(losses) if config.early_stop else losses[-1]) if losses else math.inf
    return kept if math.isfinite(kept) else math.inf


def _trial(job: TrainingJob, number: int, values: dict[str, Any]) -> TrainingJob:
    """Return the training of one trial, in a file of its own."""
    own = {one.name for one in parameters_of(type(job.method))}
    assert job.network is not None
    return replace(
        job,
        config=changed(job.config, **{k: v for k, v in values.items() if k not in own}),
        method=replace(job.method, **{k: v for k, v in values.items() if k in own}),
        trials=1,
        checkpoint=None,
        network=job.network.with_name(f"{job.network.stem}-trial-{number}.network"),
    )


def _ranges(config: Config, method: Method) -> dict[str, tuple[float, float, float]]:
    """Return low, high and default of everything that varies."""
    lr, decay = config.peak_lr, config.decay
    ranges = {"lr": (lr / 4, lr * 4, lr)}
    if decay > 0:
        ranges["weight_decay"] = (decay / 10, decay * 10, decay)
    for one in parameters_of(type(method)):
        if one.rule.tune is not None:
            low, high = one.rule.tune
            default = float(getattr(method, one.name))
            ranges[one.name] = (min(low, default), max(high, default), default)
    return ranges
