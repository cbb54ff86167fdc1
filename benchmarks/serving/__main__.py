"""Ask a server of a run, kindly and otherwise: ``python -m benchmarks.serving RUN --images FOLDER``.

First the pure forward pass, in this process; then latency at 1, 8 and 32 clients; then eight clients beside hostile
ones. Linux alone: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import re
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

CLIENTS = (1, 8, 32)
HEAD = (
    "POST /predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'


@dataclass
class Load:
    """A server, and what is asked of it."""

    address: str
    token: str
    images: list[bytes]
    until: float = 0.0
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)  # of good requests that were answered

    def count(self, who: str, what: object) -> None:
        self.statuses.setdefault(who, Counter())[str(what)] += 1

    async def ask(
        self, client: httpx.AsyncClient, who: str, content: bytes, name: str, token: str = ""
    ) -> None:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        start = time.perf_counter()
        try:
            found = await client.post(
                f"{self.address}/predict", files={"images": (name, content)}, headers=headers
            )
            what: object = found.status_code
            if found.status_code == 200 and found.json()["images"][0]["problem"]:
                what = "200, a problem"
        except httpx.HTTPError as error:
            what = type(error).__name__
        self.count(who, what)
        if who == "good" and what == 200:
            self.seconds.append(time.perf_counter() - start)

    async def repeat(self, who: str, content: Callable[[int], tuple[bytes, str]], token: str = "") -> None:
        """Ask one request after the other."""
        async with httpx.AsyncClient(timeout=120) as client:
            n = 0
            while time.monotonic() < self.until:
                await self.ask(client, who, *content(n), token)
                n += 1

    def good(self, n: int) -> tuple[bytes, str]:
        return self.images[n % len(self.images)], "good.jpg"

    async def raw(self, who: str, parts: Callable[[], AsyncIterator[bytes]]) -> None:
        """Open connections one after the other, and write to each until the server has had enough."""
        place = self.address.removeprefix("http://").split(":")
        while time.monotonic() < self.until:
            try:
                reader, writer = await asyncio.open_connection(place[0], int(place[1]))
                answer = asyncio.ensure_future(reader.read(12))
                answer.add_done_callback(
                    lambda one: one.cancelled() or one.exception()
                )  # it may be reset too
                with contextlib.closing(writer):
                    async for part in parts():
                        if answer.done() or time.monotonic() > self.until:
                            break
                        writer.write(part)
                        await writer.drain()
                    found = await asyncio.wait_for(answer, 60)
                self.count(who, found[9:12].decode() or "closed")
            except (OSError, TimeoutError) as error:
                self.count(who, type(error).__name__)
                await asyncio.sleep(0.1)

    async def slow(self) -> AsyncIterator[bytes]:
        yield HEAD.format(token=self.token).encode()
        while True:
            yield b"1\r\n-\r\n"
            await asyncio.sleep(0.5)

    async def endless(self) -> AsyncIterator[bytes]:
        yield HEAD.format(token=self.token).encode() + b"%x\r\n%s\r\n" % (len(PART), PART)
        while True:
            yield b"10000\r\n" + bytes(65536) + b"\r\n"

    async def silent(self) -> AsyncIterator[bytes]:
        while True:
            yield b""
            await asyncio.sleep(0.5)


def bomb() -> bytes:
    """Return a PNG of a few kilobytes and 49 million pixels, just below what is allowed."""
    buffer = io.BytesIO()
    Image.new("1", (7000, 7000)).save(buffer, "PNG")
    return buffer.getvalue()


def memory(pid: int) -> float:
    """Return how many megabytes a process holds."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def line(what: str, seconds: list[float], length: float) -> None:
    """Print the percentiles of some durations, and how many there were a second."""
    if not seconds:
        print(f"{what:28} no answer")
        return
    half, most = np.percentile(1000 * np.array(seconds), [50, 99])
    print(
        f"{what:28} p50 {half:8.1f} ms   p99 {most:8.1f} ms   {len(seconds) / length:7.1f} a second",
        flush=True,
    )


def forward(run: Path, images: list[bytes]) -> None:
    """Print how long the model alone takes, on images that are decoded already."""
    from sit2.data.decoding.decode import decode
    from sit2.data.decoding.image import Decoding
    from sit2.inference.model import Model

    model = Model.load(run)
    how = Decoding.of(model.spec, channels=model.spec.channels)
    pixels = decode(np.frombuffer(images[0], np.uint8), how)
    for count in CLIENTS:
        batch, seconds = np.stack([pixels] * count), list[float]()
        for _ in range(50):
            start = time.perf_counter()
            model.answers(batch)
            seconds.append(time.perf_counter() - start)
        line(f"forward pass, {count} at once", seconds[5:], sum(seconds[5:]) / count)


async def measure(load: Load, pid: int, each: float, hostile: float, connections: int) -> None:
    """Print latency without and with hostile clients, and the memory of the server."""
    for count in CLIENTS:
        load.until = time.monotonic() + each
        load.seconds.clear()
        await asyncio.gather(*(load.repeat("good", load.good) for _ in range(count)))
        line(f"{count} clients", load.seconds, each)
    print(f"memory {memory(pid):.0f} MB\n", flush=True)
    load.statuses.clear()
    load.until, start, content = time.monotonic() + hostile, time.monotonic(), bomb()

    async def watch() -> None:
        while time.monotonic() < load.until:
            print(f"{time.monotonic() - start:6.0f} s  memory {memory(pid):7.0f} MB", flush=True)
            await asyncio.sleep(max(5.0, hostile / 20))

    half = load.images[0][: len(load.images[0]) // 2]
    load.seconds.clear()
    await asyncio.gather(
        watch(),
        *(load.repeat("good", load.good) for _ in range(8)),
        *(load.repeat("bomb", lambda _: (content, "bomb.png")) for _ in range(2)),
        load.repeat("truncated", lambda _: (half, "half.jpg")),
        load.repeat("mislabelled", lambda n: (b"%PDF-1.7" + bytes(n % 999), "text.jpg")),
        load.repeat("wrong token", load.good, "wrong"),
        *(load.raw("slow body", load.slow) for _ in range(10)),
        *(load.raw("endless body", load.endless) for _ in range(2)),
        *(load.raw("silent connection", load.silent) for _ in range(connections)),
    )
    line("8 clients beside them", load.seconds, hostile)
    for who, counted in load.statuses.items():
        print(f"{who:20} " + ", ".join(f"{what}: {n:,}" for what, n in counted.most_common()))
    print(f"memory at the end {memory(pid):.0f} MB")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--each", type=float, default=20, help="seconds for each number of clients")
    parser.add_argument("--hostile", type=float, default=600, help="seconds of hostile load")
    parser.add_argument("--connections", type=int, default=1000, help="connections that say nothing")
    options = parser.parse_args()
    paths = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in (".jpg", ".png"))[:64]
    images = [path.read_bytes() for path in paths]
    forward(options.run, images)
    token = secrets.token_urlsafe()
    words = [sys.executable, "-m", "sit2", "serve", str(options.run), "--port", "0"]
    server = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env={**os.environ, "SIT2_TOKEN": token}
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://[\d.]+:\d+", server.stdout.readline())
        assert found
        load = Load(found[0], token, images)
        asyncio.run(measure(load, server.pid, options.each, options.hostile, options.connections))
    finally:
        server.terminate()
        print(f"the server ended with {server.wait(60)}")


if __name__ == "__main__":
    main()
