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
from lightning_fabric import Fabric
from timm.optim import param_groups_weight_decay
from torch import Tensor

from sit2.config.schema import Config
from sit2.errors import TrainingError
from sit2.seeds import Seeds
from sit2.storage.files import DamagedStateError, load_state, save_state
from sit2.training.backbones import Network
from sit2.training.feed import Feed
from sit2.training.phase import Phase, steps_of

DEFAULT_LR = {"adamw": 0.002, "sgd": 0.05}  # for batches of 64
DEFAULT_WEIGHT_DECAY = {"adamw": 0.05, "sgd": 0.0005}
CHECKPOINT_SECONDS = 10.0  # at least so long between two checkpoints, whenever an epoch ends


@dataclass(frozen=True)
class Progress:
    """What the loop tells whoever watches, once every epoch."""

    phase: str
    step: int  # done, over all phases
    steps: int  # of all phases
    passes: int  # images through the network so far, composites and originals alike
    loss: float  # mean since the last report
    lr: float
    validation: float | None = None  # log-loss, where early stopping measures it


Watch = Callable[[Progress], None]


def total_steps(config: Config, images: int) -> int:
    """Return the steps of a whole training: ``passes``, or ``epochs`` × ``images``; every batch is full."""
    passes = config.epochs * images if config.passes is None else config.passes
    return max(1, round(passes / config.batch_size))


def lr_share(step: int, steps: int, warmup: float) -> float:
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

    ``validate`` gives the validation log-loss of the network as it stands; it is called once an epoch of the
    last phase, and only when early stopping is on. ``checkpoint`` is where the state is kept between epochs:
    a killed training goes on from there to the identical result.
    """

    network: Network
    feed: Feed
    phases: list[Phase]
    config: Config
    seeds: Seeds
    fabric: Fabric
    watch: Watch | None = None
    validate: Callable[[Network], float] | None = None
    checkpoint: Path | None = None
    lr_factor: float = 1.0  # below 1 in a second attempt, after the first has failed
    history: list[Progress] = field(default_factory=list)

    def run(self) -> Network:
        """Train and return the network, in evaluation mode.

        Raises:
            TrainingError: when the loss becomes NaN or infinite.
            DamagedStateError: when the checkpoint is not of this training; it must be removed.
        """
        total = total_steps(self.config, len(self.feed))
        saved = load_state(self.checkpoint) if self.checkpoint else None
        begin, first_phase = 0, 0
        if saved:
            with _restoring():
                first_phase = saved["phase"]
                self.history = [Progress(**row) for row in saved["history"]]
        with torch.random.fork_rng():
            for number, length in enumerate(steps_of(self.phases, total)):
                if number >= first_phase and length > 0:
                    state = saved if number == first_phase else None
                    self._run_phase(number, begin, length, total, state)
                begin += length
        return self.network.eval()

    def _run_phase(
        self, number: int, begin: int, length: int, total: int, saved: dict[str, Any] | None
    ) -> None:
        phase, config, network = self.phases[number], self.config, self.network
        network.new_head(phase.outputs, seed=self.seeds.integer("head", phase.name))
        peak = self.lr_factor * (DEFAULT_LR[config.optimizer] if config.lr is None else config.lr)
        made = _make_optimizer(network, config, encoder_lr=phase.encoder_lr)
        model, optimizer = self.fabric.setup(network.train(), made)
        early = number == len(self.phases) - 1 and self.validate is not None and config.early_stop > 0
        stop = EarlyStop(config.early_stop)
        start = 0
        if saved:
            with _restoring():
                network.load_state_dict(saved["network"])
                optimizer.load_state_dict(saved["optimizer"])
                start, stop = saved["step"], EarlyStop(**saved["stop"])
        feed, weight = self.feed.for_phase(phase.name), self._output_weight(phase)
        saved_at = time.monotonic()
        for first, end in _epochs(start, length, len(feed), config.batch_size):
            # Dropout and its kin draw from the global generator, so it is seeded wherever a resume can start.
            torch.manual_seed(self.seeds.integer("global", phase.name, first))
            losses = []
            for step in range(first, end):
                lr = self._lr(peak, step, length)
                for group in optimizer.param_groups:
                    group["lr"] = lr * group["share"]
                mixed = phase.batches.draw(feed, step, config.batch_size)
                targets = phase.targets(mixed, feed.num_classes)
                loss = phase.loss(model(mixed.images), targets, weight)
                self.fabric.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.detach())
            values = torch.stack(losses).float()
            mean = float(values.mean())
            if not math.isfinite(mean):
                place = int(torch.isfinite(values).long().argmin())  # the first that is not finite
                lr = self._lr(peak, first + place, length)
                raise _diverged(
                    "loss", float(values[place]), phase=phase, step=first + place, steps=length, lr=lr
                )
            validation = self._validation() if early else None
            if validation is not None and not math.isfinite(validation):
                raise _diverged("validation loss", validation, phase=phase, step=end - 1, steps=length, lr=lr)
            done = begin + end
            self._report(Progress(phase.name, done, total, done * config.batch_size, mean, lr, validation))
            if validation is not None and stop.update(validation, network):
                break
            if self.checkpoint and time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                self._save(number, end, optimizer, stop)
                saved_at = time.monotonic()
        if stop.weights:
            network.load_state_dict(stop.weights)

    def _lr(self, peak: float, step: int, length: int) -> float:
        return peak * lr_share(step, length, self.config.warmup)

    def _output_weight(self, phase: Phase) -> Tensor | None:
        """(outputs,) weight of each output against class imbalance; 1 for outputs that are no class.

        It undoes the classes' shares in the phase's batches, of which some are even already.
        """
        num_classes = self.feed.num_classes
        if self.config.balance != "weights" or phase.outputs < num_classes:
            return None
        count = self.feed.index.count.float().clamp(min=1)
        share = torch.lerp(
            count / len(self.feed), torch.full_like(count, 1 / num_classes), phase.batches.even
        )
        weight = torch.ones(phase.outputs, device=count.device)
        weight[:num_classes] = 1 / (num_classes * share)
        return weight

    def _validation(self) -> float:
        assert self.validate is not None
        loss = self.validate(self.network.eval())
        self.network.train()
        return loss

    def _report(self, progress: Progress) -> None:
        self.history.append(progress)
        if self.watch:
            self.watch(progress)

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


def _diverged(what: str, value: float, *, phase: Phase, step: int, steps: int, lr: float) -> TrainingError:
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


def _make_optimizer(network: Network, config: Config, *, encoder_lr: float) -> torch.optim.Optimizer:
    """Make the optimiser; each parameter group has its ``share`` of the learning rate.

    A kept encoder is changed gently, a new head must learn from nothing: it always has the full rate.
    """
    decay = DEFAULT_WEIGHT_DECAY[config.optimizer] if config.weight_decay is None else config.weight_decay
    groups: list[dict[str, Any]] = []
    for module, share in ((network.encoder, encoder_lr), (network.head, 1.0)):
        # timm's grouping: norms and biases are not decayed.
        groups += [{**group, "share": share} for group in param_groups_weight_decay(module, decay)]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=0.0, fused=True)  # one kernel instead of a loop over tensors
