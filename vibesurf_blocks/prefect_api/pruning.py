"""Deletes ended flow runs for good, with what Prefect itself would leave of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilterEndTime,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from vibesurf_blocks.prefect_api import tally
from vibesurf_blocks.prefect_api.deployments import schedule_of, was_executed
from vibesurf_blocks.prefect_api.runs import in_states, of_parents, of_pool

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import Artifact, FlowRun

AT_ONCE: Final = 50
"""Most flow runs that Prefect deletes with one request."""

_DELETES: Final = 8
"""Artifacts that are deleted at the same time: Prefect has no request for several."""

_ARTIFACTS: Final = 100


async def delete_ended(
    client: PrefectClient, runs: Sequence[FlowRun], before: datetime, schedules: Collection[UUID]
) -> set[UUID]:
    """Delete flow runs, with states, task runs, inputs and logs; not their artifacts.

    The server looks at each once more: one that is run again meanwhile stays.

    Args:
        client: Prefect.
        runs: The runs, `AT_ONCE` at the most.
        before: They ended before this moment, or stay.
        schedules: Those whose executions are kept count of.

    Returns:
        The ids of the runs that are deleted.
    """
    if not runs:
        return set()
    executed: dict[UUID, list[FlowRun]] = {}
    for run in runs:
        schedule = schedule_of(run)
        if schedule in schedules and schedule is not None and was_executed(run):
            executed.setdefault(schedule, []).append(run)
    await tally.going(client, executed)
    wanted = _ended(before)
    wanted.id = FlowRunFilterId(any_=[run.id for run in runs])
    answer = await client.request(
        "POST",
        cast("Any", "/flow_runs/bulk_delete"),  # of the server's API; the client has no method
        json={"flow_runs": wanted.model_dump(mode="json"), "limit": AT_ONCE},
    )
    answer.raise_for_status()
    await tally.gone(client, executed)
    return {UUID(one) for one in answer.json()["deleted"]}


async def delete_artifacts(client: PrefectClient, run_ids: Sequence[UUID]) -> int:
    """Delete the artifacts of these runs, which outlive them; returns how many there were."""
    gone = 0
    for start in range(0, len(run_ids), AT_ONCE):
        of_these = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=list(run_ids[start : start + AT_ONCE]))
        )
        while page := await client.read_artifacts(artifact_filter=of_these, limit=_ARTIFACTS):
            for first in range(0, len(page), _DELETES):
                await asyncio.gather(
                    *(_delete_artifact(client, one) for one in page[first : first + _DELETES])
                )
            gone += len(page)
    return gone


async def _delete_artifact(client: PrefectClient, artifact: Artifact) -> None:
    try:
        await client.delete_artifact(artifact.id)
    except ObjectNotFound:  # somebody else did
        return


async def ended_in_pool(
    client: PrefectClient, pool: str, before: datetime, skip: int
) -> list[FlowRun]:
    """Runs of a pool that ended before a moment, `AT_ONCE` at the most.

    Args:
        client: Prefect.
        pool: The pool.
        before: The moment.
        skip: How many are left out, in the order of their ids.
    """
    return await client.read_flow_runs(
        flow_run_filter=_ended(before),
        work_pool_filter=of_pool(pool),
        sort=FlowRunSort.ID_DESC,
        limit=AT_ONCE,
        offset=skip,
    )


async def has_children(client: PrefectClient, parent: UUID) -> bool:
    """Whether a run still has a child."""
    return bool(await client.read_flow_runs(flow_run_filter=of_parents([parent]), limit=1))


def _ended(before: datetime) -> FlowRunFilter:
    ended = in_states(sorted(TERMINAL_STATES))
    ended.end_time = FlowRunFilterEndTime(before_=before)
    return ended
