"""What is written comes back the same: times, texts, JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import StatementError

from tests.support.records import NOON, task
from vibesurf_blocks.tables import ControlEntry, Database, TaskMetadata, TaskStore
from vibesurf_blocks.tables.models import LLMProfileRow, TaskRow
from vibesurf_blocks.tasks import Status


async def test_every_column_comes_back(store: TaskStore) -> None:
    tokyo = timezone(timedelta(hours=9))
    record = task(
        "5f0e3f9e-7d2d-4a3f-9a55-0b7f7a4d1c11",
        Status.COMPLETED,
        task_description="Grüße 👩‍🚀🚀 – 日本語 \\ ' \" % :x",
        upload_files_path="uploads/a b.pdf",
        workspace_dir="/srv/workspace",
        mcp_server_config={"z": 1, "a": {"k": [None, True, 1.5, "😀"]}},
        agent_mode="flash",
        task_result="# 🧾\n" + "é🚀" * 500_000,
        error_message="",
        report_path="reports/report_1.html",
        created_at=datetime(2026, 3, 1, 21, 0, 0, 1, tzinfo=tokyo),
        started_at=datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC),
        completed_at=datetime(2026, 10, 25, 2, 30, 0, 500_000, tzinfo=timezone(timedelta(hours=2))),
        task_metadata=TaskMetadata(
            progress=100,
            active_step="Read “page” 🧭",
            scheduled_for=NOON,
            history=(ControlEntry(operation="pause", asked_at=NOON, step=3),),
        ),
    )
    await store.upsert([record])
    found = await store.get(record.task_id)
    assert found == record
    assert found.created_at.utcoffset() == timedelta(0)
    assert found.created_at.microsecond == 1
    assert await store.get("nothing") is None


async def test_equal_records_give_equal_bytes(database: Database, store: TaskStore) -> None:
    one = {"b": 1, "a": {"d": 1, "c": 2}}
    other = {"a": {"c": 2, "d": 1}, "b": 1}
    await store.upsert([task("1", mcp_server_config=one), task("2", mcp_server_config=other)])
    async with database.read() as connection:
        rows = await connection.execute(
            text("SELECT mcp_server_config, CAST(task_metadata AS CHAR(2000)) FROM tasks")
        )
        first, second = (tuple(row) for row in rows)
    assert first == second
    assert first[0] == '{"a":{"c":2,"d":1},"b":1}'


async def test_what_no_database_stores_is_replaced(store: TaskStore) -> None:
    await store.upsert([task("a", task_result="a\x00b\ud83d", mcp_server_config={"k": "\udc00"})])
    found = await store.get("a")
    assert found is not None
    assert found.task_result == "a\ufffdb\ufffd"
    assert found.mcp_server_config == {"k": "\ufffd"}


async def test_times_without_an_offset_are_refused(database: Database) -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001 - what is refused
    async with database.read() as connection:
        with pytest.raises(StatementError, match="needs an offset"):
            await connection.execute(select(TaskRow).where(TaskRow.created_at == naive))


async def test_sessions_write_models(database: Database) -> None:
    profile = LLMProfileRow(
        profile_id="1",
        profile_name="fast",
        provider="openai",
        model="gpt",
        temperature=0.5,
        seed=None,
        provider_config={"b": 1, "a": 2},
        created_at=NOON,
        updated_at=NOON,
    )
    async with database.session() as session:
        session.add(profile)
    async with database.session() as session:
        found = (await session.scalars(select(LLMProfileRow))).one()
        assert (found.temperature, found.seed, found.is_active) == (0.5, None, True)
        assert found.created_at == NOON
        nulls = await session.scalar(
            text("SELECT count(*) FROM llm_profiles WHERE seed IS NULL AND top_p IS NULL")
        )
        assert nulls == 1
