"""What the routes work with: opened when the API starts, closed when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from prefect.client.orchestration import PrefectClient

from vibesurf_blocks.api.feeds import Feeds
from vibesurf_blocks.api.locks import Locks
from vibesurf_blocks.api.model_check import ModelCheck
from vibesurf_blocks.api.shared_read import SharedRead
from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.readiness import Readiness, readiness
from vibesurf_blocks.metrics.requests import ApiMetrics
from vibesurf_blocks.metrics.rows import Counts, TableCounts
from vibesurf_blocks.mirror.sync import Sync
from vibesurf_blocks.prefect_api.client import connect
from vibesurf_blocks.prefect_api.submissions import Situation, Submitter
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables.database import Database
from vibesurf_blocks.tables.locks import DatabaseLocks
from vibesurf_blocks.tables.profiles import ProfileStore
from vibesurf_blocks.tables.records import TaskRecord
from vibesurf_blocks.tables.schedules import ScheduleStore
from vibesurf_blocks.tables.tasks import TaskStore
from vibesurf_blocks.tables.upgrade import upgrade

PREFECT_SECONDS = 10.0
"""Seconds that Prefect may take for what one request needs; then the answer is 503."""

SCHEDULE_EDITS = 4
"""Schedules edited at once: Prefect gets no faster with more."""

ENQUEUED_AT_ONCE = 8
"""Tasks enqueued at once: however many come, none of them waits for Prefect for too long."""


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that routes use."""

    settings: Settings
    client: PrefectClient
    database: Database
    store: TaskStore
    sync: Sync
    submitter: Submitter
    check_model: ModelCheck
    schedules: ScheduleStore
    profiles: ProfileStore
    schedule_locks: Locks
    database_locks: DatabaseLocks
    schedule_edits: asyncio.Semaphore
    active: SharedRead[TaskRecord | None]
    situation: SharedRead[Situation]
    sending: asyncio.Lock
    enqueueing: asyncio.Semaphore
    feeds: Feeds
    metrics: ApiMetrics
    counts: SharedRead[Counts]
    readiness: SharedRead[Readiness]


@asynccontextmanager
async def open_context(
    settings: Settings, metrics: ApiMetrics | None = None
) -> AsyncIterator[Context]:
    """Open the tables and a client of Prefect, which need not be up yet.

    Raises:
        StackError: The tables cannot be reached or upgraded.
    """
    await upgrade(settings.tables_url)
    database = Database.of(settings)
    locks = DatabaseLocks(settings.tables_url)
    try:
        async with connect() as client:
            store = TaskStore(database)
            submitter = Submitter(client, settings.pool)
            sync = Sync(client, store, settings)
            schedules = ScheduleStore(database)
            case = Case(settings, client, database)
            yield Context(
                settings=settings,
                client=client,
                database=database,
                store=store,
                sync=sync,
                submitter=submitter,
                check_model=ModelCheck(client, settings),
                schedules=schedules,
                profiles=ProfileStore(database),
                schedule_locks=Locks(),
                database_locks=locks,
                schedule_edits=asyncio.Semaphore(SCHEDULE_EDITS),
                active=SharedRead(store.active),
                situation=SharedRead(submitter.situation),
                sending=asyncio.Lock(),
                enqueueing=asyncio.Semaphore(ENQUEUED_AT_ONCE),
                feeds=Feeds(client, store, sync),
                metrics=metrics or ApiMetrics(),
                counts=SharedRead(TableCounts(store, schedules)),
                readiness=SharedRead(lambda: readiness(case)),
            )
    finally:
        await locks.aclose()
        await database.aclose()


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context)]
