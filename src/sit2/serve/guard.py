"""What every request passes before anything of it is parsed: who it is from, how large it is, how long it takes.

It also gives every answer the headers that tell a browser what its page may do.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sit2.serve.refusal import Refusal
from sit2.serve.settings import ServeSettings

OPEN = ("/", "/docs", "/openapi.json", "/health")  # paths that need no token: they tell nothing of the model
OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
LINGER = (
    1.0  # seconds in which the rest of a refused body is thrown away, so that the client reads the answer
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Guard:
    """ASGI around the application."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._settings = app, settings
        self._token = _digest(settings.token) if settings.token else None
        self.held = 0  # bytes of the bodies of all requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, answer = _Body(self, receive, self._settings), _Answer(send, self._settings.timeout)
        try:
            self._check(scope)
            await self._app(scope, body.receive, answer.send)
        except Refusal as refusal:
            await self._refuse(refusal, scope, body, answer)
        except asyncio.CancelledError:  # the server ends, and has waited for long enough
            await self._refuse(Refusal.busy("this server is ending"), scope, body, answer)
        except _Unread:
            pass  # there is nobody to tell
        finally:
            self.held -= body.size

    async def _refuse(self, refusal: Refusal, scope: Scope, body: _Body, answer: _Answer) -> None:
        if not answer.started:
            await body.throw_away()
            await refusal.response()(scope, body.receive, answer.send)

    def _check(self, scope: Scope) -> None:
        """Raise :class:`Refusal` for what the first lines of a request say already."""
        headers, settings = Headers(scope=scope), self._settings
        if self._token is None and settings.stays_here and not settings.no_token:
            _check_host(headers)
        if self._token is not None and scope["path"] not in OPEN:
            _check_token(headers, self._token)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > settings.max_bytes:
            raise _too_large(settings)


def _check_host(headers: Headers) -> None:
    """Refuse what is meant for another host: a page from elsewhere may lead its own name here, to read answers."""
    if re.sub(r":\d*$", "", headers.get("host", "").lower()) not in OWN_NAMES:
        expected = f"one of {', '.join(OWN_NAMES)}"
        raise Refusal(421, "the request is for another host", expected, "behind a proxy, use a token")


def _check_token(headers: Headers, token: bytes) -> None:
    kind, _, given = headers.get("authorization", "").partition(" ")
    if not hmac.compare_digest(_digest(given.strip()), token) or kind.lower() != "bearer":
        raise Refusal(
            401,
            "the token is missing or wrong",
            "the header Authorization: Bearer TOKEN",
            "ask whoever started this server",
            {"WWW-Authenticate": "Bearer"},
        )


class _Body:
    """A request's body, counted and timed while it arrives."""

    def __init__(self, guard: Guard, receive: Receive, settings: ServeSettings) -> None:
        self._guard, self._receive, self._settings = guard, receive, settings
        self._until = time.monotonic() + settings.timeout
        self._more = True
        self.size = 0

    async def receive(self) -> Message:
        """Return the next part; once the body is whole, whatever comes whenever it comes."""
        if not self._more:
            return await self._receive()
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            seconds = f"{self._settings.timeout:g} seconds"
            raise Refusal(408, f"the request did not arrive within {seconds}", "a quicker one", "") from None
        part = len(message.get("body", b""))
        self.size += part
        self._guard.held += part
        self._more = bool(message.get("more_body"))
        if self.size > self._settings.max_bytes:
            raise _too_large(self._settings)
        if self._guard.held > self._settings.max_held:
            raise Refusal.busy("too many large requests at once")
        return message

    async def throw_away(self) -> None:
        """Read what still comes, for a moment: a client that is still writing would not see the answer."""
        try:
            async with asyncio.timeout(min(LINGER, self._settings.timeout)):
                while self._more:
                    self._more = bool((await self._receive()).get("more_body"))
        except TimeoutError:
            pass


class _Unread(Exception):  # noqa: N818 - a state, not an error
    """Nobody reads the answer."""


class _Answer:
    """What is sent, with our headers; a client that does not read it is left after a while."""

    def __init__(self, send: Send, timeout: float) -> None:
        self._send, self._timeout = send, timeout
        self.started = False

    async def send(self, message: Message) -> None:
        """Send the next part. Raises :class:`_Unread` where nobody reads it."""
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if message["status"] >= 400:  # what may still come of the request is not read
                headers["Connection"] = "close"
        try:
            async with asyncio.timeout(self._timeout):
                await self._send(message)
        except TimeoutError:
            raise _Unread from None


def _too_large(settings: ServeSettings) -> Refusal:
    return Refusal(
        413,
        f"the request is larger than {settings.max_body} MB",
        "a smaller one",
        "send fewer images at once",
    )


def _digest(token: str) -> bytes:
    """Return 32 bytes, so that comparing them tells nothing of a token's length."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
