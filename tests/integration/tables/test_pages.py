"""Pages of tasks: newest first, stable while rows come in."""

from __future__ import annotations

import base64

import pytest

from tests.support.records import task
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.tables import TaskStore
from vibesurf_blocks.tasks import Status


async def test_pages_do_not_shift_while_rows_are_inserted(store: TaskStore) -> None:
    # Three tasks a second share their time: the id decides between them.
    records = [task(f"{number:03}", second=number // 3) for number in range(25)]
    await store.upsert(records)
    seen: list[str] = []
    cursor: str | None = None
    for new in range(100, 200):
        page = await store.page(limit=4, cursor=cursor)
        seen += [record.task_id for record in page.records]
        await store.upsert([task(f"{new}", second=new)])
        assert page.total_count == 25 + new - 100
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [record.task_id for record in reversed(records)]


async def test_filters(store: TaskStore) -> None:
    await store.upsert(
        [
            task("1", Status.COMPLETED, 1, session_id="a", llm_profile_name="x"),
            task("2", Status.COMPLETED, 2, session_id="A", llm_profile_name="x"),
            task("3", Status.FAILED, 3, session_id="a", llm_profile_name="y"),
        ]
    )

    async def ids(**filters: str) -> list[str]:
        page = await store.page(
            status=Status(filters["status"]) if "status" in filters else None,
            session_id=filters.get("session_id"),
            llm_profile_name=filters.get("llm_profile_name"),
        )
        assert page.total_count == len(page.records)
        assert page.next_cursor is None
        return [record.task_id for record in page.records]

    assert await ids() == ["3", "2", "1"]
    assert await ids(status="completed") == ["2", "1"]
    assert await ids(session_id="a") == ["3", "1"]
    assert await ids(llm_profile_name="x", session_id="a") == ["1"]
    assert await ids(status="running") == []


async def test_what_no_row_can_hold_is_in_none(store: TaskStore) -> None:
    """PostgreSQL would refuse to look for it."""
    await store.upsert([task("a")])
    assert await store.get("\x00") is None
    for page in (
        await store.page(session_id="a\x00"),
        await store.page(llm_profile_name="\ud800"),
    ):
        assert (page.records, page.total_count, page.next_cursor) == ([], 0, None)
    place = base64.urlsafe_b64encode(b'["2026-03-01T12:00:00+00:00","\\u0000"]').decode()
    with pytest.raises(InvalidInput, match="cursor"):
        await store.page(cursor=place)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("cursor", ["", "x", "näh", "AAAA", "WzEsMl0", "bnVsbA", "a" * 5_000])
async def test_a_broken_cursor_is_refused(store: TaskStore, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        await store.page(cursor=cursor)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("limit", [0, -1, 501])
async def test_a_limit_out_of_range_is_refused(store: TaskStore, limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        await store.page(limit=limit)
