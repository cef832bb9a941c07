"""The tables are made once, however many processes ask, and never by an older version."""

from __future__ import annotations

import asyncio
import logging
import sys

import pytest
from sqlalchemy import inspect, text

from tests.support.records import task
from vibesurf_blocks.errors import StackError
from vibesurf_blocks.tables import Database, TaskStore, Upgraded, upgrade
from vibesurf_blocks.tables.upgrade import VERSION_TABLE

HEAD = "0003"

UPGRADE = """
import asyncio, sys
from vibesurf_blocks.tables import upgrade
sys.stdin.readline()
print(asyncio.run(upgrade(sys.argv[1])).before)
"""


async def test_concurrent_upgrades_by_processes(database_url: str) -> None:
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", UPGRADE, database_url, stdin=pipe, stdout=pipe, stderr=pipe
        )
        for _ in range(3)
    ]
    ends = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0, 0], ends
    assert sorted(out.decode().strip() for out, _ in ends) == [HEAD, HEAD, "None"]


async def test_concurrent_upgrades_in_one_process(database_url: str) -> None:
    loggers = [(logger.level, list(logger.handlers)) for logger in [logging.getLogger()]]
    done = await asyncio.gather(*(upgrade(database_url) for _ in range(3)))
    assert sorted(result.changed for result in done) == [False, False, True]
    assert loggers == [(logger.level, list(logger.handlers)) for logger in [logging.getLogger()]]


async def test_upgrade_keeps_rows_and_refuses_a_newer_database(
    database_url: str, database: Database, store: TaskStore
) -> None:
    await store.upsert([task("a")])
    assert await upgrade(database_url) == Upgraded(before=HEAD, after=HEAD)
    assert await store.get("a") == task("a")
    async with database.write() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(StackError, match="newer vibesurf-blocks"):
        await upgrade(database_url)


async def test_somebody_elses_tasks_are_left_alone(database_url: str) -> None:
    database = Database(database_url)
    try:
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE tasks (id INTEGER)"))
        with pytest.raises(StackError, match="another table called 'tasks'"):
            await upgrade(database_url)
        async with database.read() as connection:
            names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    finally:
        await database.aclose()
    assert "schedules" not in names


async def test_an_upgrade_that_was_killed_half_way_is_finished(
    mysql_url: str,
) -> None:
    await upgrade(mysql_url)
    database = Database(mysql_url)
    try:
        async with database.write() as connection:
            for statement in (
                "DROP TABLE llm_profiles",
                "DROP INDEX idx_tasks_updated ON tasks",
                f"DELETE FROM {VERSION_TABLE}",
            ):
                await connection.execute(text(statement))
        assert await upgrade(mysql_url) == Upgraded(before=None, after=HEAD)
        async with database.read() as connection:
            indexes = await connection.run_sync(lambda sync: inspect(sync).get_indexes("tasks"))
            assert "idx_tasks_updated" in {index["name"] for index in indexes}
    finally:
        await database.aclose()
