"""Applies the policies of schedules to their occurrences, just before a worker claims runs.

An occurrence that has to wait is set to AwaitingConcurrencySlot: people see why it waits, its place
in the queue stays, an edit of the deployment does not delete it, and it has passed its policy once
and for all, whatever restarts. One that does not run is cancelled as Skipped, with the reason, so
that it is recorded. What is still Scheduled (or Late) when its time has come was not looked at yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Set
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterCreatedBy,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterTags,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingConcurrencySlot, Cancelled

from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api.deployments import AUTO_TAG, SKIPPED
from vibesurf_blocks.prefect_api.runs import PAGE, of_pool, read_runs
from vibesurf_blocks.schedules.policy import Catchup, Overlap, Policy, policy_of

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

logger = logging.getLogger(__name__)

_UNSEEN = ("Scheduled", "Late")
_WAITING = "AwaitingConcurrencySlot"
_AT_ONCE = 10
_MADE_AHEAD = timedelta(minutes=30)
"""Prefect makes runs an hour ahead: none is missing where it was gone for less than this."""


class Occurrences:
    """The due occurrences of a pool's schedules, as one worker sees them."""

    def __init__(self, pool: str, missed_after: timedelta) -> None:
        """Take occurrences for missed that fell due `missed_after` before they were first seen."""
        self._pool = pool
        self._missed_after = missed_after
        self._looked: datetime | None = None
        self._alive: datetime | None = None

    async def before(self, client: PrefectClient) -> None:
        """Note when workers of the pool were last alive; to be called before this one is."""
        workers = await client.read_workers_for_work_pool(self._pool)
        beats = [one.last_heartbeat_time for one in workers if one.last_heartbeat_time]
        self._alive = max(beats, default=None)

    async def catch_up(self, client: PrefectClient) -> None:
        """Decide on what was missed, where nobody may have looked for a while."""
        now = datetime.now(UTC)
        if self._looked is not None and now - self._looked < self._missed_after:
            return
        since = self._looked or self._alive
        if since is not None and now - since > _MADE_AHEAD:
            await self._make_missing(client, since)
        missed: dict[UUID, list[FlowRun]] = {}
        for run in await self._due(client, _UNSEEN, now - self._missed_after):
            missed.setdefault(_schedule_of(run), []).append(run)
        decisions = []
        for runs in missed.values():
            catchup = _policy(runs[0]).catchup
            kept = len(runs) if catchup is Catchup.ALL else int(catchup is Catchup.LATEST)
            for place, run in enumerate(reversed(runs)):
                if place < kept:
                    decisions.append((run, _wait(run, f"Missed; runs late as catchup={catchup}.")))
                else:
                    decisions.append((run, _skip(f"missed while nothing ran; catchup={catchup}")))
        if decisions:
            logger.info("Decided on %d missed occurrences.", len(decisions))
        await _set_all(client, decisions)
        self._looked = datetime.now(UTC)

    async def queue(
        self, client: PrefectClient, taken: Callable[[], Awaitable[bool]], taking: Set[UUID]
    ) -> None:
        """Decide on the due occurrences that find the slot taken.

        Args:
            client: Prefect.
            taken: Whether it is.
            taking: Runs that are just being claimed: for them it is not.
        """
        due = await self._due(client, _UNSEEN, datetime.now(UTC))
        due = [run for run in due if run.id not in taking]
        if due and await taken():
            await self._line_up(client, due)
        # However long this took: what fell due meanwhile was not missed.
        self._looked = datetime.now(UTC)

    async def _line_up(self, client: PrefectClient, due: Iterable[FlowRun]) -> None:
        crowded = {_schedule_of(run) for run in due if _policy(run).overlap is Overlap.QUEUE_ONE}
        waiting = await self._waiting(client, crowded) if crowded else set()
        decisions = []
        for run in due:
            overlap = _policy(run).overlap
            schedule = _schedule_of(run)
            if overlap is Overlap.SKIP:
                decisions.append((run, _skip("another task had the slot; overlap=skip")))
            elif overlap is Overlap.QUEUE_ONE and schedule in waiting:
                reason = "an earlier occurrence still waits for the slot; overlap=queue-one"
                decisions.append((run, _skip(reason)))
            else:
                waiting.add(schedule)
                decisions.append((run, _wait(run, f"Waits for the slot; overlap={overlap}.")))
        await _set_all(client, decisions)

    async def _make_missing(self, client: PrefectClient, since: datetime) -> None:
        """Have runs made for occurrences that Prefect made none for, as it was down too long."""
        async for page in prefect_deployments.pages(client):
            for deployment in page:
                if deployment.work_pool_name == self._pool and deployment.schedules:
                    after = {
                        one.id: max(since, one.updated or since) for one in deployment.schedules
                    }
                    await prefect_deployments.make_up(client, deployment, after)

    async def _due(
        self, client: PrefectClient, names: Iterable[str], before: datetime
    ) -> list[FlowRun]:
        """Runs of schedules that Prefect made and that were due before a moment, oldest first."""
        found: list[FlowRun] = []
        while True:
            page = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    tags=FlowRunFilterTags(all_=[AUTO_TAG]),
                    state=FlowRunFilterState(name=FlowRunFilterStateName(any_=list(names))),
                    next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=before),
                ),
                work_pool_filter=of_pool(self._pool),
                sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
                limit=PAGE,
                offset=len(found),
            )
            found += page
            if len(page) < PAGE:
                return [run for run in found if is_undecided(run)]

    async def _waiting(self, client: PrefectClient, schedules: Iterable[UUID]) -> set[UUID]:
        """Those of the schedules of which an occurrence waits for the slot."""
        found: set[UUID] = set()
        wanted = list(schedules)
        for start in range(0, len(wanted), PAGE):
            runs = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    created_by=FlowRunFilterCreatedBy(id_=wanted[start : start + PAGE]),
                    state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[_WAITING])),
                ),
                limit=PAGE,
            )
            found |= {_schedule_of(run) for run in runs}
        return found


def is_undecided(run: FlowRun) -> bool:
    """Whether a run is an occurrence on which its policies have not been asked, as it was read."""
    unseen = run.state is not None and run.state.name in _UNSEEN
    return unseen and run.auto_scheduled and run.start_time is None


def _schedule_of(run: FlowRun) -> UUID:
    """The schedule a run was made of; its deployment where Prefect does not say."""
    made_by = run.created_by.id if run.created_by else None
    return made_by or run.deployment_id or run.flow_id


def _policy(run: FlowRun) -> Policy:
    return policy_of(run.tags, run.created_by.display_value if run.created_by else None)


def _wait(run: FlowRun, message: str) -> State[None]:
    return AwaitingConcurrencySlot(scheduled_time=run.next_scheduled_start_time, message=message)


def _skip(reason: str) -> State[None]:
    return Cancelled(name=SKIPPED, message=f"Skipped: {reason}.")


async def _set_all(client: PrefectClient, decisions: list[tuple[FlowRun, State[None]]]) -> None:
    for start in range(0, len(decisions), _AT_ONCE):
        chunk = decisions[start : start + _AT_ONCE]
        # Another worker may have claimed some of them since they were read.
        now = await read_runs(client, [run.id for run, _ in chunk])
        open_ = {run.id for run in now if run.state is not None and run.state.name in _UNSEEN}
        await asyncio.gather(
            *(client.set_flow_run_state(run.id, state) for run, state in chunk if run.id in open_)
        )
