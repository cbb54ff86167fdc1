"""A server without a network: the application, and what asks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from served import Open, png
from synthetic import arrays, finished

pytest.importorskip("fastapi")
testclient = pytest.importorskip("starlette.testclient")

from sit2.serve.app import create_app  # noqa: E402
from sit2.serve.settings import ServeSettings  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def files() -> list[tuple[str, bytes]]:
    """Nine images that the model has not seen."""
    return [(f"{n}.png", png(pixels)) for n, pixels in enumerate(arrays(3, seed=9)[0])]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open a client of the finished run's model, with these settings."""
    clients: list[Any] = []

    def make(*, host: str = "localhost", **settings: Any) -> Any:
        app = create_app(finished().run, ServeSettings(**settings))
        client = testclient.TestClient(app, base_url=f"http://{host}")
        client.__enter__()
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)
