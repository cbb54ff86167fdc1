"""uvicorn, with what it lacks: a limit of connections, and an end for those that never say what they want."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from sit2.errors import ConfigError
from sit2.serve.refusal import Refusal
from sit2.serve.settings import ServeSettings
from sit2.storage.process_state import quiet_libraries

SILENCE = 10.0  # seconds in which a connection must say what it wants
PATIENCE = 5  # seconds that requests have to finish once the server ends
HEAD = 32 * 1024  # bytes of a request's first lines, at most


def serve(app: FastAPI, settings: ServeSettings, started: Callable[[str], None]) -> None:
    """Answer requests until Ctrl-C or SIGTERM, which then does what it does elsewhere.

    Args:
        app: the application.
        settings: where to listen, and the limits.
        started: called with the address once requests are answered.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    with quiet_libraries(), listen(settings) as listening:
        host, port = settings.host.strip("[]"), listening.getsockname()[1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        make_server(app, settings, lambda: started(address)).run(sockets=[listening])


def make_server(app: FastAPI, settings: ServeSettings, started: Callable[[], None]) -> uvicorn.Server:
    """Return uvicorn with our limits; ``run(sockets=[…])`` runs it."""
    config = uvicorn.Config(
        app,
        http=_connections(settings),
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=PATIENCE,
        h11_max_incomplete_event_size=HEAD,
    )
    return _Server(config, started)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()


def listen(settings: ServeSettings) -> socket.socket:
    """Return a socket at the address. Raises :class:`ConfigError`."""
    host, port = settings.host.strip("[]"), settings.port
    try:
        kind, _, _, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(place[:2], family=kind)
    except OSError as error:
        # Python tells the address once more behind what the system says.
        reason = (error.strerror or str(error)).partition(" (while attempting")[0]
        raise ConfigError(
            f"cannot listen at {settings.host}, port {port}: {reason}\n"
            "expected an address of this machine, and a port that no other program uses: see --host and --port"
        ) from None


def _connections(settings: ServeSettings) -> type[H11Protocol]:
    """Return the class of uvicorn's connections, with our limits."""
    silent: dict[H11Protocol, None] = {}  # those that have not said what they want, the longest silent first

    class Connection(H11Protocol):
        _silent: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) <= settings.max_connections:
                self._watch()
            elif silent:  # one of those gives way
                oldest = next(iter(silent))
                del silent[oldest]
                oldest.transport.abort()
                self._watch()
            else:
                self._say(Refusal.busy("too many connections at once"))

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._asks():
                self._unwatch()
            elif self._silent is None and self.timeout_keep_alive_task is None:
                self._watch()

        def send_400_response(self, msg: str) -> None:
            if self._asks() and self.cycle.response_started:
                self.transport.close()
            else:
                self._say(Refusal(400, "this is not HTTP/1.1", "a request as /docs describes it"))

        def _asks(self) -> bool:
            """Say whether a request is being answered."""
            return self.cycle is not None and not self.cycle.response_complete

        def _watch(self) -> None:
            silent[self] = None
            self._silent = self.loop.call_later(min(SILENCE, settings.timeout), self._end)

        def _unwatch(self) -> None:
            silent.pop(self, None)
            if self._silent is not None:
                self._silent.cancel()
                self._silent = None

        def _end(self) -> None:
            self._unwatch()
            if not self._asks():
                self.transport.close()

        def _say(self, refusal: Refusal) -> None:
            body = json.dumps(refusal.said).encode()
            head = (
                f"HTTP/1.1 {refusal.status_code} Refused\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return Connection
