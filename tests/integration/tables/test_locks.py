"""A lock of the database has one holder, and goes when that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.eventually import eventually
from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.mirror.leader import GuardedDatabase, Leadership
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables import Database
from vibesurf_blocks.tables.locks import DatabaseLocks

Locks = Callable[[], DatabaseLocks]


@pytest.fixture
async def locks(database_url: str) -> AsyncIterator[Locks]:
    """Makes locks as a process of its own would have them."""
    made: list[DatabaseLocks] = []

    def make() -> DatabaseLocks:
        made.append(DatabaseLocks(database_url))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def cut_sessions(url: str) -> int:
    """Have the server end every other session that is in this database; how many there were."""
    database = Database(url)
    try:
        async with database.write() as connection:
            if database.dialect == "postgresql":
                others = "FROM pg_stat_activity WHERE datname = current_database()"
                statement = f"SELECT pg_terminate_backend(pid) {others} AND pid <> pg_backend_pid()"
                return len((await connection.execute(text(statement))).all())
            listed = "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
            ids = list(await connection.scalars(text(f"{listed} AND id <> CONNECTION_ID()")))
            for one in ids:
                await connection.execute(text(f"KILL {one}"))
            return len(ids)
    finally:
        await database.aclose()


async def test_one_holds_it_at_a_time(locks: Locks) -> None:
    first, second = locks().lock("a"), locks().lock("a")
    other = locks().lock("b")
    assert await first.take()
    assert not await second.take()
    assert await other.take()
    await first.check()
    await first.release()
    assert await eventually(second.take, timeout=5)
    for one in (second, other):
        await one.release()


async def test_who_waits_gets_it_next(locks: Locks) -> None:
    inside = most = 0

    async def use() -> None:
        nonlocal inside, most
        async with locks().held("a", wait=20):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(use() for _ in range(6)))
    assert most == 1
    async with locks().held("a", wait=5):
        with pytest.raises(Unavailable, match="try again"):
            async with locks().held("a", wait=0):
                pass


@pytest.mark.parametrize("database_url", ["postgresql", "mysql"], indirect=True)
async def test_a_mirror_that_lost_its_connection_writes_no_more(
    locks: Locks, database_url: str
) -> None:
    ours, theirs = locks(), locks()
    active, standby = Leadership(ours, "pool"), Leadership(theirs, "pool")
    await active.take()
    assert not await standby.take_now()
    database = GuardedDatabase.guarded(Settings(database_url=database_url), active.check)
    async with database.write():
        pass
    await database.aclose()
    watching = asyncio.create_task(active.kept())
    assert await cut_sessions(database_url) == 2

    async with asyncio.timeout(5):
        await watching
    with pytest.raises(Unavailable):
        database.write()
    await standby.take()
    assert not await active.take_now()
    for leadership in (active, standby):
        await leadership.give_up()


@pytest.mark.parametrize("database_url", ["postgresql", "mysql"], indirect=True)
async def test_a_silent_holder_loses_it(locks: Locks) -> None:
    """As one that is frozen, or whose host is gone without a farewell."""
    silent, waiting = locks().lock("a", silence=1), locks().lock("a")
    assert await silent.take()
    assert not await waiting.take()
    assert await eventually(waiting.take, timeout=5)
    with pytest.raises(Unavailable):
        await silent.check()
    await waiting.release()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_deleted_lock_file_is_noticed(locks: Locks, database_url: str) -> None:
    lock = locks().lock("a")
    assert await lock.take()
    file = database_url.removeprefix("sqlite:///")
    (Path(f"{file}.locks") / "a").unlink()
    with pytest.raises(Unavailable, match="deleted"):
        await lock.check()
