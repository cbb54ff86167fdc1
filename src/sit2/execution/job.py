"""One training, as something that can be sent to another process: images in, probabilities out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import log_loss

from sit2.config.schema import Config
from sit2.errors import TrainingError
from sit2.features.closed_form import fit_probe
from sit2.inference.model import Classifier, ModelSpec
from sit2.inference.second_look import USUAL_WEIGHT, SecondLook
from sit2.methods import looks_again, make_phases, pairs_of, settings_of, trains_as, uses_pairs
from sit2.records import ByteArray, ClassPair, FloatArray, IntArray
from sit2.seeds import Seeds
from sit2.storage.files import DamagedStateError, atomic, load_state, save_state
from sit2.storage.untrusted import read_json
from sit2.training.augment import PRESETS
from sit2.training.backbones import Network, build_network, weights_file
from sit2.training.device import make_fabric, pick_device, telling_of_memory, threads
from sit2.training.feed import Feed, Normalisation
from sit2.training.loop import Progress, Training, total_steps

RECIPE = 1  # of what jobs do: to be raised when one gives another result, or a default changes
LOOK_RECIPE = 2  # likewise, of what comes after training where a model looks twice
RETRY_LR = 0.1  # of the learning rate, in the one retry after the loss became NaN or infinite
Report = Callable[[float, float], None]  # (share done in [0, 1], running loss)


@dataclass(frozen=True)
class Job:
    """What determines one training, and nothing else.

    The network sees the pixels of ``train_rows`` and, where early stopping is on or a second look is fitted,
    of ``val_rows``; ``predict_rows`` are looked at when it is finished.
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
    trials: int = 1  # trainings to choose among by the validation images, see sit2.execution.tuning
    checkpoint: Path | None = None
    save_to: Path | None = None  # where to write the model
    groups: tuple[str, ...] = ()  # of the training images, which a second look's probe leaves out together
    shared: Path | None = None  # where the network is kept for jobs that train alike, or found if it is there

    def training_key(self) -> str:
        """Return the key of the training alone: the same for all methods that train alike."""
        return replace(self, method=trains_as(self.method, self.config)).key()

    def key(self) -> str:
        """Return 40 hexadecimal digits that change with anything that the probabilities depend on."""
        own = {"threads", "image_size", *settings_of(self.method, self.config)}
        values = [  # of those that are not as usual: a setting that is new one day changes no key of today
            (f.name, getattr(self.config, f.name))
            for f in fields(Config)
            if (f.metadata["section"] == "training" or f.name in own)
            and getattr(self.config, f.name) != f.default
            and f.name != "weights"  # it is their content that counts, wherever they lie
        ]
        pairs = [(pair.a, pair.b, pair.score) for pair in self.pairs] if uses_pairs(self.method) else []
        device = pick_device(self.config.device)
        version = importlib.metadata.version
        known = (
            (RECIPE, version("sit2"), version("torch"), self.method, values, self.trials, pairs),
            (self.seeds.root, self.seeds.path, self.classes, self.images.shape[1:]),
            *((LOOK_RECIPE, self.groups) if looks_again(self.method) else ()),
            *((device,) if device != "cpu" else ()),
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
    notes: list[str] = field(default_factory=list)  # what went wrong on the way, and what was done about it


def run_job(job: Job, report: Report | None = None) -> Outcome:
    """Train, predict, save; the same job gives bit-identical results on the same machine.

    Raises:
        TrainingError: see :func:`train_classifier`; or memory ran out.
    """
    with threads(job.config.threads), telling_of_memory(f"training {job.method}"):
        classifier, outcome = train_classifier(job, report)
        if job.save_to is not None:
            classifier.save(job.save_to)
    if job.checkpoint is not None:
        for path in (job.checkpoint, _retry_file(job.checkpoint)):
            path.unlink(missing_ok=True)
    return outcome


def train_classifier(job: Job, report: Report | None = None) -> tuple[Classifier, Outcome]:
    """Train one classifier, keep it, and predict.

    When the loss becomes NaN or infinite, training begins once again, at a tenth of the learning rate; the
    outcome's notes say so. A killed retry is resumed as a retry.

    Raises:
        TrainingError: when the loss or the probabilities become NaN or infinite in the retry too.
    """
    began = time.monotonic()
    first = _first_failure(job)
    notes: list[str] = []
    if first is None:
        try:
            return _train_from_checkpoint(job, report, began, notes)
        except TrainingError as error:
            first = str(error).split("\n", maxsplit=1)[0]
            _remember_failure(job, first)
    notes.append(f"{first}; trained once more from the start, at {RETRY_LR} of the learning rate")
    try:
        return _train_from_checkpoint(job, report, began, notes, lr_factor=RETRY_LR)
    except TrainingError as error:
        second = str(error).split("\n", maxsplit=1)[0]
        raise TrainingError(
            f"{second}\nthis was the second attempt, at {RETRY_LR} of the learning rate; expected a finite "
            "loss; lower --lr"
        ) from None


def _retry_file(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".retry")


def _first_failure(job: Job) -> str | None:
    """Return why the first attempt failed, where a killed training was in its second."""
    if job.checkpoint is None or not (path := _retry_file(job.checkpoint)).exists():
        return None
    try:
        return str(read_json(path)["failure"])
    except (OSError, ValueError, KeyError):
        return None  # the first attempt will fail again, in the same place


def _remember_failure(job: Job, failure: str) -> None:
    if job.checkpoint is None:
        return
    job.checkpoint.unlink(missing_ok=True)  # first: the second attempt must not go on from it
    with atomic(_retry_file(job.checkpoint)) as path:
        path.write_text(json.dumps({"failure": failure}), encoding="utf-8")


def _train_from_checkpoint(
    job: Job, report: Report | None, began: float, notes: list[str], *, lr_factor: float = 1.0
) -> tuple[Classifier, Outcome]:
    """Train from the checkpoint, or from the beginning where there is none or it is damaged."""
    try:
        return _train(job, report, began, notes, lr_factor)
    except DamagedStateError:
        assert job.checkpoint is not None
        job.checkpoint.unlink()
        notes.insert(0, f"{job.checkpoint} was damaged, so the training of {job.method} began again")
        return _train(job, report, began, notes, lr_factor)


def _train(
    job: Job, report: Report | None, began: float, notes: list[str], lr_factor: float
) -> tuple[Classifier, Outcome]:
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
            report(progress.step / progress.steps, progress.loss)

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
        lr_factor=lr_factor,
    )
    found = _find_shared(job)
    if found is None:
        try:
            training.run()
        except TrainingError as error:
            raise TrainingError(f"{job.method}: {error}") from None
        history = [asdict(p) for p in training.history]
        if job.shared is not None:
            state = {"network": network.state_dict(), "history": history, "notes": notes}
            save_state(job.shared, state | {"seconds": time.monotonic() - began})
    else:
        network.to(fabric.device).eval().load_state_dict(found["network"])
        history, notes = found["history"], found["notes"]
        began -= found["seconds"]
    classifier = _look_again(job, Classifier(spec, network), fabric.device)
    outcome = Outcome(
        probabilities=classifier.predict_proba(job.images, job.predict_rows),
        passes=history[-1]["passes"],
        seconds=time.monotonic() - began,
        history=history,
        spec=classifier.spec,
        notes=notes,
    )
    if not np.isfinite(outcome.probabilities).all():  # the last step of all may be the one that fails
        raise TrainingError(
            f"{job.method}: the trained network's probabilities are not finite\n"
            "expected a finite loss; lower --lr"
        )
    return classifier, outcome


def _find_shared(job: Job) -> dict[str, Any] | None:
    """Return what a training of the same kind left behind; None where there is none, or it is damaged."""
    try:
        return None if job.shared is None else load_state(job.shared)
    except DamagedStateError:
        return None


def _look_again(job: Job, classifier: Classifier, device: torch.device) -> Classifier:
    """Give a classifier its second look, where the method has one and there are pairs to look at."""
    pairs = pairs_of(job.method, job.pairs, job.classes, job.seeds) if looks_again(job.method) else []
    if not pairs:
        return classifier
    config, augment, num_classes = job.config, PRESETS[job.config.augment], len(job.classes)
    probe, _ = fit_probe(
        job.images,
        job.labels[job.train_rows],
        num_classes,
        rows=job.train_rows,
        groups=job.groups,
        mirror=augment.mirror,
        any_way_up=augment.any_way_up,
        seeds=job.seeds,
        device="cpu" if device.type == "mps" else device,  # which has no float64
    )
    weight = USUAL_WEIGHT if config.second_weight is None else config.second_weight
    second_look = SecondLook.of(probe, pairs, num_classes=num_classes, weight=weight, augment=augment)
    spec = replace(classifier.spec, second_look=True)
    classifier = replace(classifier, spec=spec, second_look=second_look)
    if config.second_weight is None:
        return classifier.fit_second_look(job.images, job.val_rows, job.labels[job.val_rows])
    return classifier


def steps_in(job: Job) -> int:
    """Return how many steps a job takes, for estimates of the time left."""
    return total_steps(job.config, len(job.train_rows))
