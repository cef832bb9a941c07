"""Flow runs: which hold the slots of a pool, which are due, and batched reads by id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort

from vibesurf_blocks.prefect_api.queues import rank_of
from vibesurf_blocks.prefect_api.states import (
    SLOT_STATES,
    SUSPENDED,
    UNFINISHED_STATES,
    holds_slot,
    is_suspended,
)
from vibesurf_blocks.tasks import AGENT_FLOW

PAGE = 200
"""Most flow runs that Prefect returns at once."""


def in_states(types: Sequence[StateType]) -> FlowRunFilter:
    """Runs whose state is of one of these types."""
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))


def due_filter(moment: datetime) -> FlowRunFilter:
    """Scheduled runs, under whatever name, that fall due before a moment."""
    due = in_states([StateType.SCHEDULED])
    due.next_scheduled_start_time = FlowRunFilterNextScheduledStartTime(before_=moment)
    return due


def unfinished_filter(moment: datetime) -> FlowRunFilter:
    """Runs that were to start before a moment and have not ended, suspended ones apart.

    One read of them overlooks none, as two reads may that ask for those which wait and for those
    which run: a run may begin between the two.
    """
    return FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=list(UNFINISHED_STATES)),
            name=FlowRunFilterStateName(not_any_=[SUSPENDED]),
        ),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=moment),
    )


def of_pool(pool: str) -> WorkPoolFilter:
    """Runs of one work pool."""
    return WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))


def of_parents(parents: Sequence[UUID]) -> FlowRunFilter:
    """Runs that these other runs started."""
    return FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=list(parents)),
    )


async def slot_holders(client: PrefectClient, pool: str) -> list[FlowRun]:
    """The runs of a pool that hold a slot, in an order that is the same for every reader.

    Claims (Pending) come after all that have gone further, by priority and then in the order they
    were asked for.
    """
    runs = await client.read_flow_runs(
        flow_run_filter=in_states(SLOT_STATES), work_pool_filter=of_pool(pool), limit=PAGE
    )
    holders = [run for run in runs if holds_slot(run.state)]
    return sorted(holders, key=_claim_order)


async def loose_holders(client: PrefectClient) -> list[FlowRun]:
    """Agent runs that hold a slot without any work pool: started by `serve` or plain Python."""
    runs = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[AGENT_FLOW])),
        flow_run_filter=in_states(SLOT_STATES),
        limit=PAGE,
    )
    return [run for run in runs if run.work_pool_name is None and holds_slot(run.state)]


async def suspended(client: PrefectClient, pool: str) -> list[FlowRun]:
    """The runs of a pool that were suspended and hold no slot."""
    runs = await client.read_flow_runs(
        flow_run_filter=in_states([StateType.PAUSED]), work_pool_filter=of_pool(pool), limit=PAGE
    )
    return [run for run in runs if is_suspended(run.state)]


async def waiting(client: PrefectClient, pool: str, moment: datetime) -> list[FlowRun]:
    """The runs of a pool that were due at a moment and that no worker has claimed."""
    return await client.read_flow_runs(
        flow_run_filter=due_filter(moment),
        work_pool_filter=of_pool(pool),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=PAGE,
    )


def _claim_order(run: FlowRun) -> tuple[bool, int, datetime, UUID]:
    state = run.state
    assert state is not None  # noqa: S101 - a holder has a state
    pending = state.type is StateType.PENDING
    asked = run.expected_start_time if pending else None
    rank = rank_of(run.work_queue_name) if pending else 0
    return (pending, rank, asked or state.timestamp, run.id)


async def next_due(
    client: PrefectClient, pool: str, after: datetime, *, but: Collection[UUID] = ()
) -> datetime | None:
    """When the pool's next run falls due after a moment (UTC), None where none is scheduled.

    Args:
        client: Prefect.
        pool: The work pool.
        after: The moment.
        but: Runs that do not count.
    """
    scheduled = in_states([StateType.SCHEDULED])
    if but:
        scheduled.id = FlowRunFilterId(not_any_=list(but))
    scheduled.next_scheduled_start_time = FlowRunFilterNextScheduledStartTime(after_=after)
    runs = await client.read_flow_runs(
        flow_run_filter=scheduled,
        work_pool_filter=of_pool(pool),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=1,
    )
    return runs[0].next_scheduled_start_time if runs else None


async def read_runs(client: PrefectClient, ids: Sequence[UUID]) -> list[FlowRun]:
    """The runs with these ids that Prefect still knows, read in batches."""
    found: list[FlowRun] = []
    for start in range(0, len(ids), PAGE):
        chunk = list(ids[start : start + PAGE])
        found += await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=chunk)), limit=PAGE
        )
    return found


async def ended_before(client: PrefectClient, run_id: UUID) -> State[Any] | None:
    """How a run had ended that was suspended after its end, None where it was not.

    The UI's Pause is forced, so one that comes in the moment of the end is set over it; what is
    resumed then has nothing left to do. A retry is another matter: that begins anew.
    """
    states = await client.read_flow_run_states(run_id)
    states.sort(key=lambda state: state.timestamp)
    for state, following in reversed(list(pairwise(states))):
        if state.is_final():
            return state if is_suspended(following) else None
    return None


async def children_of(client: PrefectClient, parent: UUID) -> list[FlowRun]:
    """All runs that another run started."""
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=of_parents([parent]),
            sort=FlowRunSort.ID_DESC,
            limit=PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < PAGE:
            return found


def _wanted(pools: Sequence[str]) -> list[tuple[FlowFilter | None, WorkPoolFilter | None]]:
    """The runs of the agent's flow, wherever started, and those of the pools."""
    return [
        (FlowFilter(name=FlowFilterName(any_=[AGENT_FLOW])), None),
        (None, WorkPoolFilter(name=WorkPoolFilterName(any_=list(pools)))),
    ]


async def _scan(
    client: PrefectClient, runs: FlowRunFilter | None, pools: Sequence[str]
) -> AsyncIterator[list[FlowRun]]:
    for flow_filter, pool_filter in _wanted(pools):
        offset = 0
        while True:
            page = await client.read_flow_runs(
                flow_filter=flow_filter,
                flow_run_filter=runs,
                work_pool_filter=pool_filter,
                sort=FlowRunSort.ID_DESC,
                limit=PAGE,
                offset=offset,
            )
            if page:
                yield page
            if len(page) < PAGE:
                break
            offset += PAGE


def all_runs(client: PrefectClient, pools: Sequence[str]) -> AsyncIterator[list[FlowRun]]:
    """Every run of the agent and of the pools, in pages; some may come twice."""
    return _scan(client, None, pools)


def ended_since(
    client: PrefectClient, moment: datetime, pools: Sequence[str]
) -> AsyncIterator[list[FlowRun]]:
    """Those of them that ended after a moment, in pages; some may come twice."""
    ended = FlowRunFilter(end_time=FlowRunFilterEndTime(after_=moment))
    return _scan(client, ended, pools)


async def unfinished(
    client: PrefectClient, due_before: datetime, pools: Sequence[str]
) -> AsyncIterator[list[FlowRun]]:
    """Those that have not ended: all begun ones, and the scheduled ones due before a moment."""
    for wanted in (in_states(SLOT_STATES), due_filter(due_before)):
        async for page in _scan(client, wanted, pools):
            yield page
