"""Of several mirrors one writes: whoever holds the lock in the database of the tables.

The others stand by, and one of them takes over when the lock is free: when its holder ended, was
killed or frozen, or lost its connection, its network or its host. The database lets go of a holder
that was silent for `SILENCE_SECONDS`; the holder itself stops writing before that.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.tables.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from vibesurf_blocks.settings import Settings
    from vibesurf_blocks.tables.locks import DatabaseLock, DatabaseLocks

logger = logging.getLogger(__name__)

SILENCE_SECONDS: Final = 8.0
"""Seconds without a sign of life after which the database server lets another mirror take over."""

LEASE_SECONDS: Final = 6.0
"""Seconds after its last sign of life for which a mirror writes; fewer than the server waits."""

_SIGN_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.4


class Leadership:
    """The right to write the tables of a pool."""

    def __init__(self, locks: DatabaseLocks, pool: str) -> None:
        """Ask for the right in the name of the mirror of this work pool."""
        name = hashlib.sha256(pool.encode()).hexdigest()[:12]
        self._lock: DatabaseLock = locks.lock(f"mirror-{name}", silence=SILENCE_SECONDS)
        self._until = float("-inf")

    async def take(self) -> None:
        """Wait until this process has it."""
        said: str | None = None
        while True:
            try:
                if await self.take_now():
                    break
                news = "another one is active"
            except Unavailable as error:
                news = error.message
            if news != said:
                logger.info("This mirror stands by: %s.", news.rstrip("."))
                said = news
            await asyncio.sleep(_LOOK_SECONDS)
        logger.info("This mirror is active.")

    async def take_now(self) -> bool:
        """Take it if nobody has it; whether this process has it."""
        begun = monotonic()
        taken = await self._lock.take()
        if taken:
            self._extend(begun)
        return taken

    async def kept(self) -> None:
        """Give signs of life; returns when the right is lost."""
        while True:
            await asyncio.sleep(_SIGN_SECONDS)
            begun = monotonic()
            try:
                self.check()
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._lock.check()
            except (Unavailable, TimeoutError) as error:
                self._until = float("-inf")
                logger.warning("This mirror is no longer active (%s).", str(error) or "no answer")
                return
            self._extend(begun)

    def check(self) -> None:
        """See that this process may write.

        Raises:
            Unavailable: It may not, or not any more.
        """
        if monotonic() > self._until:
            raise Unavailable("another mirror may be active by now")

    async def give_up(self) -> None:
        """Let somebody else have it."""
        self._until = float("-inf")
        await self._lock.release()

    def _extend(self, begun: float) -> None:
        # What goes with the process alone, no clock takes away.
        self._until = float("inf") if self._lock.silence is None else begun + LEASE_SECONDS


class GuardedDatabase(Database):
    """The tables, written only while a check passes."""

    _may_write: Callable[[], None]

    @classmethod
    def guarded(cls, settings: Settings, may_write: Callable[[], None]) -> Self:
        """Connect as `Database.of` does; `may_write` raises where nothing may be written."""
        made = cls.of(settings)
        made._may_write = may_write
        return made

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a write transaction, as `Database` does.

        Raises:
            Unavailable: Nothing may be written, or the database does not answer.
        """
        self._may_write()
        return super().write()
