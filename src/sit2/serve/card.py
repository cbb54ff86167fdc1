"""What `GET /model` says: the model's card."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sit2 import __version__
from sit2.evaluation.metrics import accuracy_interval
from sit2.inference.decisions import guarantee
from sit2.inference.model import Model
from sit2.inference.model_spec import find_model
from sit2.inference.seen import run_of
from sit2.parameters import parameters_of
from sit2.report.data import load_run
from sit2.serve.answering import spoken
from sit2.serve.schema import Accuracy, Card, Predictor
from sit2.serve.settings import LIMITS, ServeSettings


def card_of(model: Model, folder: Path, coverage: float | None, settings: ServeSettings) -> Card:
    """Read a model's card from its folder, and from its run where it lies in one.

    Raises:
        RunFolderError: the run is damaged.
    """
    spec, promise = model.spec, model.promise
    with (find_model(folder) / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return Card(
        sit2=__version__,
        classes=[spoken(name) for name in spec.classes],
        recipe=spec.recipe,
        backbone=spec.backbone,
        weights=spec.weights,
        weights_digest=spec.weights_digest,
        digest=digest,
        predictors=[Predictor(name=name, settings=dict(given)) for name, given in spec.predictors],
        image_size=spec.image_size,
        channels=spec.channels,
        coverage=coverage,
        promise="" if promise is None or coverage is None else guarantee(promise, coverage),
        accuracy=_accuracy(model, folder),
        examples=settings.with_examples,
        limits={
            one.name: getattr(settings, one.name)
            for one in parameters_of(ServeSettings)
            if one.rule.topic == LIMITS
        },
    )


def _accuracy(model: Model, folder: Path) -> Accuracy | None:
    """Return the accuracy on the run's test images; None where the run is not there, or has none."""
    run = run_of(folder)
    found = None if run is None else load_run(run).predictions.get(model.spec.recipe)
    if found is None or not len(found.ids):
        return None
    lower, upper = accuracy_interval(found)
    value = float(found.correct.mean())
    return Accuracy(value=value, lower=lower, upper=upper, images=len(found.ids), figures=model.spec.figures)
