"""Prunes old tasks: their flow runs in Prefect, their reports, their rows.

The mirror writes rows from what Prefect knows, so a row is gone for good only when its flow run is.
Of each task the flow run goes first and the row last. The row is thus the note of what is left to
do: whoever is killed half-way leaves rows that the next one finds, and finishes with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from vibesurf_blocks.errors import StackError
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api import pruning, tally
from vibesurf_blocks.prefect_api.runs import children_of, read_runs
from vibesurf_blocks.prefect_api.submissions import Submitter
from vibesurf_blocks.retention import files
from vibesurf_blocks.run.report import report_name
from vibesurf_blocks.tables.alone import alone
from vibesurf_blocks.tables.ended import EndedTask, EndedTasks, Place, run_id_of
from vibesurf_blocks.tables.tasks import TaskStore

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from vibesurf_blocks.settings import Settings
    from vibesurf_blocks.tables.database import Database

PAGE: Final = 200
"""Rows that are looked at, and deleted, at once."""

_SAMPLE: Final = 50
_WAIT_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be pruned.

    Attributes:
        before: Tasks that ended before this moment.
        keep: The tasks that ended last stay, so many of them.
        reports: Whether reports and empty folders of this machine's workspace go too.
        dry_run: Whether to look only.
    """

    before: datetime
    keep: int = 0
    reports: bool = True
    dry_run: bool = False


@dataclass(slots=True)
class Pruned:
    """What was pruned, or would be.

    Attributes:
        tasks: Rows.
        flow_runs: Flow runs in Prefect: those of the tasks that it still had, and of the batches,
            workflows and alerts that had nothing left.
        artifacts: Their artifacts.
        reports: Report files.
        folders: Folders of sessions that were empty and had no task left.
        kept: Tasks that are old enough and stay, as something still needs them.
    """

    tasks: int = 0
    flow_runs: int = 0
    artifacts: int = 0
    reports: int = 0
    folders: int = 0
    kept: int = 0
    seconds: float = field(default=0.0)

    def as_json(self) -> dict[str, float]:
        """The numbers by name."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


class Pruner:
    """Carries out one order."""

    def __init__(
        self, client: PrefectClient, database: Database, settings: Settings, order: Order
    ) -> None:
        self._client = client
        self._database = database
        self._rows = EndedTasks(database)
        self._settings = settings
        self._order = order
        self._done = Pruned()
        self._parents: dict[str, bool] = {}
        self._dropped: set[UUID] = set()
        self._schedules: set[UUID] = set()
        self._bound: Place = (order.before, "")

    async def total(self) -> int:
        """How many tasks are old enough.

        Raises:
            StackError: This Prefect server is not the one that the rows are of.
            Unavailable: The database does not answer.
        """
        await self._check_server()
        if self._order.keep:
            kept_from = await self._rows.place_of_newest(self._order.keep)
            if kept_from is None:
                return 0
            self._bound = min(self._bound, kept_from)
        return await self._rows.count(self._bound)

    async def run(self, progress: Callable[[int], None] = lambda _: None) -> Pruned:
        """Prune; tells `progress` how many tasks have been looked at, now and then.

        Raises:
            StackError: Somebody else prunes, or as for `total`, or a report may not be removed.
            Unavailable: The database does not answer.
        """
        begun = time.monotonic()
        if self._order.dry_run:
            await self._work(progress, _nobody_minds)
        else:
            async with alone(self._database, "prune", wait=_WAIT_SECONDS) as still_alone:
                await tally.settle(self._client)
                await self._work(progress, still_alone)
        self._done.seconds = time.monotonic() - begun
        return self._done

    async def _work(
        self, progress: Callable[[int], None], still_alone: Callable[[], Awaitable[None]]
    ) -> None:
        if await self.total():
            await self._read_schedules()
            last = await Submitter(self._client, self._settings.pool).last()
            needed = str(last.id) if last is not None else None
            looked, after = 0, None
            while page := await self._rows.page(self._bound, after, PAGE):
                await still_alone()
                await self._prune([one for one in page if one.task_id != needed])
                self._done.kept += sum(one.task_id == needed for one in page)
                after = page[-1].place
                looked += len(page)
                progress(looked)
        await self._prune_parents(still_alone)
        if self._order.reports:
            await self._prune_sessions()

    async def _prune(self, rows: Sequence[EndedTask]) -> None:
        """Prune tasks that are old enough, where nothing needs them any more."""
        runs = {run.id: run for run in await read_runs(self._client, _ids(rows))}
        await self._see_parents({one.parent_task_id for one in rows if one.parent_task_id})
        wanted = []
        for row in rows:
            run = runs.get(row.run_id) if row.run_id is not None else None
            parent = self._parents.get(row.parent_task_id or "", True)
            # What the row does not know yet: the run may have been started again.
            if parent and (run is None or self._is_old(run)):
                wanted.append(row)
            else:
                self._done.kept += 1
        there = [runs[row.run_id] for row in wanted if row.run_id in runs]
        if self._order.dry_run:
            self._done.tasks += len(wanted)
            self._done.flow_runs += len(there)
            return
        deleted = await self._delete_runs(there)
        stayed = {run.id for run in there} - deleted
        gone = [row for row in wanted if row.run_id not in stayed]
        self._done.kept += len(stayed)
        self._done.artifacts += await pruning.delete_artifacts(self._client, _ids(gone))
        if self._order.reports:
            named = {(one.session_id, one.own_report or report_name(one.task_id)) for one in gone}
            named -= await self._rows.named_by_others(gone)
            self._done.reports += await asyncio.to_thread(
                files.remove_reports, self._settings.workspace_dir, sorted(named)
            )
        self._done.tasks += await self._rows.delete([row.task_id for row in gone], self._bound)

    async def _delete_runs(self, runs: Sequence[FlowRun]) -> set[UUID]:
        deleted: set[UUID] = set()
        for start in range(0, len(runs), pruning.AT_ONCE):
            deleted |= await pruning.delete_ended(
                self._client,
                runs[start : start + pruning.AT_ONCE],
                self._order.before,
                self._schedules,
            )
        self._done.flow_runs += len(deleted)
        return deleted

    async def _see_parents(self, parents: Collection[str]) -> None:
        """Decide whether the parts of batches and workflows may go.

        A parent that is run again looks for its parts and runs what is missing. So they go with
        it, all or none, and it goes first.
        """
        unseen = {parent: run_id_of(parent) for parent in parents if parent not in self._parents}
        read = await read_runs(self._client, [one for one in unseen.values() if one is not None])
        found = {run.id: run for run in read}
        for parent, run_id in unseen.items():
            run = found.get(run_id) if run_id is not None else None
            self._parents[parent] = run is None or await self._drop_family(run)

    async def _drop_family(self, parent: FlowRun) -> bool:
        """Delete a parent all of whose parts are old enough; whether that was so."""
        children = await children_of(self._client, parent.id)
        if not all(self._is_old(one) for one in (parent, *children)):
            return False
        return await self._drop_parent(parent)

    async def _drop_parent(self, parent: FlowRun) -> bool:
        if self._order.dry_run:
            self._done.flow_runs += 1
            self._dropped.add(parent.id)
            return True
        # No row says that it is to be finished with: its artifacts go first.
        self._done.artifacts += await pruning.delete_artifacts(self._client, [parent.id])
        return parent.id in await self._delete_runs([parent])

    async def _prune_parents(self, still_alone: Callable[[], Awaitable[None]]) -> None:
        """Prune batches, workflows and alerts that have no parts, or none any more."""
        for pool in (self._settings.parents_pool, self._settings.alerts_pool):
            await self._prune_pool(pool, still_alone)

    async def _prune_pool(self, pool: str, still_alone: Callable[[], Awaitable[None]]) -> None:
        stayed = 0
        while page := await pruning.ended_in_pool(self._client, pool, self._order.before, stayed):
            await still_alone()
            for run in page:
                seen = run.id in self._dropped or await pruning.has_children(self._client, run.id)
                if seen or not await self._drop_parent(run) or self._order.dry_run:
                    stayed += 1

    async def _prune_sessions(self) -> None:
        """Remove the folders of sessions that have nothing left, neither tasks nor files."""
        workspace = self._settings.workspace_dir
        empty = await asyncio.to_thread(files.empty_sessions, workspace, self._order.before)
        without = await self._rows.sessions_without_rows(empty)
        if self._order.dry_run:
            self._done.folders += len(without)
            return
        for session in sorted(without):
            removed = await asyncio.to_thread(files.remove_empty_session, workspace, session)
            self._done.folders += removed

    def _is_old(self, run: FlowRun) -> bool:
        ended = run.state is not None and run.state.is_final()
        return ended and run.end_time is not None and (run.end_time, str(run.id)) < self._bound

    async def _read_schedules(self) -> None:
        pages = 0
        async for page in prefect_deployments.pages(self._client):
            pages += 1
            self._schedules |= {one.id for deployment in page for one in deployment.schedules}
        if pages == 1 and not self._order.dry_run:  # of several, one may have been left out
            await tally.forget_others(self._client, self._schedules)

    async def _check_server(self) -> None:
        """See that Prefect knows one of the newest tasks: else all would seem deleted from it.

        What was taken over from VibeSurf it never knew.

        Raises:
            StackError: It knows none.
        """
        newest = await TaskStore(self._database).newest_ids(_SAMPLE)
        ids = [run_id_of(one) for one in newest]
        known = await read_runs(self._client, [one for one in ids if one is not None])
        if newest and not known:
            msg = (
                f"The Prefect server at {self._client.api_url} knows none of the newest tasks of "
                f"{self._database}: is it the one they ran on? PREFECT_API_URL names it. If it has "
                "really lost them, `vibesurf-blocks mirror --rebuild` empties the tables."
            )
            raise StackError(msg)


async def _nobody_minds() -> None:
    """Who only looks is in nobody's way."""


def _ids(rows: Iterable[EndedTask]) -> list[UUID]:
    return [row.run_id for row in rows if row.run_id is not None]
