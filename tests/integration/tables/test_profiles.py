"""The rows of `llm_profiles`: replaced as a whole, on each kind of database."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.records import at, task
from vibesurf_blocks.tables import Database, ProfileRecord, ProfileStore, TaskStore
from vibesurf_blocks.tasks import Status


def row(number: str, name: str, **more: Any) -> ProfileRecord:
    values: dict[str, Any] = {
        "profile_id": number,
        "profile_name": name,
        "provider": "openai",
        "model": "m",
        "created_at": at(0),
        "updated_at": at(1),
    }
    return ProfileRecord.model_validate({**values, **more})


FULL = row(
    "1",
    "Ü\U0001f600",
    base_url="http://127.0.0.1:1/v1",
    encrypted_api_key="prefect.blocks.llm-profile.x",
    temperature=0.3,
    max_tokens=50,
    top_p=1,
    frequency_penalty=-0.5,
    seed=2**40,
    provider_config={"a": [1, None]},
    description="d",
    is_active=False,
    is_default=True,
    last_used_at=at(5),
)


async def test_the_table_holds_what_it_was_given_and_nothing_else(database: Database) -> None:
    store = ProfileStore(database)
    assert await store.replace([FULL, row("2", "b")])
    assert await store.all() == sorted([FULL, row("2", "b")], key=lambda one: one.profile_name)
    assert not await store.replace([row("2", "b"), FULL])
    # Two profiles may change their names at once.
    swapped = [row("1", "b"), row("2", "Ü\U0001f600")]
    assert await store.replace(swapped)
    assert {one.profile_id: one.profile_name for one in await store.all()} == {
        "1": "b",
        "2": "Ü\U0001f600",
    }
    await asyncio.gather(*(ProfileStore(database).replace([FULL]) for _ in range(5)))
    assert await store.all() == [FULL]
    await store.clear()
    assert await store.all() == []


async def test_the_last_use_is_the_newest_started_tasks(
    database: Database, store: TaskStore
) -> None:
    assert await store.last_use("builtin") is None
    await store.upsert(
        [
            task("1", Status.COMPLETED, 1),
            task("2", Status.RUNNING, 2),
            task("3", Status.PENDING, 3),
            task("4", Status.RUNNING, 9, llm_profile_name="other"),
        ]
    )
    assert await store.last_use("builtin") == at(2)
