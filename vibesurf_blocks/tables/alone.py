"""Work on a database that one process at a time may do, on whatever host it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from vibesurf_blocks.errors import StackError, Unavailable
from vibesurf_blocks.tables.locks import DatabaseLocks

if TYPE_CHECKING:
    from vibesurf_blocks.tables.database import Database

_LOOK_SECONDS: Final = 0.02


@asynccontextmanager
async def alone(
    database: Database, work: str, *, wait: float
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Hold the right to do `work` for as long as it takes; it goes with the process.

    Args:
        database: The lock is one of this database, on a connection of its own.
        work: What is done, as a verb.
        wait: Seconds to wait for another process.

    Yields:
        To be called now and then: raises Unavailable where the right was lost with its connection.

    Raises:
        StackError: Another process kept it for longer than that.
        Unavailable: The database does not answer.
    """
    await database.check()  # it says best what is wrong with a database that is not there
    locks = DatabaseLocks(database.url.render_as_string(hide_password=False))
    lock = locks.lock(work)
    deadline = time.monotonic() + wait

    async def still_there() -> None:
        try:
            await lock.check()
        except Unavailable as error:
            msg = f"The right to {work} {database} was lost on the way: {error.message}"
            raise Unavailable(msg) from error

    try:
        while not await lock.take():
            if time.monotonic() > deadline:
                msg = (
                    f"Another process has held the right to {work} {database} for more than "
                    f"{wait:g} s: wait until it has ended, then start again."
                )
                raise StackError(msg)
            await asyncio.sleep(_LOOK_SECONDS)
        yield still_there
    finally:
        await lock.release()
        await locks.aclose()
