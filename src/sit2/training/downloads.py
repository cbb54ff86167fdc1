"""Whether timm can get its pretrained weights: found out within seconds, before libraries retry for minutes."""

from __future__ import annotations

import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from sit2.errors import ConfigError

SECONDS = 3.0  # to wait for the server that has the weights
FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")
WITHOUT_NETWORK = (
    "use the default backbone, whose weights are installed, --weights FILE, or --no-pretrained; see the page "
    "'Weights without a network'"
)


def require_reachable(backbone: str, known: Any) -> None:
    """Raise :class:`ConfigError` where weights are neither kept on this machine nor to be had from a server.

    Args:
        backbone: the name of a timm model.
        known: timm's pretrained configuration of it; None: it has no weights.
    """
    if known is None or not known.has_weights:
        raise ConfigError(
            f"{backbone!r} has no pretrained weights\nname another backbone, or use --no-pretrained"
        )
    if known.hf_hub_id is None or _is_kept(known.hf_hub_id):
        return
    from huggingface_hub import constants

    server = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or not _answers(server.scheme, server.hostname or "", server.port):
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{server.hostname} cannot be reached"
        raise ConfigError(f"cannot get the pretrained weights of {backbone!r}: {why}\n{WITHOUT_NETWORK}")


def _is_kept(repository: str) -> bool:
    """Say whether a file of weights is in the hub's cache on this machine."""
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in FILES)


def _answers(scheme: str, host: str, port: int | None) -> bool:
    if urllib.request.getproxies().get(scheme):
        return True  # only the proxy knows
    try:
        socket.create_connection((host, port or (80 if scheme == "http" else 443)), SECONDS).close()
    except OSError:
        return False
    return True
