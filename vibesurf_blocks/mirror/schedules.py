"""Keeps the rows of `schedules` in step with the deployments, and sees that no edit loses a run.

Prefect has no event for an edited schedule, so the deployments are read every half a second (where
there are very many, a part of them: see `sweep`). Whatever changed since the last look is written,
and the runs that Prefect dropped with the edit are made anew at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.exceptions import ObjectNotFound

from vibesurf_blocks.mirror.book import ScheduleBook
from vibesurf_blocks.mirror.sweep import Sweep
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api.deployments import PAGE, Executions
from vibesurf_blocks.prefect_api.names import NameBook

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

    from vibesurf_blocks.tables.records import ScheduleRecord
    from vibesurf_blocks.tables.schedules import ScheduleStore

logger = logging.getLogger(__name__)

_BUSY_SHARE = 3
"""How many times longer than a look the pause after it is at the least."""

_MARGIN = timedelta(seconds=2)
_STARTED_MARGIN = timedelta(minutes=1)
_LOOK_SECONDS = 30.0
_COUNTS_AT_ONCE = 4
_NOTED_LIMIT = 10_000
_COMPARE_SECONDS = 10.0


class ScheduleMirror:
    """Writes the rows of `schedules` from what Prefect knows."""

    def __init__(
        self,
        client: PrefectClient,
        store: ScheduleStore,
        poll_seconds: float,
        *,
        page_size: int = PAGE,
    ) -> None:
        """Look every `poll_seconds` (s) at the least, at `page_size` deployments at once."""
        self._client = client
        self._store = store
        self._poll_seconds = poll_seconds
        self._names = NameBook(client)
        self._sweep = Sweep(client, page_size)
        self._book = ScheduleBook()
        self._unread: dict[UUID, DeploymentResponse] = {}
        self._unwritten: set[UUID] = set()
        self._told: dict[UUID, dict[str, ScheduleRecord]] = {}
        self._done: dict[UUID, Executions] = {}
        self._counted: set[UUID] = set()
        self._count: set[UUID] = set()
        self._noted: set[UUID] = set()
        self._owed: dict[UUID, dict[UUID, datetime]] = {}
        self._missing: dict[str, int] = {}
        self._seen_gone: Set[str] = set()
        self._compare_at = 0.0
        self._looked: datetime | None = None
        self._wake = asyncio.Event()

    @property
    def knows_all(self) -> bool:
        """Whether every deployment was read once, so that a look shows what has changed."""
        return self._looked is not None

    def started(self, run: FlowRun) -> None:
        """Note that a run was started: its schedule, if it is of one, is counted anew."""
        if run.id in self._noted:
            return
        if run.auto_scheduled and run.start_time and run.created_by and run.created_by.id:
            if len(self._noted) >= _NOTED_LIMIT:
                self._noted.clear()
            self._noted.add(run.id)
            self._count.add(run.created_by.id)
            self._wake.set()

    async def run(self) -> None:
        """Mirror until cancelled."""
        while True:
            begun = time.monotonic()
            self._wake.clear()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self.look()
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                logger.warning("The schedules could not be mirrored (%r); trying again.", error)
            took = time.monotonic() - begun
            if self.knows_all:
                # However often it is woken, most of the time is left to others.
                await asyncio.sleep(_BUSY_SHARE * took)
            # What is read in parts is read by turns.
            pause = self._poll_seconds if self._sweep.whole else self._poll_seconds / 2
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(pause - took, 0.0))

    async def look(self) -> None:
        """Read what may have changed, and write what is no longer as it was."""
        begun = datetime.now(UTC)
        first = not self.knows_all
        if first:
            await self._remember()
        # Kept until they are in the book, so that nothing is lost with a look that fails.
        self._unread |= {one.id: one for one in await self._sweep.look()}
        if first and not self._sweep.rounds:
            return  # not all of them are known yet
        edited = [one for one in self._unread.values() if self._book.differs(one)]
        self._note_edits(edited, begun)
        await self._count_again(edited)
        await self._enter(edited)
        self._unread.clear()
        await self._write(begun)
        if first or self._sweep.current:
            self._looked = begun
        await self._keep_runs(self._sweep.known)

    async def _remember(self) -> None:
        """Take over what the rows say, and note what has to be counted anew."""
        rows = await self._store.all()
        self._done = {
            UUID(row.id): Executions(row.execution_count, row.last_execution_at) for row in rows
        }
        lasts = [row.last_execution_at for row in rows if row.last_execution_at is not None]
        if lasts:
            since = max(lasts) - _STARTED_MARGIN
            self._count |= await prefect_deployments.started_since(self._client, since)

    def _note_edits(self, edited: Iterable[DeploymentResponse], now: datetime) -> None:
        """Note from when on the occurrences of edited deployments may have lost their runs."""
        if self._looked is None:
            return  # what was missed while no mirror ran is the worker's to catch up with
        for deployment in edited:
            seen = self._book.deployment(deployment.id)
            before = {one.id: one for one in seen.schedules} if seen else {}
            owed = self._owed.setdefault(deployment.id, {})
            for one in deployment.schedules:
                old = before.get(one.id)
                same = old is not None and old.schedule == one.schedule and old.active
                same = same and seen is not None and not seen.paused
                since = self._looked if same else max(self._looked, one.updated or now)
                owed.setdefault(one.id, since)

    async def _keep_runs(self, found: Mapping[UUID, DeploymentResponse]) -> None:
        """Make the runs of edited deployments anew, those that fell due meanwhile included."""
        for deployment_id, since in list(self._owed.items()):
            deployment = found.get(deployment_id)
            if deployment is not None:
                made = await prefect_deployments.make_up(self._client, deployment, since)
                if made:
                    logger.info("Made %d runs that an edit of %s took.", made, deployment.name)
            del self._owed[deployment_id]

    async def _count_again(self, edited: Iterable[DeploymentResponse]) -> None:
        unknown: list[tuple[UUID, UUID]] = []
        for deployment in edited:
            for one in deployment.schedules:
                if one.id in self._done:
                    continue
                if self._looked and one.created and one.created > self._looked:
                    self._done[one.id] = Executions()  # nothing can have been started yet
                else:
                    unknown.append((deployment.id, one.id))
        if unknown:
            of_these = [schedule for _, schedule in unknown]
            never = await prefect_deployments.never_started(self._client, of_these)
            self._done.update(dict.fromkeys(never, Executions()))
        wanted = [pair for pair in unknown if pair[1] not in self._done]
        wanted += [
            (owner, one)
            for one in self._count & self._done.keys()
            if (owner := self._book.owner(one)) is not None
        ]
        for start in range(0, len(wanted), _COUNTS_AT_ONCE):
            chunk_of = wanted[start : start + _COUNTS_AT_ONCE]
            # Taken out first: one that is started meanwhile is counted once more.
            self._count -= {schedule for _, schedule in chunk_of}
            try:
                counted = await asyncio.gather(
                    *(prefect_deployments.executions(self._client, *one) for one in chunk_of)
                )
            except BaseException:
                self._count |= {schedule for _, schedule in chunk_of}
                raise
            for (deployment_id, schedule), executions in zip(chunk_of, counted, strict=True):
                self._done[schedule] = executions
                self._counted.add(deployment_id)

    async def _enter(self, edited: Iterable[DeploymentResponse]) -> None:
        """Put what changed into the book, by an edit, an occurrence or the time that passed."""
        for deployment in edited:
            flow, now_is = "", deployment
            if deployment.schedules:
                try:
                    flow = await self._names.flow(deployment.flow_id)
                except ObjectNotFound:  # deleted, and its deployments with it
                    now_is = deployment.model_copy(update={"schedules": []})
            self._unwritten |= self._book.put(now_is, flow, self._done, datetime.now(UTC))
        now = datetime.now(UTC)
        for overtaken in self._counted | self._book.overtaken(now):
            self._unwritten |= self._book.again(overtaken, self._done, now)
        self._counted.clear()

    async def _write(self, begun: datetime) -> None:
        """Write the rows that are no longer as they were told."""
        told: dict[UUID, dict[str, ScheduleRecord]] = {}
        changed: dict[str, ScheduleRecord] = {}
        fresh: set[str] = set()
        vanished: set[str] = set()
        for deployment_id in self._unwritten:
            before = self._told.get(deployment_id, {})
            rows = {one.id: one for one in self._book.rows(deployment_id)}
            changed |= {key: one for key, one in rows.items() if before.get(key) != one}
            fresh |= rows.keys() - before.keys()
            vanished |= before.keys() - rows.keys()
            told[deployment_id] = rows
        gone: list[str] = []
        # Read in parts, a round has to end before more is known of what is missing.
        missing = self._missing and self._sweep.whole
        if vanished or missing or time.monotonic() > self._compare_at:
            self._compare_at = time.monotonic() + _COMPARE_SECONDS
            there = await self._store.updates()
            ids = self._book.schedules()
            gone = self._gone(ids, there, begun, vanished | ids - fresh)
            fresh |= ids - there.keys() - changed.keys()
        if self.knows_all and fresh:
            left = {one.id: one for one in await self._still_there(fresh)}
            changed = {key: one for key, one in changed.items() if key not in fresh} | left
        await self._store.write(list(changed.values()), gone=gone, fresh=fresh)
        self._told |= told
        for deployment_id in [key for key, rows in told.items() if not rows]:
            del self._told[deployment_id]
        self._unwritten.clear()

    async def _still_there(self, ids: Set[str]) -> list[ScheduleRecord]:
        """Rows of schedules that are to get one, of those that are in Prefect as they were seen.

        The API deletes a row with its schedule, which may have been seen before that.
        """
        owners = {owner for one in ids if (owner := self._book.owner(UUID(one))) is not None}
        if not owners:
            return []
        there = {
            str(one.id)
            for deployment in await self._sweep.again(owners)
            for one in deployment.schedules
        }
        return [row for one in owners for row in self._book.rows(one) if row.id in ids & there]

    def _gone(
        self, ids: Set[str], rows: Mapping[str, datetime], begun: datetime, before: Set[str]
    ) -> list[str]:
        """Rows whose schedule is no longer there, and was not made since the look began.

        Where the deployments are read in parts, the schedule of a new row may be in a part that
        was read before: a row whose schedule was never seen goes only when a whole round since
        has not found it.
        """
        rounds = self._sweep.rounds
        absent = rows.keys() - ids
        gone = [
            one
            for one in absent
            if rows[one] < begun - _MARGIN
            if self._sweep.whole
            or one in before | self._seen_gone
            or rounds > self._missing.get(one, rounds) + 1
        ]
        self._seen_gone = (self._seen_gone | before) & (absent - set(gone))
        self._missing = {one: self._missing.get(one, rounds) for one in absent.difference(gone)}
        return gone
