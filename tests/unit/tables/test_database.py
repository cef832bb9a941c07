"""Database URLs, their errors, and how SQLite is opened."""

from __future__ import annotations

import asyncio
import sys
import traceback
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from vibesurf_blocks.errors import InvalidInput, StackError, Unavailable, VibesurfError
from vibesurf_blocks.tables import upgrade
from vibesurf_blocks.tables.database import Database, async_url

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:////srv/a.db", "sqlite+aiosqlite:////srv/a.db"),
        ("postgres://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql://u@h:1/d?sslmode=require", "postgresql+asyncpg://u@h:1/d?ssl=require"),
        ("postgresql+asyncpg:///d?host=/run", "postgresql+asyncpg:///d?host=/run"),
        ("mysql://u@h/d", "mysql+aiomysql://u@h/d?charset=utf8mb4"),
        ("mariadb://u@h/d?charset=latin1", "mysql+aiomysql://u@h/d?charset=utf8mb4"),
        ("mariadb+aiomysql://u@h/d", "mysql+aiomysql://u@h/d?charset=utf8mb4"),
    ],
)
def test_urls_get_the_async_driver(given: str, used: str) -> None:
    assert async_url(given).render_as_string(hide_password=False).replace("%2F", "/") == used


def test_relative_sqlite_files_are_of_this_folder() -> None:
    assert async_url("sqlite:///a.db").database == str(Path.cwd() / "a.db")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "cannot be read"),
        ("", "cannot be read"),
        (f"postgresql://u:{SECRET}@h:port/d", "cannot be read"),
        (f"oracle://u:{SECRET}@h/d", "cannot live in 'oracle'"),
        (f"postgresql+psycopg2://u:{SECRET}@h/d", "asyncpg"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "in memory"),
    ],
)
def test_other_urls_are_refused_with_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        Database(url)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


async def _refused(database: Database) -> VibesurfError:
    try:
        with pytest.raises(VibesurfError) as refused:
            await database.check()
        return refused.value
    finally:
        await database.aclose()


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_an_unreachable_server_is_named_without_the_password(
    scheme: str, unused_tcp_port: int
) -> None:
    database = Database(f"{scheme}://someone:{SECRET}@127.0.0.1:{unused_tcp_port}/tables")
    error = await _refused(database)
    assert isinstance(error, Unavailable)
    assert f"{scheme}://127.0.0.1:{unused_tcp_port}/tables cannot be opened" in error.message
    shown = "".join(traceback.format_exception(error))
    assert SECRET not in f"{shown} {database!r} {database} {database.url}"


async def test_an_option_the_driver_does_not_know_is_named(unused_tcp_port: int) -> None:
    error = await _refused(Database(f"postgresql://h:{unused_tcp_port}/d?colour={SECRET}"))
    assert isinstance(error, InvalidInput)
    assert "colour" in error.message
    assert SECRET not in error.message


def test_a_driver_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "aiomysql", None)
    with pytest.raises(StackError, match=r"vibesurf-blocks\[mysql\]") as refused:
        Database(f"mysql://u:{SECRET}@h/d")
    assert SECRET not in refused.value.message


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="cannot be made"):
        Database(f"sqlite:///{tmp_path}/file/a.db")


async def test_sqlite_is_opened_for_many_processes(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/new/folder/a.db")
    try:
        async with database.write() as connection:
            pragmas = {
                name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            await connection.exec_driver_sql("CREATE TABLE t (x)")
        assert pragmas == {
            "journal_mode": "wal",
            "synchronous": 1,
            "foreign_keys": 1,
            "busy_timeout": 30_000,
        }
        async with database.read() as connection:
            with pytest.raises(DBAPIError, match="readonly"):
                await connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    finally:
        await database.aclose()


async def test_a_failed_statement_does_not_show_its_values(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    try:
        async with database.read() as connection:
            with pytest.raises(DBAPIError, match="no such table") as failed:
                await connection.execute(text("SELECT * FROM t WHERE x = :x"), {"x": SECRET})
    finally:
        await database.aclose()
    assert SECRET not in str(failed.value)


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("no database at all, but long enough to look at " * 100)
    with pytest.raises(Unavailable, match=r"a\.db cannot be opened: file is not a database"):
        await upgrade(f"sqlite:///{tmp_path}/a.db")


async def test_sqlite_writers_wait_for_each_other_and_readers_do_not(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    database, other, hasty = Database(url), Database(url), Database(url, timeout=0.01)
    try:
        async with database.write() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (x)")

        async def add(writer: Database) -> None:
            async with writer.write() as connection:
                found = await connection.exec_driver_sql("SELECT count(*) FROM t")
                await connection.exec_driver_sql(f"INSERT INTO t VALUES ({found.scalar_one()})")

        # Each reads before it writes: without BEGIN IMMEDIATE some would fail or count twice.
        await asyncio.gather(*(add((database, other)[n % 2]) for n in range(20)))
        async with database.write() as connection:
            await connection.exec_driver_sql("DELETE FROM t")
            async with other.read() as reader:
                seen = await reader.exec_driver_sql("SELECT count(*), count(DISTINCT x) FROM t")
                assert tuple(seen.one()) == (20, 20)
            with pytest.raises(Unavailable, match="locked"):
                await add(hasty)
    finally:
        for each in (database, other, hasty):
            await each.aclose()


async def test_a_failed_write_leaves_nothing_and_no_lock(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db")

    async def fail() -> None:
        async with database.write() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (x)")
            raise RuntimeError

    async def hang(started: asyncio.Event) -> None:
        async with database.write() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (x)")
            started.set()
            await asyncio.Event().wait()

    try:
        with pytest.raises(RuntimeError):
            await fail()
        started = asyncio.Event()
        hanging = asyncio.create_task(hang(started))
        await started.wait()
        hanging.cancel()
        await asyncio.wait([hanging])
        async with database.write() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (x)")
    finally:
        await database.aclose()
