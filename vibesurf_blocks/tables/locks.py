"""Locks by name in the database of the tables: one process at a time, whichever host it is on.

Such a lock goes with whoever holds it: with the process, and on a server also with its host, its
network or, for those who ask for it, with a process that was frozen.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.tables.database import CONNECT_TIMEOUT, async_url

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_LOOK_SECONDS: Final = 0.03
_CLOSE_SECONDS: Final = 2.0
_HELD_SILENCE: Final = 60.0

_POSTGRES_KEEPALIVE: Final = """
SELECT set_config('tcp_keepalives_idle', '5', false),
    set_config('tcp_keepalives_interval', '2', false),
    set_config('tcp_keepalives_count', '2', false)
"""


class DatabaseLock(ABC):
    """One lock. It is not reentrant, and belongs to one event loop.

    Attributes:
        silence: Seconds without a call of `check` after which the database may give it to somebody
            else; None where it is kept for as long as the process lives.
    """

    silence: float | None = None

    @abstractmethod
    async def take(self) -> bool:
        """Take the lock if nobody holds it; whether it was taken.

        Raises:
            Unavailable: The database does not answer.
        """

    @abstractmethod
    async def check(self) -> None:
        """See that it is still held.

        Raises:
            Unavailable: It is not, or the database does not answer.
        """

    @abstractmethod
    async def release(self) -> None:
        """Let it go, in whatever state it is."""


class DatabaseLocks:
    """The locks of one database."""

    def __init__(self, url: str) -> None:
        """Prepare locks in the database of this SQLAlchemy URL; nothing is opened yet.

        Raises:
            InvalidInput: The URL is not one of a database that can hold the tables.
        """
        self._url = async_url(url)
        self._engine: AsyncEngine | None = None

    def lock(self, name: str, *, silence: float | None = None) -> DatabaseLock:
        """A lock, not taken yet.

        Args:
            name: Letters, digits, `-`; with SQLite the name of a file.
            silence: Seconds without a sign of its holder after which a server lets the lock go, so
                that a frozen process or a dead host does not keep it. By default the lock is kept
                for as long as the connection stands. A file's lock goes with its process alone.
        """
        if self._url.get_backend_name() == "sqlite":
            return _FileLock(Path(f"{self._url.database}.locks") / name)
        if self._engine is None:
            self._engine = _engine(self._url)
        kind = _PostgresLock if self._url.get_backend_name() == "postgresql" else _MysqlLock
        return kind(self._engine, f"{name} {self._url.database}", silence)

    @asynccontextmanager
    async def held(self, name: str, *, wait: float) -> AsyncIterator[None]:
        """Hold a lock for the block, which lasts a minute at the most.

        Args:
            name: As for `lock`.
            wait: Seconds to wait for whoever holds it.

        Raises:
            Unavailable: It was not free in time, or the database does not answer.
        """
        lock = self.lock(name, silence=_HELD_SILENCE)
        deadline = monotonic() + wait
        try:
            while not await lock.take():
                if monotonic() > deadline:
                    msg = f"Somebody else has been at work on this for {wait:g} s; try again."
                    raise Unavailable(msg)
                await asyncio.sleep(_LOOK_SECONDS)
            yield
        finally:
            await lock.release()

    async def aclose(self) -> None:
        """Close what is left open."""
        if self._engine is not None:
            await self._engine.dispose()


def _engine(url: URL) -> AsyncEngine:
    # Not of the tables' pool: the lock is the connection, which nobody else may use or return.
    name = "timeout" if url.get_backend_name() == "postgresql" else "connect_timeout"
    return create_async_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={name: CONNECT_TIMEOUT},
        hide_parameters=True,
    )


class _SessionLock(DatabaseLock):
    """A lock that a session of the database server holds, on a connection of its own."""

    def __init__(self, engine: AsyncEngine, name: str, silence: float | None) -> None:
        self._engine = engine
        self._digest = hashlib.sha256(f"vibesurf-blocks {name}".encode()).digest()
        self._connection: AsyncConnection | None = None
        self.silence = silence

    async def take(self) -> bool:
        return await self._ask(self._take_statement())

    async def check(self) -> None:
        # A new connection would say that it holds nothing.
        if not await self._ask(self._check_statement()):
            await self.release()
            raise Unavailable("the database has let go of the lock")

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # The connection may be dead or its host away: nobody waits for a farewell for long.
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await connection.close()

    async def _ask(self, statement: str) -> bool:
        try:
            if self._connection is None:
                self._connection = await self._engine.connect()
                await self._prepare(self._connection)
            return bool(await self._connection.scalar(text(statement)))
        except BaseException as error:
            await self.release()
            if not isinstance(error, Exception):
                raise
            reason = error.orig if isinstance(error, DBAPIError) else error
            msg = f"the database of the tables does not answer: {reason or type(error).__name__}"
            raise Unavailable(msg) from error

    @abstractmethod
    def _take_statement(self) -> str: ...

    @abstractmethod
    def _check_statement(self) -> str: ...

    @abstractmethod
    async def _prepare(self, connection: AsyncConnection) -> None:
        """Have the server notice the end of whoever is behind a connection."""


class _PostgresLock(_SessionLock):
    @property
    def _key(self) -> int:
        return int.from_bytes(self._digest[:8], signed=True)

    def _take_statement(self) -> str:
        return f"SELECT pg_try_advisory_lock({self._key})"

    def _check_statement(self) -> str:
        high, low = divmod(self._key % 2**64, 2**32)
        return (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"  # noqa: S608
            f" AND pid = pg_backend_pid() AND classid::bigint = {high}"
            f" AND objid::bigint = {low} AND objsubid = 1"
        )

    async def _prepare(self, connection: AsyncConnection) -> None:
        await connection.exec_driver_sql(_POSTGRES_KEEPALIVE)
        if self.silence is not None:
            with suppress(DBAPIError):  # before PostgreSQL 14 keepalives must do
                await connection.exec_driver_sql(
                    f"SET idle_session_timeout = {int(self.silence * 1000)}"
                )


class _MysqlLock(_SessionLock):
    @property
    def _name(self) -> str:
        # Names count for the whole server, and hold 64 characters.
        return self._digest.hex()

    def _take_statement(self) -> str:
        return f"SELECT GET_LOCK('{self._name}', 0)"

    def _check_statement(self) -> str:
        return f"SELECT IS_USED_LOCK('{self._name}') = CONNECTION_ID()"

    async def _prepare(self, connection: AsyncConnection) -> None:
        if self.silence is not None:
            await connection.exec_driver_sql(f"SET SESSION wait_timeout = {int(self.silence)}")


class _FileLock(DatabaseLock):
    """A lock of the operating system on a file beside a SQLite database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    async def take(self) -> bool:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            msg = f"The file {self._path}, which guards the tables, cannot be opened: "
            raise Unavailable(msg + str(error.strerror)) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    async def check(self) -> None:
        # Somebody may have deleted the file and locked a new one.
        try:
            assert self._handle is not None  # noqa: S101 - only what was taken is checked
            there = self._path.stat().st_ino == os.fstat(self._handle).st_ino
        except OSError:
            there = False
        if not there:
            await self.release()
            raise Unavailable(f"The file {self._path}, which guards the tables, was deleted.")

    async def release(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
