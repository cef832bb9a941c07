"""A load generator for one GET: raw keep-alive connections, nothing parsed but the length."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.rows import quantiles


@dataclass(frozen=True, slots=True)
class Load:
    """How a server did.

    Attributes:
        per_second: Requests answered in a second.
        p50: Milliseconds to an answer.
        p99: Milliseconds to an answer.
        generator: Share of one processor that the generator itself used.
        wrong: Answers other than 200.
    """

    per_second: float
    p50: float
    p99: float
    generator: float
    wrong: int


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, until: float, taken: list[float]) -> None:
        self._request = request
        self._until = until
        self._taken = taken
        self._buffer = b""
        self._sent = 0.0
        self.wrong = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = buffer.lower().index(b"content-length:") + 15
        if len(buffer) < head + 4 + int(buffer[start : buffer.index(b"\r\n", start)]):
            return
        now = time.perf_counter()
        self._taken.append(now - self._sent)
        self.wrong += not buffer.startswith(b"HTTP/1.1 200")
        self._buffer = b""
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None) if error is None else self.done.set_exception(error)

    def _ask(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def load(port: int, path: str, *, clients: int, seconds: float) -> Load:
    """Ask for a path over so many connections at once, each again as soon as it is answered."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    taken: list[float] = []
    clock, processor = time.perf_counter(), time.process_time()
    made: Sequence[_Client] = [
        (
            await loop.create_connection(
                lambda: _Client(request, clock + seconds, taken), "127.0.0.1", port
            )
        )[1]
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for client in made))
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    found = quantiles([1000 * one for one in taken], 50, 99)
    return Load(
        len(taken) / clock,
        found["p50"],
        found["p99"],
        processor / clock,
        sum(client.wrong for client in made),
    )
