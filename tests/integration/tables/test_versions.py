"""Every version of the tables is brought to the newest with its rows; a newer one is left alone."""

from __future__ import annotations

import asyncio
import shutil
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, DateTime, Integer, MetaData, Table, inspect, select, text
from sqlalchemy.dialects.mysql import TINYINT

from tests.support.commands import command
from tests.support.stack import clean_env
from vibesurf_blocks.tables import Database, Upgraded, upgrade
from vibesurf_blocks.tables.counts import COUNTS, count_tasks
from vibesurf_blocks.tables.marks import MARKS
from vibesurf_blocks.tables.upgrade import MIGRATIONS, VERSION_TABLE, head

ROWS = 3
FUTURE = '''
"""A migration that is yet to be written: a column, a filled one, and an index."""
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade():
    op.add_column("tasks", sa.Column("host", sa.String(255)))
    op.execute("UPDATE tasks SET host = 'here'")
    op.create_index("idx_tasks_host", "tasks", ["host"])
'''


def versions() -> list[str]:
    """All versions there are, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    return [one.revision for one in reversed(list(scripts.walk_revisions()))]


def _value(column: Any, number: int) -> Any:
    match column.type:
        case Boolean() | TINYINT():
            return True
        case DateTime():
            moment = datetime(2026, 3, 1, 12, 0, number, 123456, tzinfo=UTC)
            aware = getattr(column.type, "timezone", False)
            return moment if aware else moment.replace(tzinfo=None)
        case JSON():
            return {"number": number}
        case Integer():
            return number
    if column.name == "status":
        return "completed"
    # MariaDB's JSON is a text with a check.
    return f'{{"{column.name}": {number}}}' if "VARCHAR" not in str(column.type) else f"{number}"


async def _tables(database: Database) -> dict[str, Table]:
    """The tables as the database has them, whatever the models say by now."""
    metadata = MetaData()
    async with database.read() as connection:
        await connection.run_sync(metadata.reflect)
    ours = metadata.tables.keys() - {VERSION_TABLE, COUNTS.name, MARKS.name}
    return {name: table for name, table in metadata.tables.items() if name in ours}


async def _rows(database: Database, columns: dict[str, list[str]]) -> dict[str, list[Any]]:
    tables = await _tables(database)
    found = {}
    async with database.read() as connection:
        for name, names in columns.items():
            table = tables[name]
            query = select(*(table.c[one] for one in names)).order_by(*table.primary_key)
            found[name] = [tuple(row) for row in await connection.execute(query)]
    return found


async def _fill(database: Database) -> dict[str, list[str]]:
    """Put rows into every table, with a value in each column; the columns by table."""
    tables = await _tables(database)
    async with database.write() as connection:
        for table in tables.values():
            await connection.execute(
                table.insert(),
                [
                    {column.name: _value(column, number) for column in table.c}
                    for number in range(1, ROWS + 1)
                ],
            )
    return {name: [column.name for column in table.c] for name, table in tables.items()}


@pytest.mark.parametrize("version", versions())
async def test_each_version_is_upgraded_with_its_rows(database_url: str, version: str) -> None:
    assert await upgrade(database_url, to=version) == Upgraded(before=None, after=version)
    database = Database(database_url)
    try:
        columns = await _fill(database)
        before = await _rows(database, columns)
        assert all(len(rows) == ROWS for rows in before.values())
        assert await upgrade(database_url) == Upgraded(before=version, after=head())
        assert await _rows(database, columns) == before
        async with database.read() as connection:
            assert await count_tasks(connection) == ROWS
    finally:
        await database.aclose()


async def test_the_next_version_will_be_reached_by_one_of_many(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = versions()[-1]
    await upgrade(database_url)
    database = Database(database_url)
    try:
        columns = await _fill(database)
        before = await _rows(database, columns)
        folder = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, folder)
        future = FUTURE.format(revision="9999", before=newest)
        (folder / "versions" / "v9999_host.py").write_text(future)
        # The package has a function of the module's name.
        module = import_module("vibesurf_blocks.tables.upgrade")
        monkeypatch.setattr(module, "MIGRATIONS", folder)
        done = await asyncio.gather(*(upgrade(database_url) for _ in range(3)))
        assert sorted(one.before or "" for one in done) == sorted([newest, "9999", "9999"])
        assert await _rows(database, columns) == before
        assert await _rows(database, {"tasks": ["host"]}) == {"tasks": [("here",)] * ROWS}
        monkeypatch.undo()

        with pytest.raises(Exception, match=r"newer vibesurf-blocks \(revision 9999\)"):
            await upgrade(database_url)
        assert await _rows(database, {"tasks": ["host"]}) == {"tasks": [("here",)] * ROWS}
    finally:
        await database.aclose()


async def _made_newer(url: str) -> None:
    await upgrade(url)
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        await connection.execute(text("DROP TABLE llm_profiles"))
    await database.aclose()


async def _untouched(url: str) -> None:
    database = Database(url)
    async with database.read() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        version = await connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    await database.aclose()
    kept = {"schedules", "tasks", VERSION_TABLE}
    assert (set(names) - {COUNTS.name, MARKS.name}, version) == (kept, "9999")


async def test_the_command_refuses_a_newer_database(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _made_newer(database_url)
    monkeypatch.setenv("VIBESURF_DATABASE_URL", database_url)
    said = await command("http://127.0.0.1:1", "db", "upgrade")
    assert said.code == 2
    assert "made by a newer vibesurf-blocks (revision 9999)" in said.words
    await _untouched(database_url)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["api", "mirror", "up", "prune"])
async def test_every_part_refuses_a_newer_database(
    sqlite_url: str, tmp_path: Path, part: str, unused_tcp_port_factory: Any
) -> None:
    await _made_newer(sqlite_url)
    more = {
        "api": ["--port", str(unused_tcp_port_factory())],
        "up": ["--port", str(unused_tcp_port_factory())],
        "prune": ["--older-than", "1d", "--yes"],
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vibesurf_blocks",
        part,
        *more.get(part, []),
        env=clean_env(
            VIBESURF_DATABASE_URL=sqlite_url,
            VIBESURF_HOME=str(tmp_path / "home"),
            PREFECT_HOME=str(tmp_path / "prefect"),
            PREFECT_API_URL=f"http://127.0.0.1:{unused_tcp_port_factory()}/api",
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    said = " ".join(output.decode().split())
    assert process.returncode == 2, said
    assert "made by a newer vibesurf-blocks (revision 9999)" in said
    assert "Traceback" not in said
    await _untouched(sqlite_url)
