"""What is asked at each look goes through an index of a table full of ended tasks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import event

from tests.support.records import task
from vibesurf_blocks.tables import Database, TaskStore, upgrade
from vibesurf_blocks.tasks import Status

_ALL_ENDS = (Status.COMPLETED, Status.FAILED, Status.STOPPED)


@pytest.mark.parametrize("rows", [1_000, 3_000])
@pytest.mark.parametrize("ends", [_ALL_ENDS, _ALL_ENDS[:1]], ids=["every end", "one end"])
@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never analyzed"])
async def test_what_has_not_ended_is_found_by_an_index(
    tmp_path: Path, rows: int, ends: Sequence[Status], analyzed: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'tables.db'}"
    await upgrade(url)
    database = Database(url)
    store = TaskStore(database)
    await store.upsert([task(f"t{one}", ends[one % len(ends)], one) for one in range(rows)])
    if analyzed:
        with sqlite3.connect(tmp_path / "tables.db") as connection:
            connection.execute("ANALYZE")
    await database.aclose()
    database = Database(url)  # whose connections read the statistics
    store = TaskStore(database)
    sent: list[str] = []

    @event.listens_for(database._reader.sync_engine, "connect")
    def note(connection: sqlite3.Connection, _record: object) -> None:
        connection.run_async(  # type: ignore[attr-defined] # aiosqlite's, as SQLAlchemy adapts it
            lambda raw: raw.set_trace_callback(sent.append)
        )

    await store.active()
    await store.unfinished_ids()
    await store.queue()
    await store.place("t1")
    await store.oldest_waiting()
    await database.aclose()
    asked = [statement for statement in sent if "FROM tasks" in statement]
    assert len(asked) == 5
    with sqlite3.connect(tmp_path / "tables.db") as connection:
        for statement in asked:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}")
            read = [step for *_, step in plan if step.startswith(("SCAN tasks", "SEARCH tasks"))]
            assert read, statement
            assert all(step.startswith("SEARCH") for step in read), (statement, read)
