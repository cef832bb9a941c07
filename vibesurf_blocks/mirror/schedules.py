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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.schemas.schedules import CronSchedule

from vibesurf_blocks.mirror.sweep import Sweep
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api.deployments import PAGE, Executions, Spelling
from vibesurf_blocks.prefect_api.firing import next_firing
from vibesurf_blocks.prefect_api.names import NameBook
from vibesurf_blocks.schedules.cron import CRON_LIMIT
from vibesurf_blocks.tables.records import ScheduleRecord

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

    from vibesurf_blocks.tables.schedules import ScheduleStore

logger = logging.getLogger(__name__)

_FLOW_ID_LIMIT = 255
_BUSY_SHARE = 3
"""How many times longer than a look the pause after it is at the least."""

_MARGIN = timedelta(seconds=2)
_STARTED_MARGIN = timedelta(minutes=1)
_LOOK_SECONDS = 30.0
_COUNTS_AT_ONCE = 4
_NOTED_LIMIT = 10_000
_COMPARE_SECONDS = 10.0


def records_of(
    deployment: DeploymentResponse,
    flow: str,
    done: Mapping[UUID, Executions],
    now: datetime,
) -> list[ScheduleRecord]:
    """The rows of a deployment's schedules.

    The schedule made by REST goes by the `flow_id` its client used. The others go by
    `flow/deployment`: the oldest, where none was made by REST, by that alone, and each further one
    with `#` and its slug or id after it.

    Args:
        deployment: As it is now.
        flow: Name of its flow.
        done: What came of its schedules so far; none for one that is not in it.
        now: The next time is later than this.
    """
    path = f"{flow}/{deployment.name}"
    made = prefect_deployments.rest_schedule(deployment)
    ordered = prefect_deployments.in_order(deployment)
    records = []
    for one in ordered:
        if one is made:
            spelled = {
                Spelling.ID: str(deployment.id),
                Spelling.PATH: path,
                Spelling.NAME: deployment.name,
            }
            flow_id = spelled[Spelling(str(one.slug))]
        elif made is None and one is ordered[0]:
            flow_id = path
        else:
            flow_id = f"{path}#{one.slug or one.id}"
        if len(flow_id) > _FLOW_ID_LIMIT:
            flow_id = str(one.id)
        records.append(_record(deployment, one, flow_id, done.get(one.id, Executions()), now))
    return records


def _record(
    deployment: DeploymentResponse,
    one: DeploymentSchedule,
    flow_id: str,
    done: Executions,
    now: datetime,
) -> ScheduleRecord:
    enabled = one.active and not deployment.paused
    cron = one.schedule.cron if isinstance(one.schedule, CronSchedule) else None
    created = one.created or deployment.created or now
    return ScheduleRecord(
        id=str(one.id),
        flow_id=flow_id,
        cron_expression=cron if cron is not None and len(cron) <= CRON_LIMIT else None,
        is_enabled=enabled,
        description=deployment.description or None,
        last_execution_at=done.last,
        next_execution_at=next_firing(one.schedule, now) if enabled else None,
        execution_count=done.count,
        created_at=created,
        updated_at=max(one.updated or created, deployment.updated or created),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """A deployment as it was at the last look."""

    deployment: DeploymentResponse
    signature: tuple[object, ...]
    records: tuple[ScheduleRecord, ...]


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
        self._seen: dict[UUID, _Seen] = {}
        self._done: dict[UUID, Executions] = {}
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
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(self._poll_seconds - took, 0.0))

    async def look(self) -> None:
        """Read what may have changed, and write what is no longer as it was."""
        begun = datetime.now(UTC)
        first = not self.knows_all
        if first:
            await self._remember()
        read = await self._sweep.look()
        if first and not self._sweep.rounds:
            return  # not all of them are known yet
        fresh = list(self._sweep.known.values()) if first else read
        edited = [
            one
            for one in fresh
            if one.schedules or one.id in self._seen
            if one.id not in self._seen or self._seen[one.id].signature != _signature(one)
        ]
        self._note_edits(edited, begun)
        await self._count_again(edited)
        await self._write({one.id for one in edited}, begun)
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
            seen = self._seen.get(deployment.id)
            before = {one.id: one for one in seen.deployment.schedules} if seen else {}
            owed = self._owed.setdefault(deployment.id, {})
            for one in deployment.schedules:
                old = before.get(one.id)
                same = old is not None and old.schedule == one.schedule and old.active
                same = same and seen is not None and not seen.deployment.paused
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
        if self._count:
            wanted += [
                (seen.deployment.id, one.id)
                for seen in self._seen.values()
                for one in seen.deployment.schedules
                if one.id in self._count and one.id in self._done
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
            for (_, schedule), executions in zip(chunk_of, counted, strict=True):
                self._done[schedule] = executions

    async def _write(self, edited: Set[UUID], begun: datetime) -> None:
        now = datetime.now(UTC)
        seen: dict[UUID, _Seen] = {}
        records: dict[str, ScheduleRecord] = {}
        taken: set[str] = set()
        for deployment in self._sweep.known.values():
            if not deployment.schedules:
                continue
            old = self._seen.get(deployment.id)
            if old is not None and deployment.id not in edited and not self._stale(old, now):
                signature, derived = old.signature, old.records
            else:
                flow = await self._names.flow(deployment.flow_id)
                signature = _signature(deployment)
                derived = tuple(records_of(deployment, flow, self._done, now))
            if taken.isdisjoint(one.flow_id for one in derived):
                kept = derived
            else:  # another deployment goes by this name
                kept = tuple(
                    one.model_copy(update={"flow_id": one.id}) if one.flow_id in taken else one
                    for one in derived
                )
            taken.update(one.flow_id for one in kept)
            same = old is not None and signature is old.signature and kept is old.records
            seen[deployment.id] = old if old and same else _Seen(deployment, signature, kept)
            records.update((one.id, one) for one in kept)
        before = {one.id: one for known in self._seen.values() for one in known.records}
        changed = {
            one.id: one
            for one in records.values()
            if before.get(one.id) is not one and before.get(one.id) != one
        }
        fresh = changed.keys() - before.keys()
        gone: list[str] = []
        if before.keys() - records.keys() or self._missing or time.monotonic() > self._compare_at:
            self._compare_at = time.monotonic() + _COMPARE_SECONDS
            rows = await self._store.updates()
            gone = self._gone(records.keys(), rows, begun, before.keys())
            lost = records.keys() - rows.keys() - changed.keys()
            for one in await self._still_there(lost, records):
                changed[one.id] = one
                fresh = fresh | {one.id}
        await self._store.write(list(changed.values()), gone=gone, fresh=fresh)
        self._seen = seen

    async def _still_there(
        self, lost: Set[str], records: Mapping[str, ScheduleRecord]
    ) -> list[ScheduleRecord]:
        """Of schedules without a row, those that are in Prefect as they were seen.

        The API deletes a row with its schedule, which may have been seen before that.
        """
        if not lost:
            return []
        owners = {
            str(one.id): deployment.id
            for deployment in self._sweep.known.values()
            for one in deployment.schedules
            if str(one.id) in lost
        }
        there = {
            str(one.id)
            for deployment in await self._sweep.again(set(owners.values()))
            for one in deployment.schedules
        }
        return [records[one] for one in lost & there]

    def _stale(self, seen: _Seen, now: datetime) -> bool:
        """Whether a row says something that time or an occurrence has overtaken."""
        return any(
            (record.next_execution_at is not None and record.next_execution_at <= now)
            or (done := self._done.get(UUID(record.id), Executions())).count
            != record.execution_count
            or done.last != record.last_execution_at
            for record in seen.records
        )

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


def _signature(deployment: DeploymentResponse) -> tuple[object, ...]:
    return (
        deployment.updated,
        deployment.paused,
        *(
            (one.id, one.updated, one.active, one.slug)
            for one in prefect_deployments.in_order(deployment)
        ),
    )
