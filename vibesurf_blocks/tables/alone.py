"""Work on a database that one process at a time may do, on whatever host it runs."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from vibesurf_blocks.errors import StackError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Select

    from vibesurf_blocks.tables.database import Database

_LOOK_SECONDS = 0.02


@asynccontextmanager
async def alone(
    database: Database, work: str, *, wait: float
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Hold the right to do `work`; it goes with the process, however that ends.

    Takes two connections of the database while its holder uses one.

    Args:
        database: Its own locks are used; on SQLite that of a file beside it.
        work: What is done, as a verb.
        wait: Seconds to wait for another process.

    Yields:
        To be called now and then: raises Unavailable where the right was lost with its connection.

    Raises:
        StackError: Another process kept it for longer than that.
        Unavailable: The database does not answer.
    """
    taken = StackError(
        f"Another process has held the right to {work} {database} for more than {wait:g} s: wait "
        "until it has ended, then start again."
    )
    deadline = time.monotonic() + wait
    if database.dialect == "sqlite":
        with _opened(f"{database.where}.{work}.lock") as handle:
            while not _locked(handle):
                if time.monotonic() > deadline:
                    raise taken
                await asyncio.sleep(_LOOK_SECONDS)
            yield _still_there
        return
    take, free = _statements(database, work)
    async with database.read() as connection:

        async def ask(statement: Select[tuple[object]]) -> object:
            try:
                answer = await connection.scalar(statement)
                await connection.commit()  # no transaction stays open for as long as the work
            except DBAPIError as error:
                msg = f"The connection to {database} was lost while it was held to {work} it."
                raise Unavailable(msg) from error
            return answer

        async def still_there() -> None:
            await ask(select(1))

        while not await ask(take):
            if time.monotonic() > deadline:
                raise taken
            await asyncio.sleep(_LOOK_SECONDS)
        try:
            yield still_there
        finally:
            with suppress(Unavailable):  # then it is free already
                await ask(free)


async def _still_there() -> None:
    """The lock of a file is not lost while the process lives."""


def _statements(
    database: Database, work: str
) -> tuple[Select[tuple[object]], Select[tuple[object]]]:
    """What takes the lock, or says that it is taken; and what frees it."""
    key = hashlib.sha256(f"vibesurf-blocks {work}".encode()).digest()
    if database.dialect == "postgresql":
        number = int.from_bytes(key[:8], signed=True)
        return select(func.pg_try_advisory_lock(number)), select(func.pg_advisory_unlock(number))
    # GET_LOCK's names count for the whole server and hold 64 characters.
    name = hashlib.sha256(key + str(database.url.database).encode()).hexdigest()
    return select(func.get_lock(name, 0)), select(func.release_lock(name))


@contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"The file {path}, which guards the tables, cannot be opened: {error.strerror}."
        raise StackError(msg) from error
    try:
        yield handle
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
