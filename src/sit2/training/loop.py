"""The only training loop: it runs phases, whatever method they come from."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sit2.errors import TrainingError
from sit2.events import EpochEnded, Listener, StepsDone, TrainingBegan, nobody
from sit2.seeds import Seeds
from sit2.storage.files import DamagedStateError, load_state, save_state
from sit2.training.backbones import Network
from sit2.training.balance import output_weights
from sit2.training.device import Fabric, own_generators, seed_generators
from sit2.training.phase import Phase, steps_of
from sit2.training.settings import TrainingSettings
from sit2.training.training_set import TrainingSet

CHECKPOINT_SECONDS = 10.0  # at least so long between two checkpoints, whenever an epoch ends
NEWS_SECONDS = 2.0  # between two words of how far a training is, within an epoch
VALIDATIONS = 20  # of a training, at most, where they decide nothing


Validate = Callable[[Network], tuple[float, float]]  # → (accuracy, log-loss) on the validation images


def lr_fraction(step: int, steps: int, warmup: float) -> float:
    """Return the learning rate of a step relative to its peak: linear warm-up, then half a cosine to zero."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


@dataclass
class EarlyStop:
    """Keep the weights of the best validation log-loss; stop after ``patience`` reports without a better."""

    patience: int
    best: float = math.inf
    since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def update(self, loss: float, network: Network) -> bool:
        """Take a new log-loss; return whether to stop."""
        if loss < self.best:
            self.best, self.since = loss, 0
            self.weights = copy.deepcopy(network.state_dict())
        else:
            self.since += 1
        return self.since >= self.patience


@dataclass
class Training:
    """One network on its way through all phases of one method.

    ``validate`` measures the network as it stands, at the end of some epochs of the last phase; of all of
    them where early stopping decides by it. ``checkpoint`` is where the state is kept between epochs: a killed
    training goes on from there to the identical result.
    """

    name: str  # what its events call it
    method: str
    network: Network
    training_set: TrainingSet
    phases: list[Phase]
    config: TrainingSettings
    seeds: Seeds
    fabric: Fabric
    listener: Listener = nobody
    validate: Validate | None = None
    checkpoint: Path | None = None
    lr_factor: float = 1.0  # below 1 in a second attempt, after the first has failed
    history: list[EpochEnded] = field(default_factory=list)

    def run(self) -> Network:
        """Train and return the network, in evaluation mode.

        Raises:
            TrainingError: when the loss becomes NaN or infinite.
            DamagedStateError: when the checkpoint is not of this training; it must be removed.
        """
        self._began = self._told = time.monotonic()
        self._total = self.config.total_steps(len(self.training_set))
        saved = load_state(self.checkpoint) if self.checkpoint else None
        begin, first_phase = 0, 0
        if saved:
            with _restoring():
                first_phase = saved["phase"]
                self.history = [EpochEnded(**row) for row in saved["history"]]
                self._began -= self.history[-1].seconds
        self.listener(TrainingBegan(self.name, self.method, self._total, self.config.step_size))
        for row in self.history:
            self.listener(row)
        with own_generators():
            self._try_small()
            for number, length in enumerate(steps_of(self.phases, self._total)):
                if number >= first_phase and length > 0:
                    self._run_phase(number, begin, length, saved if number == first_phase else None)
                begin += length
        return self.network.eval()

    def _run_phase(self, number: int, begin: int, length: int, saved: dict[str, Any] | None) -> None:
        phase, config, network = self.phases[number], self.config, self.network
        network.new_head(phase.outputs, seed=self.seeds.integer("head", number))
        peak = self.lr_factor * config.peak_lr
        made = _make_optimizer(network, config, encoder_lr=phase.encoder_lr)
        model, optimizer = self.fabric.setup(network.train(), made)
        validated = number == len(self.phases) - 1 and self.validate is not None
        stop, start = EarlyStop(config.early_stop), 0
        if saved:
            with _restoring():
                network.load_state_dict(saved["network"])
                optimizer.load_state_dict(saved["optimizer"])
                start, stop = saved["step"], EarlyStop(**saved["stop"])
        training_set, weight = self.training_set.for_phase(number, length), None
        if config.balance == "weights":
            weight = output_weights(phase, training_set, batch_size=config.step_size)
        saved_at = time.monotonic()
        for first, end in _epochs(start, length, len(training_set), config.step_size):
            # Dropout and its kin draw from the global generator, so it is seeded wherever a resume can start.
            seed_generators(self.seeds.integer("global", number, first))
            losses = []
            for step in range(first, end):
                lr = self._lr(peak, step, length)
                for group in optimizer.param_groups:
                    group["lr"] = lr * group["relative"]
                mixed = phase.batches.draw(training_set, step, config.step_size)
                targets = phase.targets(mixed, training_set.num_classes)
                loss = phase.loss(model(self._sized(mixed.images, begin + step)), targets, weight)
                self.fabric.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.detach())
                if step + 1 < end:  # of the last, the epoch tells
                    self._tell(begin + step + 1)
            mean = _finite_mean(losses, phase, first, length, lambda step: self._lr(peak, step, length))
            due = config.early_stop or end == length or _falls_due(first, end, length)
            measured = self._validation() if validated and due else None
            if measured is not None and not math.isfinite(measured[1]):
                raise _diverged("validation loss", measured[1], phase, step=end - 1, steps=length, lr=lr)
            self._report(phase, begin + end, mean, lr, measured)
            if measured is not None and config.early_stop and stop.update(measured[1], network):
                break
            if self.checkpoint and time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                self._save(number, end, optimizer, stop)
                saved_at = time.monotonic()
        if stop.weights:
            network.load_state_dict(stop.weights)

    def _tell(self, done: int) -> None:
        """Say now and then how far it is; an accelerator only queues steps, so there it runs a little ahead."""
        now = time.monotonic()
        if now - self._told >= NEWS_SECONDS:
            self._told = now
            self.listener(StepsDone(self.name, done * self.config.step_size, round(now - self._began, 3)))

    def _try_small(self) -> None:
        """Raise :class:`TrainingError` where the first images are to be smaller and the network takes one size."""
        channels, side, _ = self.training_set.shape
        small = self.config.small_side(side)
        if small == side:
            return
        device = self.training_set.pixels.device
        try:
            with torch.no_grad():
                self.network.to(device).eval()(torch.zeros(1, channels, small, small, device=device))
        except Exception:
            raise TrainingError(
                f"{self.config.backbone} takes no images of {small} × {small} pixels, with which training begins\n"
                "expected a network for images of any size; use --small-first 0"
            ) from None

    def _sized(self, images: Tensor, step: int) -> Tensor:
        """Return the images of a step of all phases as the network sees them: the first ones are smaller."""
        side = self.config.small_side(images.shape[-1])
        if step >= self._total * self.config.small_first or side == images.shape[-1]:
            return images
        small = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        return small.contiguous(memory_format=torch.channels_last)

    def _lr(self, peak: float, step: int, length: int) -> float:
        return peak * lr_fraction(step, length, self.config.warmup)

    def _validation(self) -> tuple[float, float]:
        assert self.validate is not None
        measured = self.validate(self.network.eval())
        self.network.train()
        return measured

    def _report(
        self, phase: Phase, done: int, loss: float, lr: float, measured: tuple[float, float] | None
    ) -> None:
        accuracy, log_loss = measured or (None, None)
        row = EpochEnded(
            self.name,
            self.method,
            phase.name,
            epoch=len(self.history) + 1,
            step=done,
            steps=self._total,
            samples_seen=done * self.config.step_size,
            loss=loss,
            lr=lr,
            val_accuracy=accuracy,
            val_log_loss=log_loss,
            seconds=round(time.monotonic() - self._began, 3),
        )
        self.history.append(row)
        self.listener(row)

    def _save(self, phase: int, step: int, optimizer: Any, stop: EarlyStop) -> None:
        assert self.checkpoint is not None
        state = {
            "phase": phase,
            "step": step,
            "network": self.network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "stop": vars(stop),
            "history": [asdict(p) for p in self.history],
        }
        save_state(self.checkpoint, state)


@contextlib.contextmanager
def _restoring() -> Iterator[None]:
    """Turn whatever goes wrong with a checkpoint of something else into :class:`DamagedStateError`."""
    try:
        yield
    except Exception as error:
        raise DamagedStateError from error


def _finite_mean(
    losses: list[Tensor], phase: Phase, first: int, steps: int, lr_of: Callable[[int], float]
) -> float:
    """Return the mean loss of an epoch. Raises :class:`TrainingError` at the first that is not finite."""
    values = torch.stack(losses).float()
    mean = float(values.mean())
    if not math.isfinite(mean):
        index = int(torch.isfinite(values).long().argmin())
        step = first + index
        raise _diverged("loss", float(values[index]), phase, step=step, steps=steps, lr=lr_of(step))
    return mean


def _diverged(what: str, value: float, phase: Phase, *, step: int, steps: int, lr: float) -> TrainingError:
    return TrainingError(
        f"the {what} became {value} in phase {phase.name!r} at step {step + 1} of {steps}, at learning rate "
        f"{lr:.2g}\nexpected a finite loss; lower --lr"
    )


def _epochs(start: int, length: int, images: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """Part the steps start … length − 1 where one reading of the images ends."""
    epoch = max(1, round(images / batch_size))
    while start < length:
        end = min(length, (start // epoch + 1) * epoch)
        yield start, end
        start = end


def _falls_due(first: int, end: int, length: int) -> bool:
    """Say whether one of VALIDATIONS evenly spaced moments lies in the steps first … end − 1."""
    return first * VALIDATIONS // length < end * VALIDATIONS // length


def _make_optimizer(
    network: Network, config: TrainingSettings, *, encoder_lr: float
) -> torch.optim.Optimizer:
    """Make the optimiser; each parameter group has a learning rate ``relative`` to the peak.

    A kept encoder is changed gently; a new head must learn from nothing, so it never has less than the full rate.
    """
    groups: list[dict[str, Any]] = []
    for module, relative in ((network.encoder, encoder_lr), (network.head, config.head_lr)):
        # As timm parts them: norms and biases are not decayed.
        plain = [p for p in module.parameters() if p.ndim <= 1]
        others = [p for p in module.parameters() if p.ndim > 1]
        groups += [
            {"params": plain, "weight_decay": 0.0, "relative": relative},
            {"params": others, "weight_decay": config.decay, "relative": relative},
        ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=0.0, fused=True)  # one kernel instead of a loop over tensors
