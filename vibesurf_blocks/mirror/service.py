"""The mirror as a service: follows events, wakes for due runs, reconciles, never gives up."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from vibesurf_blocks.alerts.watch import AlertWatch
from vibesurf_blocks.errors import StackError
from vibesurf_blocks.metrics.mirroring import MirrorMetrics
from vibesurf_blocks.metrics.share import shared
from vibesurf_blocks.mirror.leader import GuardedDatabase, Leadership
from vibesurf_blocks.mirror.profiles import ProfileMirror
from vibesurf_blocks.mirror.schedules import ScheduleMirror
from vibesurf_blocks.mirror.sync import READ_SECONDS, Sync
from vibesurf_blocks.prefect_api.block_documents import DOCUMENT_EVENTS
from vibesurf_blocks.prefect_api.client import connect
from vibesurf_blocks.prefect_api.heartbeat import Beat, beat
from vibesurf_blocks.prefect_api.hints import hints
from vibesurf_blocks.run.events import EVENT_PREFIX, STEP_EVENT
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables.locks import DatabaseLocks
from vibesurf_blocks.tables.marks import Mark
from vibesurf_blocks.tables.profiles import ProfileStore
from vibesurf_blocks.tables.schedules import ScheduleStore
from vibesurf_blocks.tables.tasks import TaskStore
from vibesurf_blocks.tables.upgrade import upgrade

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

logger = logging.getLogger(__name__)

_PREFIXES = ("prefect.flow-run.", EVENT_PREFIX, DOCUMENT_EVENTS)
# Would wake the mirror for nothing: a heartbeat changes no row.
_IGNORED = frozenset({"prefect.flow-run.heartbeat"})
_BATCH = 200
_RETRY_SECONDS = 0.5


class Mirror:
    """Keeps the tables in step with Prefect for as long as it runs."""

    def __init__(
        self,
        client: PrefectClient,
        sync: Sync,
        mark: Mark,
        schedules: ScheduleMirror,
        profiles: ProfileMirror,
        settings: Settings,
        metrics: MirrorMetrics,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._profiles = profiles
        self._schedules = schedules
        self._sync = sync
        self._mark = mark
        self._reconcile_seconds = settings.reconcile_seconds
        self._dirty: dict[UUID, None] = {}
        self._hinted: set[str] = set()
        self._mended: set[str] = set()
        metrics.backlog_is(lambda: len(self._dirty))
        self._wake = asyncio.Event()
        self._reconcile_now = asyncio.Event()

    async def run(self) -> None:
        """Mirror until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="mirror-hints")
            group.create_task(self._write(), name="mirror-writes")
            group.create_task(self._reconcile(), name="mirror-reconciles")
            group.create_task(self._schedules.run(), name="mirror-schedules")
            group.create_task(self._profiles.run(), name="mirror-profiles")

    async def _listen(self) -> None:
        async for hint in hints(prefixes=_PREFIXES):
            if hint.name.startswith(DOCUMENT_EVENTS):
                self._profiles.edited()
            elif hint.run_id is None:
                # Connected: whatever happened before was missed.
                self._reconcile_now.set()
                self._profiles.edited()
            elif hint.name not in _IGNORED:
                if hint.name == STEP_EVENT:
                    self._metrics.step(hint.payload)
                self._hinted.add(str(hint.run_id))
                self._dirty[hint.run_id] = None
                self._wake.set()

    async def _write(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._until_due())
            self._wake.clear()
            now = datetime.now(UTC)
            for run_id, due in list(self._sync.due.items()):
                if due <= now:
                    self._dirty[run_id] = None
            while self._dirty:
                batch = list(self._dirty)[:_BATCH]
                for run_id in batch:
                    del self._dirty[run_id]
                try:
                    async with asyncio.timeout(READ_SECONDS):
                        await self._sync.ids(batch)
                except Exception as error:  # noqa: BLE001 - kept, and tried again
                    logger.warning("%d runs could not be mirrored (%r).", len(batch), error)
                    self._metrics.failed("write")
                    self._dirty.update(dict.fromkeys(batch))
                    await asyncio.sleep(_RETRY_SECONDS)

    def _until_due(self) -> float | None:
        if not self._sync.due:
            return None
        soonest = min(self._sync.due.values())
        return max(0.005, (soonest - datetime.now(UTC)).total_seconds())

    async def _reconcile(self) -> None:
        since = await self._begin()
        while True:
            started = datetime.now(UTC)
            begun = time.monotonic()
            self._reconcile_now.clear()
            # Of what the round before wrote, events told of most a moment earlier or later.
            repaired = self._mended - self._hinted
            self._mended = set()
            self._hinted.clear()
            try:
                self._mended = await self._sync.reconcile(since)
            except Exception as error:  # noqa: BLE001 - the next round covers this one
                logger.warning("Reconciling failed (%r); trying again.", error)
                self._metrics.failed("reconcile")
            else:
                self._metrics.reconciled(len(repaired))
                since = await self._keep(started)
                await self._give_sign(started)
                if self._mended:
                    logger.debug("Reconciled %d rows.", len(self._mended))
            self._wake.set()  # newly found due times
            wait = self._reconcile_seconds - (time.monotonic() - begun)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._reconcile_now.wait(), max(wait, _RETRY_SECONDS))

    async def _keep(self, compared: datetime) -> datetime:
        """Have whoever mirrors next begin here, unless it would miss what is still owed.

        Returns:
            Where the next round is to begin.
        """
        if self._sync.owing:
            return compared
        try:
            async with asyncio.timeout(READ_SECONDS):
                held = await self._mark.put(compared)
        except Exception as error:  # noqa: BLE001 - the next mirror begins earlier, that is all
            logger.warning("How far the rows were compared could not be kept (%r).", error)
            return compared
        return compared if held else await self._begin()

    async def _give_sign(self, compared: datetime) -> None:
        sign = Beat(
            at=compared,
            every=self._reconcile_seconds,
            host=socket.gethostname(),
            pid=os.getpid(),
            lag=self._metrics.take_worst(),
        )
        try:
            async with asyncio.timeout(READ_SECONDS):
                await beat(self._client, sign)
        except Exception as error:  # noqa: BLE001 - the next round gives the next one
            logger.warning("The mirror could not say that it lives (%r).", error)

    async def _begin(self) -> datetime:
        """Where to reconcile from; without a mark all of Prefect is read first.

        Rows tell nothing of that: the API writes some as well, and so does a first reading that
        was interrupted.
        """
        while True:
            try:
                compared = await self._mark.read()
                if compared is not None:
                    return compared
                # One that holds no longer would hold again with half of the rows.
                await self._mark.forget()
                started = datetime.now(UTC)
                count = await self._sync.everything()
                if count:
                    logger.info("Rebuilt %d rows from Prefect.", count)
                return started - timedelta(seconds=1)
            except Exception as error:  # noqa: BLE001 - Prefect may not be up yet
                logger.warning("The mirror cannot begin (%r); trying again.", error)
                await asyncio.sleep(_RETRY_SECONDS)


async def serve(settings: Settings, *, rebuild: bool = False) -> None:
    """Upgrade the tables, then mirror whenever no other mirror is active, until cancelled.

    Args:
        settings: Where the tables and the pool are.
        rebuild: Empty the tables first, so that every row is derived anew.

    Raises:
        StackError: The tables cannot be reached or upgraded; or they are to be rebuilt while
            another mirror is active.
    """
    await upgrade(settings.tables_url)
    locks = DatabaseLocks(settings.tables_url)
    leadership = Leadership(locks, settings.pool)
    try:
        if rebuild and not await leadership.take_now():
            msg = "Another mirror is active: end all mirrors first, then rebuild the tables."
            raise StackError(msg)
        while True:
            if not rebuild:
                await leadership.take()
            async with asyncio.TaskGroup() as group:
                mirroring = group.create_task(_mirror(settings, leadership, rebuild=rebuild))
                await leadership.kept()
                mirroring.cancel()
            await leadership.give_up()
            rebuild = False
    finally:
        await leadership.give_up()
        await locks.aclose()


async def _mirror(settings: Settings, leadership: Leadership, *, rebuild: bool) -> None:
    """Mirror until cancelled, writing only while this mirror is the active one."""
    async with connect() as client:
        database = GuardedDatabase.guarded(settings, leadership.check)
        try:
            store = TaskStore(database)
            schedule_store = ScheduleStore(database)
            profile_store = ProfileStore(database)
            if rebuild:
                await store.clear()
                await schedule_store.clear()
                await profile_store.clear()
            schedules = ScheduleMirror(client, schedule_store, settings.schedule_poll_seconds)
            profiles = ProfileMirror(client, profile_store, store, settings.reconcile_seconds)

            def started(run: FlowRun) -> None:
                schedules.started(run)
                profiles.started(run)

            alerts = AlertWatch(client, settings)
            metrics = MirrorMetrics()
            sync = Sync(client, store, settings, started, alerts, metrics.wrote)
            mark = Mark(database, settings.pool)
            mirror = Mirror(client, sync, mark, schedules, profiles, settings, metrics)
            async with shared(metrics.registry, "mirror", settings):
                await mirror.run()
        finally:
            await database.aclose()
