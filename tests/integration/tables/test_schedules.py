"""The rows of `schedules`: written, kept from older states, made room for, deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.records import at
from vibesurf_blocks.tables import Database, ScheduleRecord, ScheduleStore


def schedule(number: str, second: float = 0, **more: Any) -> ScheduleRecord:
    values: dict[str, Any] = {
        "id": number,
        "flow_id": f"flow-{number}",
        "cron_expression": "00 08 * * *",
        "created_at": at(0),
        "updated_at": at(second),
    }
    return ScheduleRecord.model_validate({**values, **more})


async def test_what_is_written_is_read(database: Database) -> None:
    store = ScheduleStore(database)
    one = schedule("a", description="Ü\U0001f600", next_execution_at=at(60), execution_count=2**40)
    await store.write([one, schedule("b", created_at=at(1))])
    assert await store.all() == [one, schedule("b", created_at=at(1))]
    assert await store.get("flow-a") == await store.by_id("a") == one
    assert await store.get("flow-x") is None
    await store.delete("a")
    assert [row.id for row in await store.all()] == ["b"]
    await store.clear()
    assert await store.all() == []


async def test_an_older_state_does_not_overwrite_a_newer_one(database: Database) -> None:
    store = ScheduleStore(database)
    newer = schedule("a", 5, is_enabled=False)
    await store.write([newer])
    await store.write([schedule("a", 4)])
    assert await store.by_id("a") == newer
    await store.write([schedule("a", 5, execution_count=1)])
    assert await store.by_id("a") == schedule("a", 5, execution_count=1)


async def test_executions_can_be_left_as_they_are(database: Database) -> None:
    store = ScheduleStore(database)
    await store.write([schedule("a", execution_count=3, last_execution_at=at(1))])
    await store.write([schedule("a", 1, is_enabled=False)], counts=False)
    row = await store.by_id("a")
    assert row is not None
    assert (row.execution_count, row.last_execution_at, row.is_enabled) == (3, at(1), False)


async def test_a_schedule_that_was_deleted_meanwhile_gets_no_row(database: Database) -> None:
    store = ScheduleStore(database)
    await store.write([schedule("a"), schedule("b")], fresh={"b"})
    assert [row.id for row in await store.all()] == ["b"]


async def test_a_schedule_made_anew_takes_the_place_of_the_old_one(database: Database) -> None:
    store = ScheduleStore(database)
    await store.write([schedule("a"), schedule("b")])
    await store.write([schedule("c", flow_id="flow-a"), schedule("b", 1, flow_id="flow-c")])
    assert {row.id: row.flow_id for row in await store.all()} == {"c": "flow-a", "b": "flow-c"}
    await store.write([schedule("b", 2, flow_id="flow-a"), schedule("c", 2, flow_id="flow-c")])
    assert {row.id: row.flow_id for row in await store.all()} == {"b": "flow-a", "c": "flow-c"}


async def test_many_writers_at_once_lose_nothing(database: Database) -> None:
    store = ScheduleStore(database)
    await asyncio.gather(*(store.write([schedule(f"{n}"), schedule("all", n)]) for n in range(30)))
    rows = {row.id: row for row in await store.all()}
    assert len(rows) == 31
    assert rows["all"].updated_at == at(29)


async def test_a_thousand_are_written_at_once(database: Database) -> None:
    store = ScheduleStore(database)
    await store.write([schedule(f"{n}") for n in range(1_100)])
    await store.write([schedule(f"{n}", 1, is_enabled=False) for n in range(1_100)])
    rows = await store.all()
    assert len(rows) == 1_100
    assert not any(row.is_enabled for row in rows)
    await store.write([], gone=[row.id for row in rows])
    assert await store.all() == []
