"""Fills databases with what years of use would leave: ended tasks, and schedules in Prefect."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import MetaData, Select, Table, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.benchmarks.stack import Stack
from vibesurf_blocks.tables.database import Database
from vibesurf_blocks.tables.models import TaskRow

SESSIONS = 1_000
_CHUNK = 500

_SERIES = {
    "sqlite": "WITH RECURSIVE n(i) AS "
    "(SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})",
    "postgresql": "WITH n(i) AS (SELECT generate_series({first}, {last}))",
}
_MADE = {
    "sqlite": "strftime('%Y-%m-%d %H\\:%M\\:%f000', '2000-01-01', '+' || n.i || ' seconds')",
    "postgresql": "timestamptz '2000-01-01' + n.i * interval '1 second'",
}
_ID = {"sqlite": "printf('%036d', n.i)", "postgresql": "lpad(n.i\\:\\:text, 36, '0')"}


async def fill_tasks(url: str, rows: int, *, first: int = 1) -> None:
    """Add copies of a task that has ended, a second apart and long ago, of every end there is.

    They are numbered from `first`.
    """
    database = Database(url, timeout=300)
    kind = database.dialect
    changed = {
        "task_id": _ID[kind],
        "session_id": f"'session-' || (n.i % {SESSIONS})",
        "status": "CASE n.i % 10 WHEN 0 THEN 'failed' WHEN 1 THEN 'stopped' ELSE 'completed' END",
        **dict.fromkeys(("created_at", "updated_at", "started_at", "completed_at"), _MADE[kind]),
    }
    columns = [column.name for column in TaskRow.__table__.columns]
    values = ", ".join(changed.get(name, f"one.{name}") for name in columns)
    series = _SERIES[kind].format(first=first, last=first + rows - 1)
    statement = (
        f"INSERT INTO tasks ({', '.join(columns)}) {series} "
        f"SELECT {values} FROM n, (SELECT * FROM tasks WHERE status = 'completed' LIMIT 1) AS one"
    )
    try:
        async with database.write() as connection:
            await connection.execute(text(statement))
            await connection.execute(text("ANALYZE"))
    finally:
        await database.aclose()


async def fill_schedules(stack: Stack, name: str, count: int) -> None:
    """Add copies of the deployment of this name, and of its schedule, to Prefect's database.

    Through its API it would take ten minutes.
    """
    engine = create_async_engine(_prefect_url(stack))
    try:
        async with engine.begin() as connection:
            known = MetaData()
            await connection.run_sync(
                known.reflect, only=["deployment", "deployment_schedule"], resolve_fks=False
            )
            deployments, schedules = known.tables["deployment"], known.tables["deployment_schedule"]
            one = await _only(connection, select(deployments).where(deployments.c.name == name))
            its = await _only(
                connection, select(schedules).where(schedules.c.deployment_id == one["id"])
            )
            for start in range(0, count, _CHUNK):
                made: list[tuple[dict[str, Any], dict[str, Any]]] = []
                for number in range(start, min(count, start + _CHUNK)):
                    of_this = _as_stored(uuid4(), one["id"])
                    own = {"id": _as_stored(uuid4(), its["id"]), "deployment_id": of_this}
                    named = {"id": of_this, "name": f"{name}-{number:05}"}
                    made.append(({**one, **named}, {**its, **own}))
                await connection.execute(insert(deployments), [first for first, _ in made])
                await connection.execute(insert(schedules), [second for _, second in made])
            # As the server would have done long ago, had they come one by one.
            await connection.execute(text("ANALYZE"))
    finally:
        await engine.dispose()


async def fill_runs(stack: Stack, run_id: UUID, count: int) -> None:
    """Add copies of a run that has ended, as if they had run a year ago, to Prefect's database.

    With its states, its steps and what it published; events and logs apart. In transactions of
    `_CHUNK` runs, so that the server beside it can write.
    """
    engine = create_async_engine(_prefect_url(stack), connect_args={"timeout": 60})
    names = ("flow_run", "flow_run_state", "task_run", "task_run_state", "artifact")
    try:
        async with engine.begin() as connection:
            known = MetaData()
            await connection.run_sync(known.reflect, only=names, resolve_fks=False)
            tables = [known.tables[name] for name in names]
            run = await _one_of(connection, tables[0], "id", run_id)
            steps = await _all(connection, tables[2], "flow_run_id", [run["id"]])
            step_ids = [step["id"] for step in steps]
            rows = [
                [run],
                await _all(connection, tables[1], "flow_run_id", [run["id"]]),
                steps,
                await _all(connection, tables[3], "task_run_id", step_ids),
                await _all(connection, tables[4], "flow_run_id", [run["id"]]),
            ]
        for start in range(0, count, _CHUNK):
            copies: list[list[dict[str, Any]]] = [[] for _ in tables]
            for number in range(start, min(count, start + _CHUNK)):
                ids = {row["id"]: _as_stored(uuid4(), row["id"]) for of in rows for row in of}
                ago = timedelta(days=365) - timedelta(seconds=number)
                for made, of in zip(copies, rows, strict=True):
                    made += [_copy(row, ids, ago) for row in of]
            async with engine.begin() as connection:
                if stack.database == "postgres":
                    # A run names its state and the state its run: one of them comes first.
                    await connection.execute(text("SET LOCAL session_replication_role = replica"))
                for table, made in zip(tables, copies, strict=True):
                    if made:
                        await connection.execute(insert(table), made)
        async with engine.begin() as connection:
            await connection.execute(text("ANALYZE"))
    finally:
        await engine.dispose()


def _copy(row: dict[str, Any], ids: dict[Any, Any], ago: timedelta) -> dict[str, Any]:
    """A row with other ids, of another time, and no key that has to be its own."""
    copied = {
        name: value - ago
        if isinstance(value, datetime)
        else ids.get(value, value)
        if isinstance(value, UUID | str)
        else value
        for name, value in row.items()
    }
    return copied | {name: None for name in ("idempotency_key",) if name in copied}


async def _one_of(
    connection: AsyncConnection, table: Table, column: str, wanted: UUID
) -> dict[str, Any]:
    stored: UUID | str = wanted if connection.dialect.name == "postgresql" else str(wanted)
    return await _only(connection, select(table).where(table.c[column] == stored))


async def _all(
    connection: AsyncConnection, table: Table, column: str, wanted: list[Any]
) -> list[dict[str, Any]]:
    found = await connection.execute(select(table).where(table.c[column].in_(wanted)))
    return [dict(row._mapping) for row in found]


async def _only(connection: AsyncConnection, query: Select[Any]) -> dict[str, Any]:
    return dict((await connection.execute(query)).one()._mapping)


def _as_stored(new: UUID, like: object) -> UUID | str:
    """An id in the form that the database has them in."""
    return new if isinstance(like, UUID) else str(new) if "-" in str(like) else new.hex


def _prefect_url(stack: Stack) -> str:
    if stack.database == "sqlite":
        return f"sqlite+aiosqlite:///{next(stack.home.rglob('prefect.db'))}"
    pid = next(stack.home.rglob("postmaster.pid"))
    sockets = Path(pid.read_text().splitlines()[4])
    return f"postgresql+asyncpg://postgres:@/postgres?host={sockets}"
