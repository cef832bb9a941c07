"""How many tasks there are is known without counting them, whoever writes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from random import Random

from sqlalchemy import delete, func, select, update

from tests.support.records import task
from vibesurf_blocks.tables import Database, TaskStore
from vibesurf_blocks.tables.counts import count_tasks, counts_by_status
from vibesurf_blocks.tables.models import Base
from vibesurf_blocks.tasks import Status

TASKS = Base.metadata.tables["tasks"]
PROFILES = ("builtin", "a profile", "A profile")


async def agree(database: Database) -> Mapping[Status, int]:
    """Compare what is kept with what is there, for every filter; the numbers by status."""
    async with database.read() as connection:
        for status, profile, session in product(
            [None, *Status], [None, *PROFILES], [None, "s-1", "s-2"]
        ):
            filters = [
                TASKS.c[name] == value
                for name, value in (
                    ("status", status),
                    ("llm_profile_name", profile),
                    ("session_id", session),
                )
                if value is not None
            ]
            counted = await connection.scalar(
                select(func.count()).select_from(TASKS).where(*filters)
            )
            assert counted == await count_tasks(
                connection, status=status, llm_profile_name=profile, session_id=session
            ), (status, profile, session)
        return await counts_by_status(connection, list(Status))


async def test_counts_follow_every_kind_of_write(database: Database, store: TaskStore) -> None:
    random = Random(7)
    assert not any((await agree(database)).values())
    for second in range(12):
        await store.upsert(
            [
                task(
                    f"{random.randrange(40)}",
                    random.choice(list(Status)),
                    second,
                    llm_profile_name=random.choice(PROFILES),
                    session_id=random.choice(["s-1", "s-2"]),
                )
                for _ in range(20)
            ]
        )
    before = await agree(database)
    assert sum(before.values()) == (await store.page(limit=1)).total_count
    async with database.write() as connection:
        await connection.execute(
            update(TASKS).where(TASKS.c.status == Status.FAILED).values(status=Status.STOPPED)
        )
        await connection.execute(delete(TASKS).where(TASKS.c.llm_profile_name == PROFILES[0]))
    after = await agree(database)
    assert after[Status.FAILED] == 0
    assert 0 < sum(after.values()) < sum(before.values())
    await store.clear()
    assert not any((await agree(database)).values())
