"""One training, as something that can be sent to another process: images in, probabilities out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import log_loss

from sit2.config import Config
from sit2.errors import TrainingError
from sit2.methods import make_phases, settings_of, uses_pairs
from sit2.records import ByteArray, ClassPair, FloatArray, IntArray
from sit2.seeds import Seeds
from sit2.training.augment import PRESETS
from sit2.training.backbones import Network, build_network, weights_file
from sit2.training.classifier import Classifier, ModelSpec
from sit2.training.device import make_fabric, threads
from sit2.training.feed import Feed, Normalisation
from sit2.training.loop import Progress, Training, total_steps

RECIPE = 1  # of what jobs do: to be raised when one gives another result, or a default changes
Report = Callable[[float, str], None]  # (share done in [0, 1], a few words)


@dataclass(frozen=True)
class Job:
    """What determines one training, and nothing else.

    The network sees the pixels of ``train_rows`` and, only where early stopping is on, of ``val_rows``;
    ``predict_rows`` are looked at when it is finished.
    """

    method: str
    config: Config
    seeds: Seeds
    classes: tuple[str, ...]
    images: ByteArray  # (N, C, H, W) uint8
    labels: IntArray  # (N,) int64
    train_rows: IntArray
    predict_rows: IntArray
    val_rows: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    pairs: tuple[ClassPair, ...] = ()
    trials: int = 1  # trainings to choose among by the validation images, see sit2.tuning
    checkpoint: Path | None = None
    save_to: Path | None = None  # where to write the model

    def key(self) -> str:
        """Return 40 hexadecimal digits that change with anything that the probabilities depend on."""
        own = {"threads", "image_size", *settings_of(self.method)}
        values = [  # of those that are not as usual: a setting that is new one day changes no key of today
            (f.name, getattr(self.config, f.name))
            for f in fields(Config)
            if (f.metadata["section"] == "training" or f.name in own)
            and getattr(self.config, f.name) != f.default
        ]
        pairs = [(pair.a, pair.b) for pair in self.pairs] if uses_pairs(self.method) else []
        version = importlib.metadata.version
        known = (
            (RECIPE, version("sit2"), version("torch"), self.method, values, self.trials, pairs),
            (self.seeds.root, self.seeds.path, self.classes, self.images.shape[1:]),
        )
        digest = hashlib.blake2b(repr(known).encode(), digest_size=20)
        if self.config.weights is not None:
            digest.update(weights_file(self.config.weights).read_bytes())
        for rows in (self.train_rows, self.val_rows, self.predict_rows):
            digest.update(repr(self.labels[rows].tolist()).encode())
            digest.update(np.ascontiguousarray(self.images[rows]).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What one training leaves behind."""

    probabilities: FloatArray  # (len(predict_rows), K) float64
    passes: int  # images through the network, forward and backward
    seconds: float
    history: list[dict[str, Any]]
    spec: ModelSpec
    chosen: dict[str, Any] = field(default_factory=dict)  # the settings that tuning chose


def run_job(job: Job, report: Report | None = None) -> Outcome:
    """Train, predict, save; the same job gives bit-identical results on the same machine."""
    with threads(job.config.threads):
        classifier, outcome = train_classifier(job, report)
        if job.save_to is not None:
            classifier.save(job.save_to)
    if job.checkpoint is not None:
        job.checkpoint.unlink(missing_ok=True)
    return outcome


def train_classifier(job: Job, report: Report | None = None) -> tuple[Classifier, Outcome]:
    """Train one classifier, keep it, and predict.

    Raises:
        TrainingError: when the loss or the probabilities become NaN or infinite.
    """
    began = time.monotonic()
    config, channels = job.config, job.images.shape[1]
    normalise = Normalisation.of(job.images, job.train_rows)
    spec = ModelSpec(
        config.backbone,
        job.classes,
        channels,
        config.image_size,
        config.resize,
        normalise.mean,
        normalise.std,
        job.method,
        depth_window=config.depth_window,
        background=config.background,
        max_megapixels=config.max_megapixels,
    )
    network = build_network(
        config.backbone,
        channels=channels,
        image_size=config.image_size,
        outputs=len(job.classes),
        seed=job.seeds.integer("network"),
        pretrained=config.pretrained,
        weights=config.weights,
    )
    fabric = make_fabric(config.device, config.precision)
    feed = Feed.of(
        job.images,
        job.labels,
        len(job.classes),
        rows=job.train_rows,
        normalise=normalise,
        augment=PRESETS[config.augment],
        seeds=job.seeds.child("training"),
        balanced=config.balance == "sampling",
        device=fabric.device,
    )

    def validation_log_loss(network: Network) -> float:
        probabilities = Classifier(spec, network).predict_proba(job.images, job.val_rows)
        if not np.isfinite(probabilities).all():
            return math.nan
        return float(log_loss(job.labels[job.val_rows], probabilities, labels=range(len(job.classes))))

    def watch(progress: Progress) -> None:
        if report is not None:
            report(progress.step / progress.steps, f"{progress.phase}, loss {progress.loss:.3f}")

    training = Training(
        network,
        feed,
        make_phases(job.method, config, job.pairs, job.classes, job.seeds),
        config,
        job.seeds,
        fabric,
        watch=watch,
        validate=validation_log_loss if len(job.val_rows) else None,
        checkpoint=job.checkpoint,
    )
    try:
        classifier = Classifier(spec, training.run())
    except TrainingError as error:
        raise TrainingError(f"{job.method}: {error}") from None
    history = [asdict(p) for p in training.history]
    outcome = Outcome(
        probabilities=classifier.predict_proba(job.images, job.predict_rows),
        passes=training.history[-1].passes,
        seconds=time.monotonic() - began,
        history=history,
        spec=spec,
    )
    if not np.isfinite(outcome.probabilities).all():  # the last step of all may be the one that fails
        raise TrainingError(
            f"{job.method}: the trained network's probabilities are not finite\n"
            "expected a finite loss; lower --lr"
        )
    return classifier, outcome


def steps_in(job: Job) -> int:
    """Return how many steps a job takes, for estimates of the time left."""
    return total_steps(job.config, len(job.train_rows))
