"""A small proxy that can cut, hold or delay its connections, in its own thread."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_CHUNK = 1 << 16
SLOW_SECONDS = (2.0, 8.0)
"""How late a slow answer comes on average, and at the latest."""


class Proxy:
    """Passes bytes on between whoever connects and one server, over TCP or a local socket."""

    def __init__(
        self,
        listen: int | Path,
        upstream: int | Path,
        late: tuple[float, float] = SLOW_SECONDS,
    ) -> None:
        """Listen on a port of loopback or the path of a socket, and connect to another such.

        Args:
            listen: Where others connect.
            upstream: Where what they say goes.
            late: Seconds by which a slow answer is late on average, and at the most.
        """
        self._late = late
        self._listen = listen
        self._upstream = upstream
        self._open = True
        self._slow = False
        self._chance = random.Random("delays")
        self._writers: set[asyncio.StreamWriter] = set()
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def cut(self) -> None:
        """End all connections at once, and each new one as soon as it is made."""
        self._do(self._cut)

    def stall(self) -> None:
        """Take bytes no longer: connections stand, and nothing comes through."""
        self._do(self._passing.clear)

    def slow(self) -> None:
        """Hold back every other answer, some for long: those of two connections change places."""
        self._do(self._begin_slow)

    def restore(self) -> None:
        """Work as before."""
        self._do(self._restore)

    def _do(self, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(what)

    def _cut(self) -> None:
        self._open = False
        for writer in self._writers:
            writer.transport.abort()

    def _begin_slow(self) -> None:
        self._slow = True

    def _restore(self) -> None:
        self._open = True
        self._slow = False
        self._passing.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._passing = asyncio.Event()
        self._passing.set()
        serving: Awaitable[asyncio.Server]
        if isinstance(self._listen, Path):
            serving = asyncio.start_unix_server(self._serve, str(self._listen))
        else:
            serving = asyncio.start_server(self._serve, "127.0.0.1", self._listen, backlog=512)
        self._loop.run_until_complete(serving)
        self._started.set()
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _connect(self) -> Streams:
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(str(self._upstream))
        return await asyncio.open_connection("127.0.0.1", self._upstream)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        self._writers.add(writer)
        theirs: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError):
                answers, theirs = await self._connect()
                self._writers.add(theirs)
                await asyncio.gather(
                    self._pass(reader, theirs), self._pass(answers, writer, answers=True)
                )
        finally:
            for one in (writer, theirs):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        while data := await source.read(_CHUNK):
            if answers and self._slow and self._chance.random() < 0.5:
                average, most = self._late
                await asyncio.sleep(min(self._chance.expovariate(1 / average), most))
            await self._passing.wait()
            sink.write(data)
            await sink.drain()
        # Whoever has said all may still be answered.
        with suppress(OSError):
            if sink.can_write_eof():
                sink.write_eof()
