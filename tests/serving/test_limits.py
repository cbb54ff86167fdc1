"""What is refused, before it costs anything, and said in three sentences."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from served import Open
from synthetic import finished

from sit2.errors import ConfigError
from sit2.serve.answering import Answerer
from sit2.serve.app import create_app
from sit2.serve.settings import ServeSettings

Files = list[tuple[str, bytes]]
HEAD = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'


def refused(found: Any, status: int) -> dict[str, str]:
    assert found.status_code == status, found.text
    said: dict[str, str] = found.json()
    assert said.keys() == {"what", "expected", "hint"}
    assert "Traceback" not in found.text
    return said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "there is no token"),
        ({"host": "::"}, "there is no token"),
        ({"host": "example.org"}, "there is no token"),
        ({"token": "a b"}, "holds spaces"),
        ({"token": "x", "no_token": True}, "contradict"),
        ({"max_images": 0}, "at least|from 1"),
        ({"port": 70000}, "from 0 to 65535"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ServeSettings(**settings)


@pytest.mark.parametrize("settings", [{"token": "x"}, {"no_token": True}])
def test_other_machines_are_let_in_where_that_was_asked_for(settings: dict[str, Any]) -> None:
    assert not ServeSettings(host="0.0.0.0", **settings).stays_here


class TestToken:
    @pytest.mark.parametrize(
        "given", ["", "Bearer", "Bearer wrong", "Basic secret", "secret", "Bearer sécret"]
    )
    def test_wrong(self, opened: Open, files: Files, given: str) -> None:
        client = opened(token="secret", host="example.org")
        headers = {"Authorization": given.encode("latin-1")} if given else {}
        for method, path in (
            ("POST", "/predict"),
            ("POST", "/explain"),
            ("GET", "/model"),
            ("GET", "/nothing"),
        ):
            found = client.request(method, path, headers=headers)
            assert "token" in refused(found, 401)["what"]
            assert found.headers["www-authenticate"] == "Bearer"

    def test_right(self, opened: Open, files: Files) -> None:
        client = opened(token="secret", host="example.org")
        headers = {"Authorization": "Bearer secret"}
        assert client.post("/predict", files={"images": files[0]}, headers=headers).status_code == 200
        assert client.get("/model", headers=headers).status_code == 200

    def test_what_tells_nothing_of_the_model_is_open(self, opened: Open) -> None:
        client = opened(token="secret")
        for path in ("/", "/docs", "/health", "/openapi.json"):
            found = client.get(path)
            assert found.status_code == 200
            assert "oval" not in found.text  # a class


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example"])
def test_a_name_that_was_led_here(opened: Open, host: str) -> None:
    assert "another host" in refused(opened(host=host).get("/model"), 421)["what"]


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_our_own_names(opened: Open, host: str) -> None:
    assert opened(host=host).get("/model").status_code == 200


class TestFiles:
    def test_too_many(self, opened: Open, files: Files) -> None:
        client = opened(max_images=3)
        parts = [("images", one) for one in files]
        assert client.post("/predict", files=parts[:3]).status_code == 200
        assert (
            "Maximum number of files is 3" in refused(client.post("/predict", files=parts[:4]), 422)["what"]
        )
        refused(client.post("/explain", files=parts[:2]), 422)

    @pytest.mark.parametrize(
        ("kind", "content", "status"),
        [
            ("multipart/form-data; boundary=x", b"--x--\r\n", 422),
            ("multipart/form-data; boundary=x", b"", 422),
            ("multipart/form-data; boundary=x", b"garbage", 422),
            ("multipart/form-data; boundary=x", HEAD + b"never ends", 422),
            (
                "multipart/form-data; boundary=x",
                b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--",
                422,
            ),
            ("multipart/form-data", HEAD + b"1\r\n--x--\r\n", 422),
            ("multipart/form-data; boundary=x; charset=unicode_escape", HEAD + b"1\r\n--x--\r\n", 415),
            ("application/json", b"{}", 415),
            ("image/png", b"", 415),
        ],
    )
    def test_what_is_no_form_of_files(self, opened: Open, kind: str, content: bytes, status: int) -> None:
        found = opened().post("/predict", content=content, headers={"Content-Type": kind})
        assert "curl" in refused(found, status)["hint"]

    def test_a_field_that_is_no_file(self, opened: Open) -> None:
        said = refused(opened().post("/predict", files={"images": (None, "text")}), 422)
        assert "an @ before the file's name is missing" in said["what"]

    def test_names_may_be_anything(self, opened: Open, files: Files) -> None:
        name = "../../etc/\u202e<b>&\\x1b"
        found = opened().post("/predict", files={"images": (name, files[0][1])}).json()["images"][0]
        assert found["predicted"]
        assert "<b>&" in found["path"]

    def test_nothing_is_written_to_the_disk(self, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        def never(*_: object, **__: object) -> None:
            raise AssertionError("a request was written to the disk")

        client = opened()
        monkeypatch.setattr(tempfile, "TemporaryFile", never)
        found = client.post("/predict", files={"images": ("a", bytes(3_000_000))})
        assert found.json()["images"][0]["problem"]


async def ask(app: Any, body: AsyncIterator[bytes], *, length: int | None = None) -> tuple[int, Any, int]:
    """Send a body part by part; return the status, the answer, and how many parts were taken."""
    taken, sent = 0, list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        nonlocal taken
        try:
            part = await anext(body)
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}
        taken += 1
        return {"type": "http.request", "body": part, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=x")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    assert dict(sent[0]["headers"])[b"connection"] == b"close"
    return sent[0]["status"], json.loads(sent[1]["body"]), taken


async def endless(pause: float = 0) -> AsyncIterator[bytes]:
    yield HEAD
    while True:
        yield bytes(100_000)
        await asyncio.sleep(pause)


class TestBody:
    def test_an_endless_one_is_refused_where_it_is_too_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sit2.serve.guard.LINGER", 0.1)
        app = create_app(finished().run, ServeSettings(max_body=1))
        status, said, _ = asyncio.run(ask(app, endless()))
        assert (status, said["what"]) == (413, "the request is larger than 1 MB")

    def test_one_that_says_its_size_is_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sit2.serve.guard.LINGER", 0)
        app = create_app(finished().run, ServeSettings(max_body=1))
        status, _, taken = asyncio.run(ask(app, endless(1), length=1_000_001))
        assert (status, taken <= 2) == (413, True)

    def test_a_slow_one_ends(self) -> None:
        app = create_app(finished().run, ServeSettings(timeout=0.3))
        start = time.monotonic()
        status, said, _ = asyncio.run(ask(app, endless(0.05)))
        assert (status, said["what"]) == (408, "the request did not arrive within 0.3 seconds")
        assert time.monotonic() - start < 5

    def test_many_together_take_no_more_than_so_much(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sit2.serve.guard.LINGER", 0)
        monkeypatch.setattr(ServeSettings, "max_held", 1_000_000)
        app = create_app(finished().run, ServeSettings())

        async def three() -> list[tuple[int, Any, int]]:
            return list(await asyncio.gather(*(ask(app, endless()) for _ in range(3))))

        assert [status for status, _, _ in asyncio.run(three())] == [503] * 3

    def test_the_end_of_the_server_is_told(self) -> None:
        app = create_app(finished().run, ServeSettings())

        async def ended() -> tuple[int, Any, int]:
            task = asyncio.create_task(ask(app, endless(0.05)))
            await asyncio.sleep(0.2)
            task.cancel()
            return await task

        assert asyncio.run(ended())[:2][0] == 503


class TestWork:
    def test_too_many_at_once_and_what_takes_too_long(
        self, opened: Open, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = threading.Event()

        async def never(self: Answerer, _: object) -> None:
            begun.set()
            await asyncio.sleep(60)

        client, found = opened(max_concurrency=1, timeout=1), list[Any]()
        with monkeypatch.context() as patch:
            patch.setattr(Answerer, "answers", never)
            post = lambda: client.post("/predict", files={"images": files[0]})  # noqa: E731
            first = threading.Thread(target=lambda: found.append(post()))
            first.start()
            begun.wait(20)
            second = post()
            first.join()
        assert refused(second, 503)["what"] == "too many requests at once"
        assert second.headers["retry-after"] == "1"
        assert refused(found[0], 503)["what"] == "no answer was found within 1 seconds"
        assert client.post("/predict", files={"images": files[0]}).status_code == 200

    @pytest.mark.parametrize(
        "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
    )
    def test_no_memory(
        self, opened: Open, files: Files, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        client = opened()
        monkeypatch.setattr("sit2.inference.model.Model.answers", fail)
        assert refused(client.post("/predict", files={"images": files[0]}), 503)["what"] == "out of memory"

    def test_a_bug_of_ours_shows_nothing(
        self, opened: Open, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = opened()
        client._transport.raise_server_exceptions = False
        monkeypatch.setattr("sit2.serve.service.files_of", lambda *_: 1 / 0)
        assert "division" not in refused(client.post("/predict", files={"images": files[0]}), 500)["what"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/x", 404), ("GET", "/predict", 405), ("PUT", "/", 405)]
)
def test_what_is_not_there(opened: Open, method: str, path: str, status: int) -> None:
    refused(opened().request(method, path), status)
