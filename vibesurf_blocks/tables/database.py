"""One database of the tables: its URL, its connections, and how it is read and written."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from vibesurf_blocks.errors import InvalidInput, StackError, Unavailable
from vibesurf_blocks.tables.types import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from vibesurf_blocks.settings import Settings

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mysql+aiomysql",
}
"""The driver that stands for each name a URL may begin with."""

EXTRAS = {"asyncpg": "postgres", "aiomysql": "mysql"}
"""The extra of this package that installs a driver."""

CONNECT_TIMEOUT = 10
"""Seconds a server may take to accept a connection."""


def async_url(url: str) -> URL:
    """Return `url` with the async driver of its database.

    Raises:
        InvalidInput: `url` is no URL of SQLite, PostgreSQL, MySQL or MariaDB, names a driver that
            is not async, or names a SQLite database that is not a file.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        msg = (
            "The database URL cannot be read: write it like sqlite:////home/me/vibesurf.db, "
            "postgresql://user:password@host/name or mysql://user:password@host/name."
        )
        raise InvalidInput(msg) from None
    name, _, driver = parsed.drivername.partition("+")
    if name not in DRIVERS:
        msg = f"The tables cannot live in '{name}': write a sqlite, postgresql or mysql URL."
        raise InvalidInput(msg)
    wanted = DRIVERS[name]
    if not driver:
        parsed = parsed.set(drivername=wanted)
    elif f"{wanted.partition('+')[0]}+{driver}" != wanted:
        msg = f"The tables are read with {wanted}, not {name}+{driver}: write {wanted}:// or {name}://."
        raise InvalidInput(msg)
    else:
        parsed = parsed.set(drivername=wanted)
    match parsed.get_backend_name():
        case "sqlite":
            return _file_url(parsed)
        case "mysql":
            return parsed.update_query_dict({"charset": "utf8mb4"})
        case _:
            return _libpq_words(parsed)


def _file_url(url: URL) -> URL:
    file = url.database
    if not file or ":memory:" in file or file.startswith("file:"):
        msg = (
            "The tables need a SQLite file that several processes can open: write "
            "sqlite:////absolute/path.db, not a database in memory."
        )
        raise InvalidInput(msg)
    return url.set(database=str(Path(file).expanduser().absolute()))


def _libpq_words(url: URL) -> URL:
    """Say `sslmode`, as every other PostgreSQL client calls it, the way asyncpg does."""
    mode = url.query.get("sslmode")
    if mode is None:
        return url
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


class Database:
    """The connections of one process, and one event loop, to the tables.

    `read` and `write` open in turn a connection for reading and a write transaction. On SQLite
    writes go one after the other through one connection whose transactions begin with
    `BEGIN IMMEDIATE`: writers wait for each other, in this process in the order they came and
    between processes up to `timeout`, and none fails because another was faster.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        max_overflow: int = 10,
        recycle: float = 1_800.0,
        timeout: float = 30.0,
        ping: bool = True,
    ) -> None:
        """Prepare connections to `url`; none is opened yet.

        Args:
            url: SQLAlchemy URL; one without a driver gets the async one.
            pool_size: Connections kept open.
            max_overflow: Connections opened beside those when all are taken.
            recycle: Seconds after which a connection is replaced.
            timeout: Seconds to wait for a connection, or for SQLite's writer.
            ping: Whether a server's connection is tried before each use.

        Raises:
            InvalidInput: The URL is not one of a database that can hold the tables.
            StackError: The driver is not installed, or SQLite's folder cannot be made.
        """
        self._url = async_url(url)
        self._pool = {
            "pool_size": pool_size,
            "max_overflow": max_overflow,
            "pool_recycle": recycle,
            "pool_timeout": timeout,
            "hide_parameters": True,
            "json_serializer": canonical_json,
        }
        self._timeout = timeout
        self._ping = ping
        try:
            self._reader, self._writer = self._engines()
        except NoSuchModuleError:  # pragma: no cover - every driver named above ships a dialect
            msg = f"SQLAlchemy does not know {self._url.drivername}."
            raise StackError(msg) from None
        except ImportError as error:
            driver = self._url.get_driver_name()
            extra = EXTRAS.get(driver)
            what = f'"vibesurf-blocks[{extra}]"' if extra else driver
            msg = (
                f"The driver {driver} for {self} is not installed: "
                f"run pip install {what} and start again."
            )
            raise StackError(msg) from error

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The tables that the settings name, with the pool that they ask for.

        Raises:
            InvalidInput: The URL is not one of a database that can hold the tables.
            StackError: The driver is not installed, or SQLite's folder cannot be made.
        """
        return cls(
            settings.tables_url,
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_pool_overflow,
            recycle=settings.database_recycle_seconds,
            timeout=settings.database_pool_seconds,
            ping=settings.database_ping,
        )

    def _engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        if self.dialect == "sqlite":
            return self._sqlite_engines()
        connect: dict[str, Any] = (
            {"timeout": CONNECT_TIMEOUT}
            if self.dialect == "postgresql"
            else {"connect_timeout": CONNECT_TIMEOUT}
        )
        engine = create_async_engine(
            self._url,
            # A row that is not there yet is locked by nobody: writers of new rows do not deadlock.
            isolation_level="READ COMMITTED",
            pool_pre_ping=self._ping,
            connect_args=connect,
            **self._pool,
        )
        if self.dialect == "postgresql":
            return engine.execution_options(isolation_level="AUTOCOMMIT"), engine
        return engine, engine

    def _sqlite_engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        folder = Path(str(self._url.database)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"The folder {folder} of the tables cannot be made: {error.strerror}."
            raise StackError(msg) from error
        common = {**self._pool, "connect_args": {"timeout": self._timeout}}
        # Each read is one statement: it needs no transaction, hence no BEGIN and no ROLLBACK.
        reader = create_async_engine(
            self._url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **common
        )
        event.listen(reader.sync_engine, "connect", _open_reader)
        writer = create_async_engine(self._url, **{**common, "pool_size": 1, "max_overflow": 0})
        event.listen(writer.sync_engine, "connect", _open_writer)
        event.listen(writer.sync_engine, "begin", _begin_immediate)
        return reader, writer

    @property
    def url(self) -> URL:
        """The URL with its driver; its text hides the password."""
        return self._url

    @property
    def dialect(self) -> str:
        """`sqlite`, `postgresql` or `mysql` (MariaDB too)."""
        return self._url.get_backend_name()

    @property
    def where(self) -> str:
        """Where the database is, for a person, without user or password."""
        if self.dialect == "sqlite":
            return str(self._url.database)
        port = f":{self._url.port}" if self._url.port else ""
        return f"{self.dialect}://{self._url.host or ''}{port}/{self._url.database or ''}"

    def __str__(self) -> str:
        return self.where

    def __repr__(self) -> str:
        return f"Database({self.where!r})"

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a connection for reading.

        Statements may each see a newer state than the one before.

        Raises:
            Unavailable: The database does not answer.
        """
        return self._said(self._reader.connect())

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a write transaction: committed at the end of the block, rolled back on an error.

        Do not open another one inside the block.

        Raises:
            Unavailable: The database does not answer.
        """
        return self._said(self._writer.begin())

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open an ORM session in a write transaction of its own, as `write` does.

        Raises:
            Unavailable: The database does not answer.
        """
        async with (
            self.write() as connection,
            AsyncSession(connection, expire_on_commit=False) as session,
        ):
            yield session
            await session.flush()

    async def check(self) -> None:
        """Connect once.

        Raises:
            Unavailable: The database does not answer.
        """
        async with self._said(self._asked()):
            pass

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[AsyncConnection]:
        async with self._reader.connect() as connection:
            # Newer versions of SQLite look into the file at the first statement only.
            await connection.exec_driver_sql("SELECT 1")
            yield connection

    async def aclose(self) -> None:
        """Close all connections. The object can be used again; it opens new ones."""
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()

    @asynccontextmanager
    async def _said(
        self, opening: AbstractAsyncContextManager[AsyncConnection]
    ) -> AsyncIterator[AsyncConnection]:
        """Open a connection and say in a sentence why it cannot be opened."""
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(opening)
            except TypeError as error:
                msg = f"The database URL of {self} has an option its driver does not know: {error}."
                raise InvalidInput(msg) from None
            except PoolTimeout as error:
                msg = f"The database {self} is too busy: no connection was free for "
                msg += f"{self._timeout:g} s."
                raise Unavailable(msg) from error
            except Exception as error:  # each driver has its own errors of a failed connection
                reason = error.orig if isinstance(error, DBAPIError) else error
                msg = f"The database {self} cannot be opened: {reason or type(error).__name__}"
                raise Unavailable(msg) from error
            yield connection


def _pragmas(connection: DBAPIConnection, *pragmas: str) -> None:
    cursor = connection.cursor()
    try:
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _open_reader(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    _pragmas(connection, "query_only=ON")


def _open_writer(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # SQLAlchemy emits BEGIN itself: sqlite3's own comes too late, at the first write, and then
    # fails at once where another process wrote in between.
    connection.isolation_level = None
    # The mode belongs to the file. While another connection is just setting it, this one need not.
    with suppress(sqlite3.OperationalError):
        _pragmas(connection, "journal_mode=WAL")
    _pragmas(connection, "synchronous=NORMAL", "foreign_keys=ON")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
