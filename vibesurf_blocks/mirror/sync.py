"""Brings rows in line with Prefect: some runs by id, all that may differ, or everything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from vibesurf_blocks.mirror.rows import Names, due_at, record_of
from vibesurf_blocks.prefect_api import runs as prefect_runs
from vibesurf_blocks.prefect_api.artifacts import published
from vibesurf_blocks.prefect_api.names import NameBook
from vibesurf_blocks.tasks import AGENT_FLOW, Status

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from vibesurf_blocks.alerts.watch import AlertWatch
    from vibesurf_blocks.settings import Settings
    from vibesurf_blocks.tables.records import TaskRecord
    from vibesurf_blocks.tables.tasks import TaskStore

logger = logging.getLogger(__name__)

LOOK_AHEAD = timedelta(minutes=10)
"""How long before they fall due scheduled runs are looked up."""

_MARGIN = timedelta(minutes=1)
"""Covers the difference between clocks, and transactions that commit late."""

READ_SECONDS = 20.0
"""Seconds one read, and the writing of what it found, may take."""


class Sync:
    """Writes rows from what Prefect knows.

    Attributes:
        due: Scheduled runs seen that are not due yet, with the time they fall due (UTC).
    """

    def __init__(
        self,
        client: PrefectClient,
        store: TaskStore,
        settings: Settings,
        started: Callable[[FlowRun], None] | None = None,
        alerts: AlertWatch | None = None,
        wrote: Callable[[Sequence[FlowRun], Collection[str]], None] | None = None,
    ) -> None:
        """Write to `store`; tell `started` of each run read that was started, `alerts` of all.

        `wrote` is told of each run whose row was written, and of the ids of rows it changed.
        """
        self._started = started
        self._wrote = wrote
        self._alerts = alerts
        self._client = client
        self._store = store
        self._pool = settings.pool
        self._pools = (settings.pool, settings.parents_pool)
        self._workspace = str(settings.workspace_dir)
        self._names = NameBook(client)
        self.due: dict[UUID, datetime] = {}

    @property
    def owing(self) -> bool:
        """Whether an alert is still to be raised of a run whose row may be written already."""
        return self._alerts is not None and self._alerts.owing

    async def ids(self, run_ids: Sequence[UUID]) -> list[str]:
        """Read these runs and write their rows; returns the ids of the rows that changed."""
        found = await prefect_runs.read_runs(self._client, run_ids)
        changed = await self.runs(found)
        gone = set(run_ids) - {run.id for run in found}
        if gone:
            changed += await self.missing(gone)
        return changed

    async def runs(self, runs: Iterable[FlowRun]) -> list[str]:
        """Write the rows of runs just read; runs that are no tasks or not due yet get none.

        A run that fits into no row is logged, and does not keep the others from theirs.
        """
        now = datetime.now(UTC)
        tasks: list[tuple[FlowRun, Names]] = []
        seen: list[tuple[FlowRun, str]] = []
        for run in runs:
            due = due_at(run)
            if due is not None and due > now:
                self.due[run.id] = due
                continue
            self.due.pop(run.id, None)
            if self._started is not None and run.start_time is not None:
                self._started(run)
            flow = await self._names.flow(run.flow_id)
            seen.append((run, flow))
            if flow == AGENT_FLOW or run.work_pool_name == self._pool:
                tasks.append((run, Names(flow, await self._names.deployment(run.deployment_id))))
        if self._alerts is not None:
            # Before the rows: who is killed in between finds them as they were, and looks again.
            await self._alerts.saw(seen)
        begun = [run.id for run, _ in tasks if run.start_time is not None]
        shown = await published(self._client, begun) if begun else {}
        records: list[TaskRecord] = []
        for run, names in tasks:
            try:
                records.append(record_of(run, shown.get(run.id), names, self._workspace))
            except Exception as error:  # noqa: BLE001 - the rows of all others do not wait for it
                logger.warning("The run %s fits into no row: %r", run.id, error)
        changed = await self._store.upsert(records)
        if self._wrote is not None:
            self._wrote([run for run, _ in tasks], changed)
        return changed

    async def missing(self, run_ids: Iterable[UUID]) -> list[str]:
        """End the rows of runs that were not found, where they were deleted before they ended.

        Returns:
            The ids of the rows that changed.
        """
        rows: dict[UUID, TaskRecord] = {}
        for run_id in run_ids:
            self.due.pop(run_id, None)
            row = await self._store.get(str(run_id))
            if row is not None and not row.status.terminal:
                rows[run_id] = row
        if not rows:
            return []
        # A run is announced before it can be read, and its row may have been written in between:
        # only what is missing while its row stands was deleted.
        back = await prefect_runs.read_runs(self._client, list(rows))
        for run in back:
            del rows[run.id]
        now = datetime.now(UTC)
        ended = {
            "status": Status.STOPPED,
            "error_message": "The flow run was deleted from Prefect.",
            "updated_at": now,
            "completed_at": now,
        }
        changed = await self.runs(back)
        return changed + await self._store.upsert(
            [row.model_copy(update=ended) for row in rows.values()]
        )

    async def shows(self, run: FlowRun) -> bool:
        """Whether a run just read is a task that is due, or a batch or workflow of this stack."""
        due = due_at(run)
        if due is not None and due > datetime.now(UTC):
            return False
        return (
            run.work_pool_name in self._pools or await self._names.flow(run.flow_id) == AGENT_FLOW
        )

    async def record(self, run: FlowRun) -> TaskRecord:
        """The row of one run as it would be written, without what it published."""
        names = Names(
            await self._names.flow(run.flow_id), await self._names.deployment(run.deployment_id)
        )
        return record_of(run, None, names, self._workspace)

    async def reconcile(self, since: datetime) -> set[str]:
        """Write all rows that may differ since a moment; returns the ids of those that did.

        However much there is or slow Prefect is, it comes to its end: each page has a time of its
        own, not all of them one.

        Raises:
            TimeoutError: One page took too long.
        """
        changed: set[str] = set()
        now = datetime.now(UTC)
        seen: set[UUID] = set()
        for scan in (
            prefect_runs.unfinished(self._client, now + LOOK_AHEAD, self._pools),
            prefect_runs.ended_since(self._client, since - _MARGIN, self._pools),
        ):
            changed |= await self._pages(scan, seen)
        left = [UUID(one) for one in await self._store.unfinished_ids()]
        for chunk in batched((run_id for run_id in left if run_id not in seen), prefect_runs.PAGE):
            async with asyncio.timeout(READ_SECONDS):
                changed |= set(await self.ids(chunk))
        return changed

    async def everything(self) -> int:
        """Write the rows of all tasks that Prefect knows; returns how many changed.

        Looks at all batches and workflows too: people may have to be told of them.
        """
        scan = prefect_runs.all_runs(self._client, self._pools)
        return len(await self._pages(scan, set()))

    async def _pages(self, scan: AsyncIterator[list[FlowRun]], seen: set[UUID]) -> set[str]:
        changed: set[str] = set()
        while True:
            async with asyncio.timeout(READ_SECONDS):
                page = await anext(scan, None)
                if page is None:
                    return changed
                fresh = [run for run in page if run.id not in seen]
                seen.update(run.id for run in fresh)
                changed |= set(await self.runs(fresh))


def batched(run_ids: Iterable[UUID], size: int) -> Iterator[list[UUID]]:
    """The ids in lists of at most so many."""
    left = iter(run_ids)
    while chunk := list(islice(left, size)):
        yield chunk
