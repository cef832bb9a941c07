"""One read for many that ask at once: each gets an answer that was read after it asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedRead(Generic[T]):
    """Runs one read at a time; whoever asks meanwhile shares the next one.

    No answer is older than its question, so this is no cache: it only saves reading the same thing
    several times at once.
    """

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._next: asyncio.Future[T] | None = None
        self._runner: asyncio.Task[None] | None = None

    async def __call__(self) -> T:
        """Read, together with all that ask before the read begins."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            if self._runner is None or self._runner.done():
                self._runner = asyncio.create_task(self._run())
        return await asyncio.shield(self._next)

    async def _run(self) -> None:
        while (asked := self._next) is not None:
            self._next = None
            try:
                asked.set_result(await self._read())
            except Exception as error:  # noqa: BLE001 - handed to everybody who asked
                asked.set_exception(error)
                asked.exception()  # seen, even where nobody waits any more
