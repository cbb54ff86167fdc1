"""uvicorn with our limits: who says nothing, who is one too many, what is no HTTP; and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from synthetic import command, finished

pytest.importorskip("uvicorn")

from sit2.serve.app import create_app
from sit2.serve.server import listen, make_server
from sit2.serve.settings import ServeSettings

POST = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@contextmanager
def running(**settings: Any) -> Iterator[int]:
    """Serve the finished run in a thread; yield the port."""
    given = ServeSettings(port=0, **settings)
    ready = threading.Event()
    with listen(given) as listening:
        server = make_server(create_app(finished().run, given), given, ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        assert ready.wait(60)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def said(connection: socket.socket, wait: float = 20) -> bytes:
    """Return all that is sent until the server closes the connection."""
    connection.settimeout(wait)
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


def test_connections(capfd: pytest.CaptureFixture[str]) -> None:
    with running(max_concurrency=1, timeout=1.0) as port:
        place = ("127.0.0.1", port)
        with socket.create_connection(place) as one:
            start = time.monotonic()
            assert said(one) == b""
            assert time.monotonic() - start < 10
        with socket.create_connection(place) as one:
            one.sendall(b"GET /health HTTP/1.1\r\nHost: local")
            assert said(one) == b""
        with socket.create_connection(place) as one:
            one.sendall(b"this is no HTTP\r\n\r\n")
            assert b'"what": "this is not HTTP/1.1"' in said(one)
        with socket.create_connection(place) as one:
            one.sendall(POST + b"nonsense\r\n")
            assert b"HTTP/1.1 400" in said(one)
        many = [socket.create_connection(place) for _ in range(8)]
        time.sleep(0.2)
        with socket.create_connection(place) as one:  # which one that says nothing gives way to
            one.sendall(HEALTH)
            assert said(one).endswith(b'{"status":"ok"}')
        for one in many:
            one.close()
        time.sleep(0.3)
        many = [socket.create_connection(place) for _ in range(8)]
        for one in many:
            one.sendall(POST)
        time.sleep(0.2)
        with socket.create_connection(place) as one:
            assert b"too many connections" in said(one)
        for one in many:
            one.close()
        time.sleep(0.3)
        with socket.create_connection(place) as one:
            one.sendall(HEALTH)
            assert said(one).endswith(b'{"status":"ok"}')
    assert "Traceback" not in capfd.readouterr().err


def test_an_endless_body_is_cut_off() -> None:
    with running(max_body=1) as port, socket.create_connection(("127.0.0.1", port)) as one:
        one.sendall(POST)
        one.settimeout(20)
        chunks = (b"10000\r\n" + bytes(65536) + b"\r\n") * 1024  # 64 times what it takes
        with pytest.raises(ConnectionError):  # the server has had enough; one that waits would be a timeout
            one.sendall(chunks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: int) -> None:
    words = [sys.executable, "-m", "sit2", "serve", str(finished().run), "--port", "0"]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SIT2_TOKEN": "secret"},
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        address = re.search(r" at (http://127\.0\.0\.1:\d+)$", first.strip())
        assert address
        headers = {"Authorization": "Bearer secret", "Content-Type": "multipart/form-data; boundary=x"}
        found = httpx.post(f"{address[1]}/predict", content=b"----", headers=headers, timeout=60)
        assert 400 <= found.status_code < 500
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.strip() == "sit2: interrupted; the server has ended"  # nothing of what clients sent


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert command(("serve", finished().run, "--port", port)) == 2
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said_then"),
    [
        (("--host", "0.0.0.0"), "there is no token"),
        (("--coverage", "0.9"), "--method multi-label+conformal"),
        (("--max-images", "many"), "expected a whole number"),
    ],
)
def test_refused(words: tuple[str, ...], said_then: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(("serve", finished().run, "--port", "0", *words)) == 2
    assert said_then in capsys.readouterr().err
