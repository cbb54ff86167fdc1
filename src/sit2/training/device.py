"""Where training runs, and in which precision."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sit2.errors import ConfigError, TrainingError
from sit2.storage.process_state import Shared, quiet_libraries


def pick_device(name: str) -> str:
    """Return "cpu", "cuda" or "mps"; ``auto`` takes the fastest there is.

    Raises:
        ConfigError: when the named device is not on this machine.
    """
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(d for d in ("cuda", "mps", "cpu") if here[d])
    if not here[name]:
        raise ConfigError(f"this machine has no {name!r} device\nuse --device auto")
    return name


def pick_precision(name: str, device: str) -> Any:
    """Return Fabric's precision; ``auto`` takes bfloat16 where the hardware computes in it."""
    if name != "auto":
        return name
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if device == "cpu":
        capable = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return "bf16-mixed" if capable.get("avx512_bf16") or capable.get("amx_bf16") else "32-true"
    return "32-true"


class Fabric(Protocol):
    """What the loop asks of Lightning Fabric."""

    @property
    def device(self) -> torch.device:
        """Where to compute."""

    def setup(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """Return network and optimiser as they are to be used."""

    def backward(self, tensor: Tensor, /) -> None:
        """Compute the gradients of a loss."""


class Here:
    """Fabric's part on a CPU in float32, which is nothing. Importing Fabric takes longer than importing torch."""

    device = torch.device("cpu")

    def setup(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """Return both as they are."""
        return network, optimizer

    def backward(self, tensor: Tensor, /) -> None:
        """Compute the gradients of a loss."""
        tensor.backward()  # type: ignore[no-untyped-call]


def make_fabric(device: str, precision: str) -> Fabric:
    """Return Lightning Fabric on one device, or what does the same on a CPU in float32."""
    device = pick_device(device)
    precision = pick_precision(precision, device)
    if (device, precision) == ("cpu", "32-true"):
        return Here()
    from lightning_fabric import Fabric as LightningFabric

    with quiet_libraries():
        fabric: Fabric = LightningFabric(accelerator=device, devices=1, precision=precision)  # type: ignore[arg-type]
    return fabric


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_THREADS = Shared(_threads)
_GENERATORS = threading.RLock()


def threads(count: int) -> AbstractContextManager[None]:
    """Compute with this many threads inside; 0 leaves them as they are.

    The number is the process's: where several of its threads compute at once, the first one's holds for all.
    """
    return _THREADS(count) if count else contextlib.nullcontext()


@contextlib.contextmanager
def own_generators() -> Iterator[None]:
    """Seed and draw from torch's own generators inside, one thread at a time; they are as before afterwards."""
    devices = [torch.cuda.current_device()] if _cuda_runs() else []
    with _GENERATORS, torch.random.fork_rng(devices):
        yield


def seed_generators(seed: int) -> None:
    """Seed torch's own generators, of the devices that :func:`own_generators` restores."""
    torch.default_generator.manual_seed(seed)
    if _cuda_runs():
        torch.cuda.manual_seed(seed)


def _cuda_runs() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def telling_of_memory(doing: str) -> Iterator[None]:
    """Say what to do when memory runs out, the machine's or the accelerator's.

    Raises:
        TrainingError: instead of what NumPy or torch raise.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(
            f"out of memory while {doing}\nlower --batch-size or --image-size, use --workers 1, or choose a "
            "smaller backbone"
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error is one of NumPy's or torch's about memory; torch's have no class of their own."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
