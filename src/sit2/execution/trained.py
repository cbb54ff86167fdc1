"""What a finished training leaves behind in its file: the network, its history, what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sit2.events import EpochEnded
from sit2.storage.files import DamagedStateError, load_state, save_state
from sit2.training.backbones import Network


@dataclass(frozen=True)
class Trained:
    """What a training leaves behind beside the network in its file."""

    history: Sequence[EpochEnded]
    seconds: float
    samples_seen: int = 0  # forward and backward; 0: what the history says
    chosen: dict[str, Any] = field(default_factory=dict)  # the settings that tuning chose
    notes: Sequence[str] = ()  # what went wrong on the way, and what was done about it

    def save(self, path: Path | None, network: Network) -> None:
        """Write the network with this beside it, whole or not at all."""
        assert path is not None
        save_state(
            path,
            {
                "network": network.state_dict(),
                "history": [asdict(row) for row in self.history],
                "seconds": self.seconds,
                "samples_seen": self.samples_seen,
                "chosen": self.chosen,
                "notes": list(self.notes),
            },
        )

    @property
    def budget(self) -> int:
        """Return how many training samples were seen."""
        return self.samples_seen or self.history[-1].samples_seen


def load_trained(path: Path | None) -> Trained | None:
    """Return what a finished training left behind; None where there is nothing, or it is damaged."""
    state = read_state(path)
    return None if state is None else trained_of(state)


def read_state(path: Path | None) -> dict[str, Any] | None:
    """Return all that a file of a finished training holds; None where there is none, or it is damaged."""
    try:
        return None if path is None else load_state(path)
    except DamagedStateError:
        return None


def trained_of(state: dict[str, Any]) -> Trained:
    """Return what such a file says beside the network."""
    history = [EpochEnded(**row) for row in state["history"]]
    return Trained(history, state["seconds"], state["samples_seen"], state["chosen"], state["notes"])
