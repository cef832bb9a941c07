"""What the mirror asks at each look goes through an index of a table full of ended tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from tests.support.records import task
from vibesurf_blocks.tables import Database, TaskStore, upgrade
from vibesurf_blocks.tasks import Status

_ENDED = (Status.COMPLETED, Status.FAILED, Status.STOPPED)


async def test_what_has_not_ended_is_found_by_an_index(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tables.db'}"
    await upgrade(url)
    database = Database(url)
    store = TaskStore(database)
    await store.upsert([task(f"t{one}", _ENDED[one % 3], one) for one in range(3_000)])
    async with database.write() as connection:
        await connection.execute(text("ANALYZE"))  # without, SQLite knows not how full it is
    sent: list[tuple[str, Any]] = []

    def note(_c: object, _u: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    event.listen(database._reader.sync_engine, "before_cursor_execute", note)
    await store.unfinished_ids()
    ((statement, parameters),) = sent
    async with database.read() as connection:
        plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        steps = [row[3] for row in plan]
    assert [step.split()[0] for step in steps] == ["SEARCH"], steps
    await database.aclose()
