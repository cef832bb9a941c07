"""Ended tasks in pages, oldest first; deleted where they still are ended and old."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from tests.support.records import at, task
from vibesurf_blocks.tables import Database, TaskMetadata, TaskStore
from vibesurf_blocks.tables.ended import EndedTasks
from vibesurf_blocks.tables.records import Adopted
from vibesurf_blocks.tasks import Status


def before(second: float) -> tuple[datetime, str]:
    return at(second), ""


async def test_pages_hold_what_has_ended_before_a_place(
    database: Database, store: TaskStore
) -> None:
    ended = EndedTasks(database)
    # Three tasks a second share their time: the id decides between them.
    records = [task(f"{number:02}", Status.FAILED, number // 3) for number in range(10)]
    await store.upsert([*records, task("running", Status.RUNNING), task("waits")])
    seen: list[str] = []
    after = None
    while page := await ended.page(before(3), after, 4):
        seen += [one.task_id for one in page]
        after = page[-1].place
    assert seen == [record.task_id for record in records[:9]]
    assert await ended.count(before(3)) == 9
    assert await ended.count((at(0), "02")) == 2
    assert await ended.place_of_newest(1) == (at(3), "09")
    assert await ended.place_of_newest(3) == (at(2), "07")
    assert await ended.place_of_newest(11) is None


async def test_a_row_tells_its_session_and_its_parent(database: Database, store: TaskStore) -> None:
    parent, child, alone = str(uuid4()), str(uuid4()), "no flow run's id"
    metadata = TaskMetadata(parent_task_id=parent)
    await store.upsert(
        [
            task(child, Status.STOPPED, session_id="a", task_metadata=metadata),
            task(alone, Status.COMPLETED, 1, session_id="b"),
        ]
    )
    first, second = await EndedTasks(database).page(before(2), None, 10)
    assert (first.session_id, first.parent_task_id, str(first.run_id)) == ("a", parent, child)
    assert (second.session_id, second.parent_task_id, second.run_id) == ("b", None, None)


async def test_a_row_that_was_taken_over_tells_its_report(
    database: Database, store: TaskStore
) -> None:
    adopted = TaskMetadata(adopted=Adopted(status="completed"))
    old = "/ws/a/reports/old_1.html"
    await store.upsert(
        [
            task("1", Status.COMPLETED, 0, task_metadata=adopted, report_path=old, session_id="a"),
            task("2", Status.COMPLETED, 1, task_metadata=adopted, report_path=old, session_id="a"),
            task("3", Status.COMPLETED, 2, report_path="/ws/a/reports/report_3.html"),
            # A name in which `_` is any character is not the same name.
            task("4", Status.COMPLETED, 3, report_path="/ws/a/reports/oldX1.html", session_id="a"),
        ]
    )
    ended = EndedTasks(database)
    rows = await ended.page(before(4), None, 10)
    assert [one.own_report for one in rows] == ["old_1.html", "old_1.html", None, None]
    assert await ended.named_by_others(rows[:1]) == {("a", "old_1.html")}
    assert await ended.named_by_others(rows[:2]) == set()
    assert await store.newest_ids(10) == ["4", "3"]


async def test_only_what_is_ended_and_old_is_deleted(database: Database, store: TaskStore) -> None:
    ended = EndedTasks(database)
    await store.upsert(
        [
            task("old", Status.COMPLETED, 0),
            task("other", Status.COMPLETED, 0),
            task("new", Status.COMPLETED, 5),
            task("again", Status.COMPLETED, 0),
        ]
    )
    # Seen as ended, and run again since.
    await store.upsert([task("again", Status.RUNNING, 1, completed_at=None)])
    assert await ended.delete(["old", "new", "again", "none"], before(5)) == 1
    assert await store.existing_ids(["old", "other", "new", "again"]) == {"other", "new", "again"}
    many = [task(f"{number:04}", Status.STOPPED) for number in range(1_200)]
    await store.upsert(many)
    assert await ended.delete([one.task_id for one in many], before(1)) == 1_200


async def test_sessions_without_rows(database: Database, store: TaskStore) -> None:
    await store.upsert([task("1", session_id="a"), task("2", session_id="b")])
    ended = EndedTasks(database)
    assert await ended.sessions_without_rows(["a", "A", "c"]) == {"A", "c"}
    assert await ended.sessions_without_rows([]) == set()
