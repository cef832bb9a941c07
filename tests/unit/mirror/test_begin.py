"""Where the mirror begins to compare: where the last one that came to its end began, no later."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Failed
from sqlalchemy import text

from tests.support.eventually import eventually
from tests.support.records import task
from vibesurf_blocks.alerts import watch
from vibesurf_blocks.alerts.watch import AlertWatch
from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.metrics.mirroring import MirrorMetrics
from vibesurf_blocks.mirror.service import Mirror
from vibesurf_blocks.mirror.sync import Sync
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables import Database, TaskStore
from vibesurf_blocks.tables.marks import Mark
from vibesurf_blocks.tasks import AGENT_FLOW

NOBODY: Any = None
LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


class Looks(Sync):
    """Notes from where it was to compare, and may fail."""

    def __init__(self, store: TaskStore, settings: Settings) -> None:
        super().__init__(NOBODY, store, settings)
        self.since: list[datetime] = []
        self.read = 0
        self.fails = False
        self.debt = False

    @property
    def owing(self) -> bool:
        return self.debt

    async def everything(self) -> int:
        self.read += 1
        await self._store.upsert([task("half")])
        if self.fails:
            raise OSError
        return 1

    async def reconcile(self, since: datetime) -> set[str]:
        if self.fails:
            raise OSError
        self.since.append(since)
        return set()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def mark(database: Database, settings: Settings) -> Mark:
    return Mark(database, settings.pool)


@pytest.fixture
def looks(store: TaskStore, settings: Settings) -> Looks:
    return Looks(store, settings)


async def compares(looks: Looks, mark: Mark, settings: Settings, *, rounds: int = 1) -> None:
    """Have a mirror compare until it has begun the round after so many, then kill it."""
    made = Mirror(NOBODY, looks, mark, NOBODY, NOBODY, settings, MirrorMetrics())
    made._reconcile_seconds = 0

    async def done() -> bool:
        return len(looks.since) > rounds

    comparing = asyncio.create_task(made._reconcile())
    await eventually(done, timeout=10)
    comparing.cancel()
    with suppress(asyncio.CancelledError):
        await comparing


async def test_rows_that_others_wrote_do_not_move_the_beginning(
    store: TaskStore, mark: Mark, looks: Looks, settings: Settings
) -> None:
    await store.upsert([task("before")])
    assert await mark.put(LONG_AGO)
    now = datetime.now(UTC)
    await store.upsert([task("the api's", created_at=now, updated_at=now)])
    await compares(looks, mark, settings)
    assert (looks.read, looks.since[0]) == (0, LONG_AGO)
    compared = await mark.read()
    assert compared is not None
    assert compared > LONG_AGO


async def test_an_interrupted_first_reading_is_no_complete_one(
    mark: Mark, looks: Looks, settings: Settings
) -> None:
    looks.fails = True
    mirror = Mirror(NOBODY, looks, mark, NOBODY, NOBODY, settings, MirrorMetrics())
    killed = asyncio.create_task(mirror._begin())

    async def tried() -> bool:
        return looks.read > 0

    await eventually(tried, timeout=10)
    killed.cancel()
    looks.fails = False
    looks.read = 0
    await compares(looks, mark, settings)
    assert looks.read == 1
    looks.since.clear()
    await compares(looks, mark, settings)
    assert looks.read == 1


async def test_an_emptied_table_is_read_anew_whatever_is_written_then(
    database: Database, store: TaskStore, mark: Mark, looks: Looks, settings: Settings
) -> None:
    await store.upsert([task("before")])
    assert await mark.put(LONG_AGO)
    async with database.write() as connection:
        await connection.execute(text("DELETE FROM tasks"))
    await store.upsert([task("the api's")])
    assert not await mark.put(datetime.now(UTC))
    await compares(looks, mark, settings)
    assert looks.read == 1
    await store.clear()
    assert await mark.read() is None


async def test_nothing_is_complete_while_an_alert_is_owed(
    mark: Mark, looks: Looks, settings: Settings
) -> None:
    looks.debt = True
    await compares(looks, mark, settings, rounds=2)
    assert await mark.read() is None


async def test_each_pool_has_a_mark_of_its_own(database: Database, mark: Mark) -> None:
    assert await mark.put(LONG_AGO)
    assert await Mark(database, "another").read() is None


async def test_an_alert_that_could_not_be_raised_is_owed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = False

    async def raise_alert(*_: object) -> None:
        if not up:
            raise Unavailable("no")

    monkeypatch.setattr(watch, "raise_alert", raise_alert)
    run = FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        state=Failed(timestamp=datetime.now(UTC)),
        parameters={"alerts": {"on": ["failed"], "webhook": "ops"}},
    )
    alerts = AlertWatch(NOBODY, settings)
    await alerts.saw([(run, AGENT_FLOW)])
    assert alerts.owing
    up = True
    await alerts.saw([])
    assert not alerts.owing
