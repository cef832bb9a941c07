"""One batched write: idempotent, and an older state never overwrites a newer one."""

from __future__ import annotations

import asyncio
import random

from tests.support.records import at, task
from vibesurf_blocks.tables import Database, TaskMetadata, TaskStore
from vibesurf_blocks.tasks import Status


async def test_changed_ids_are_those_that_really_changed(store: TaskStore) -> None:
    assert await store.upsert([]) == []
    a, b = task("a"), task("b")
    assert sorted(await store.upsert([a, b])) == ["a", "b"]
    assert await store.upsert([a, b]) == []
    later = a.model_copy(update={"updated_at": at(1)})
    assert await store.upsert([later, b]) == ["a"]
    same_time = later.model_copy(update={"task_metadata": TaskMetadata(progress=5)})
    assert await store.upsert([same_time]) == ["a"]
    assert await store.get("a") == same_time
    assert await store.get("b") == b


async def test_older_never_overwrites_newer_in_either_order(store: TaskStore) -> None:
    older = task("a", updated_at=at(1))
    newer = task("a", Status.RUNNING, updated_at=at(2))
    assert await store.upsert([older]) == ["a"]
    assert await store.upsert([newer]) == ["a"]
    assert await store.upsert([older]) == []
    assert await store.get("a") == newer
    await store.clear()
    assert await store.get("a") is None
    assert await store.upsert([newer]) == ["a"]
    assert await store.upsert([older]) == []
    assert await store.get("a") == newer
    # The same within one batch, and by a single microsecond.
    hair = newer.model_copy(update={"updated_at": newer.updated_at.replace(microsecond=123457)})
    assert await store.upsert([older, hair, newer]) == ["a"]
    assert await store.get("a") == hair


async def test_first_times_never_move(store: TaskStore) -> None:
    await store.upsert([task("a")])
    await store.upsert([task("a", Status.RUNNING, 1)])
    await store.upsert([task("a", Status.COMPLETED, 5)])
    found = await store.get("a")
    assert found is not None
    assert (found.created_at, found.started_at) == (at(0), at(1))
    assert (found.updated_at, found.completed_at) == (at(5), at(5))
    await store.upsert([task("a", Status.PENDING, 6)])
    retried = await store.get("a")
    assert retried is not None
    assert (retried.started_at, retried.completed_at) == (at(1), None)


async def test_two_writers_at_once_end_with_the_newest(
    database_url: str, database: Database
) -> None:
    other = Database(database_url)
    states = [
        task(f"{number}", updated_at=at(second), task_result=f"{second}")
        for number in range(5)
        for second in range(40)
    ]
    shuffled = random.Random(7).sample(states, len(states))

    async def write(writer: Database, part: int) -> None:
        mine = shuffled[part::4]
        for start in range(0, len(mine), 5):
            await TaskStore(writer).upsert(mine[start : start + 5])

    try:
        async with asyncio.TaskGroup() as group:
            for part in range(4):
                group.create_task(write(database if part % 2 else other, part))
        page = await TaskStore(database).page()
    finally:
        await other.aclose()
    assert {record.task_id: record.task_result for record in page.records} == dict.fromkeys(
        "01234", "39"
    )


async def test_large_batches_are_one_write(store: TaskStore) -> None:
    records = [task(f"{number:05}", second=number) for number in range(2_100)]
    records += [task(f"big{number}", task_result="x" * 1_000_000) for number in range(3)]
    assert len(await store.upsert(records)) == 2_103
    assert await store.existing_ids([*(r.task_id for r in records), "none"]) == {
        record.task_id for record in records
    }
    assert len(await store.unfinished_ids()) == 2_103
