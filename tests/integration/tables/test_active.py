"""Which task is the active one, and which ended last."""

from __future__ import annotations

from tests.support.records import at, task
from vibesurf_blocks.tables import TaskMetadata, TaskRecord, TaskStore
from vibesurf_blocks.tasks import Priority, Status

SUSPENDED = TaskMetadata(suspended=True)

ended = [task("e1", Status.COMPLETED, 1), task("e2", Status.FAILED, 3), task("e3", Status.STOPPED)]
pending = [task("p2", second=11), task("p1", second=10), task("p0", second=11)]
suspended = [
    task("s2", Status.PAUSED, 2, task_metadata=SUSPENDED),
    task("s1", Status.PAUSED, 1, task_metadata=SUSPENDED),
]
running = task("r", Status.RUNNING, 30)
paused = task("q", Status.PAUSED, 29)
created_early_started_late = task("c", Status.RUNNING, 0, started_at=at(40))


CONSTELLATIONS: list[tuple[list[TaskRecord], str | None]] = [
    ([], None),
    (ended, None),
    ([*ended, *suspended], "s1"),
    ([*ended, *suspended, *pending], "p1"),
    ([*pending[::2], *suspended], "p0"),
    ([*ended, *suspended, *pending, running], "r"),
    ([*ended, *suspended, *pending, running, paused], "q"),
    ([created_early_started_late, running], "r"),
]


async def test_active_in_each_constellation(store: TaskStore) -> None:
    for records, active in CONSTELLATIONS:
        await store.clear()
        await store.upsert(records)
        found = await store.active()
        assert (found and found.task_id) == active, [record.task_id for record in records]
        assert found is None or found in records


async def test_last_ended_and_unfinished(store: TaskStore) -> None:
    assert await store.last_ended() is None
    await store.upsert([*ended, *pending, *suspended, running])
    assert await store.last_ended() == ended[1]
    assert await store.unfinished_ids() == ["s1", "s2", "p1", "p0", "p2", "r"]


async def test_the_queue_goes_by_priority_then_by_when_a_task_was_due(store: TaskStore) -> None:
    def waits(task_id: str, priority: Priority, second: float | None) -> TaskRecord:
        due = None if second is None else at(second)
        return task(task_id, task_metadata=TaskMetadata(priority=priority, due_at=due))

    await store.upsert(
        [
            waits("l", Priority.LOW, 1),
            waits("n2", Priority.NORMAL, 9.876544),  # with no fraction of a second
            waits("n3", Priority.NORMAL, 10),
            waits("n1", Priority.NORMAL, None),
            waits("h", Priority.HIGH, 50),
            running,
            *ended,
        ]
    )
    order = ["h", "n1", "n2", "n3", "l"]
    found, total = await store.queue()
    assert ([one.task_id for one in found], total) == (order, 5)
    found, total = await store.queue(limit=2, offset=1)
    assert ([one.task_id for one in found], total) == (order[1:3], 5)
    assert [await store.place(one) for one in [*order, "r", "nix"]] == [1, 2, 3, 4, 5, 0, 0]
