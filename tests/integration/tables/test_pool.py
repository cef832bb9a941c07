"""The pool does what the settings say, and a connection that the server closed costs no request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.databases import KINDS
from tests.support.eventually import eventually
from tests.support.records import task
from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables import Database, TaskStore, upgrade

SERVERS = [kind for kind in KINDS if kind != "sqlite"]
WHO = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
KILL = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}
THERE = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE pid = {}",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE id = {}",
}

Open = Callable[..., Database]


@pytest.fixture
async def opened(database_url: str) -> AsyncIterator[Open]:
    """Opens the test's database with these settings; closed after the test."""
    made: list[Database] = []

    def open_(**settings: Any) -> Database:
        made.append(Database.of(Settings(database_url=database_url, **settings)))
        return made[-1]

    yield open_
    for database in made:
        await database.aclose()


async def _who(database: Database) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(text(WHO[database.dialect])) or 0)


async def _kill(by: Database, victims: set[int]) -> None:
    """Close connections from the server's side, and wait until they are gone."""
    for victim in victims:
        async with by.write() as connection:
            await connection.execute(text(KILL[by.dialect].format(victim)))

        async def gone(victim: int = victim) -> bool:
            async with by.write() as connection:
                return not await connection.scalar(text(THERE[by.dialect].format(victim)))

        await eventually(gone, timeout=10, pause=0.01)


async def test_the_pool_is_as_large_as_the_settings_say(opened: Open) -> None:
    database = opened(database_pool_size=1, database_pool_overflow=1, database_pool_seconds=0.05)
    async with database.read(), database.read():
        with pytest.raises(Unavailable, match=r"too busy: no connection was free for 0\.05 s"):
            await database.check()
    await database.check()


@pytest.mark.parametrize("database_url", SERVERS, indirect=True)
async def test_connections_are_replaced_after_the_time_that_the_settings_say(
    opened: Open,
) -> None:
    lasting, fleeting = opened(), opened(database_recycle_seconds=0.02)
    first = {"lasting": await _who(lasting), "fleeting": await _who(fleeting)}

    async def replaced() -> bool:
        return await _who(fleeting) != first["fleeting"]

    await eventually(replaced, timeout=10, pause=0.03)
    assert await _who(lasting) == first["lasting"]


@pytest.mark.parametrize("database_url", SERVERS, indirect=True)
async def test_connections_that_the_server_closed_cost_no_request(
    opened: Open, database_url: str
) -> None:
    await upgrade(database_url)
    database, other = opened(database_pool_size=3), opened()
    store = TaskStore(database)

    async def pooled() -> set[int]:
        async with AsyncExitStack() as stack:
            held = [await stack.enter_async_context(database.read()) for _ in range(3)]
            who = text(WHO[database.dialect])
            return {int(await one.scalar(who) or 0) for one in held}

    before = await pooled()
    assert len(before) == 3
    await _kill(other, before)
    reads = (store.page() for _ in range(3))
    writes = (store.upsert([task(f"{number}")]) for number in range(3))
    done = await asyncio.gather(*reads, *writes)
    assert done[3:] == [["0"], ["1"], ["2"]]
    assert not before & await pooled()


@pytest.mark.parametrize("database_url", SERVERS, indirect=True)
async def test_without_the_try_such_a_connection_fails(opened: Open) -> None:
    """That the one above passes is the doing of the setting."""
    database, other = opened(database_ping=False, database_pool_size=1), opened()
    await _kill(other, {await _who(database)})
    with pytest.raises(Exception, match=r"(?i)closed|lost connection|gone away|terminat"):
        await _who(database)
