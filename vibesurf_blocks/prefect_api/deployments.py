"""Deployments and their schedules: found by the names people use, read in pages, edited.

A schedule made by REST is known by its slug, which also tells how the client spelled `flow_id`:
that is all there is to keep, and Prefect keeps it. As a slug is unique within its deployment, of
several that make such a schedule at once only one succeeds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Final
from uuid import UUID

import httpx
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterCreatedBy,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import DeploymentSort, FlowRunSort
from prefect.events import emit_event
from prefect.exceptions import PrefectHTTPStatusError

from vibesurf_blocks.errors import Conflict
from vibesurf_blocks.prefect_api import tally
from vibesurf_blocks.prefect_api.firing import firings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.client.schemas.schedules import SCHEDULE_TYPES
    from pydantic import JsonValue

MOST_MADE: Final = 1_000
"""Occurrences that are made up for at once at the most, the latest ones."""

PAGE: Final = 200
"""Most deployments that Prefect returns at once."""

_ASKED_AT_ONCE: Final = 100

CHANGED_EVENT: Final = "vibesurf.schedule.changed"
"""A schedule was changed and its next runs are made: a worker does well to look at once."""

SKIPPED: Final = "Skipped"
"""Name of the Cancelled state of an occurrence that a policy did not let run."""

_CANCELLED = StateType.CANCELLED

_SOON = timedelta(seconds=90)
"""Occurrences that are further away get their runs in time by Prefect's own loop.

It comes round once a minute where nobody has set it otherwise.
"""

AUTO_TAG: Final = "auto-scheduled"
"""Prefect's own tag of the runs that it makes of a schedule."""


class Spelling(StrEnum):
    """How a client spelled the `flow_id` of a schedule; the slugs of schedules made by REST."""

    ID = "vibesurf-id"
    PATH = "vibesurf-path"
    NAME = "vibesurf-name"


@dataclass(frozen=True, slots=True)
class Executions:
    """What came of a schedule so far.

    Attributes:
        count: Occurrences that were started.
        last: When the last of them was started (UTC), None before the first.
    """

    count: int = 0
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A deployment that a `flow_id` names.

    Attributes:
        deployment: The deployment.
        flow: Name of its flow.
        spelling: How the `flow_id` names it.
    """

    deployment: DeploymentResponse
    flow: str
    spelling: Spelling

    @property
    def path(self) -> str:
        """`flow/deployment`."""
        return f"{self.flow}/{self.deployment.name}"


def rest_schedule(deployment: DeploymentResponse) -> DeploymentSchedule | None:
    """The schedule of a deployment that was made by REST, if there is one."""
    slugs = {str(one) for one in Spelling}
    made = [one for one in in_order(deployment) if one.slug in slugs]
    return made[0] if made else None


def in_order(deployment: DeploymentResponse) -> list[DeploymentSchedule]:
    """The schedules of a deployment, oldest first."""
    return sorted(deployment.schedules, key=lambda one: (str(one.created), str(one.id)))


async def find(client: PrefectClient, flow_id: str) -> list[Found]:
    """The deployments that a name may mean: an id, `flow/deployment`, or a bare name."""
    try:
        as_id = [UUID(flow_id)]
    except ValueError:
        as_id = []
    if as_id:
        found = await _read(client, DeploymentFilter(id=DeploymentFilterId(any_=as_id)))
        if found:
            return await _with_flows(client, found, Spelling.ID)
    flow, slash, name = flow_id.partition("/")
    if slash:
        named = DeploymentFilter(name=DeploymentFilterName(any_=[name]))
        of_flow = FlowFilter(name=FlowFilterName(any_=[flow]))
        return await _with_flows(client, await _read(client, named, of_flow), Spelling.PATH)
    named = DeploymentFilter(name=DeploymentFilterName(any_=[flow_id]))
    return await _with_flows(client, await _read(client, named), Spelling.NAME)


async def _read(
    client: PrefectClient, wanted: DeploymentFilter, flows: FlowFilter | None = None
) -> list[DeploymentResponse]:
    return await client.read_deployments(
        deployment_filter=wanted, flow_filter=flows, limit=PAGE, sort=DeploymentSort.NAME_ASC
    )


async def _with_flows(
    client: PrefectClient, deployments: Sequence[DeploymentResponse], spelling: Spelling
) -> list[Found]:
    return [Found(one, (await client.read_flow(one.flow_id)).name, spelling) for one in deployments]


async def read(client: PrefectClient, ids: Collection[UUID]) -> list[DeploymentResponse]:
    """The deployments with these ids that are still there, `PAGE` at the most."""
    return await _read(client, DeploymentFilter(id=DeploymentFilterId(any_=list(ids))))


async def page(
    client: PrefectClient,
    offset: int = 0,
    *,
    limit: int = PAGE,
    sort: DeploymentSort = DeploymentSort.NAME_ASC,
) -> list[DeploymentResponse]:
    """`limit` deployments (`PAGE` at the most) after the first `offset`."""
    return await client.read_deployments(limit=limit, offset=offset, sort=sort)


async def pages(client: PrefectClient) -> AsyncIterator[list[DeploymentResponse]]:
    """All deployments, in pages; one that is made or deleted meanwhile may be left out."""
    offset = 0
    while True:
        found = await page(client, offset)
        yield found
        if len(found) < PAGE:
            return
        offset += PAGE


async def add_schedule(
    client: PrefectClient,
    deployment_id: UUID,
    schedule: SCHEDULE_TYPES,
    *,
    active: bool,
    slug: str,
) -> DeploymentSchedule:
    """Give a deployment a schedule.

    Raises:
        Conflict: It has one with this slug.
    """
    wanted = DeploymentScheduleCreate(schedule=schedule, active=active, slug=slug)
    try:
        made = await client.create_deployment_schedules(deployment_id, [wanted])
    except PrefectHTTPStatusError as error:
        if error.response.status_code == httpx.codes.CONFLICT:
            raise Conflict from error
        raise
    return made[0]


async def change_schedule(
    client: PrefectClient,
    deployment_id: UUID,
    before: DeploymentSchedule,
    *,
    schedule: SCHEDULE_TYPES | None = None,
    active: bool | None = None,
) -> None:
    """Change a schedule of a deployment; what is None stays as it is.

    Raises:
        ObjectNotFound: It is gone.
    """
    await client.update_deployment_schedule(
        deployment_id,
        before.id,
        active=active,
        schedule=schedule,
        # Left out, they would be emptied.
        parameters=before.parameters,
    )


async def change_deployment(
    client: PrefectClient,
    deployment_id: UUID,
    **values: str | list[str] | dict[str, JsonValue] | None,
) -> None:
    """Change fields of a deployment, its schedules apart."""
    await client.update_deployment(deployment_id, DeploymentUpdate.model_validate(values))


async def executions(client: PrefectClient, deployment_id: UUID, schedule_id: UUID) -> Executions:
    """Count the started occurrences of a schedule, those whose runs were deleted included."""
    kept = await tally.read(client, schedule_id)
    while True:
        found = await _there(client, deployment_id, schedule_id, kept.going)
        before, kept = kept, await tally.read(client, schedule_id)
        if kept == before:  # else runs were deleted while they were counted
            break
    lasts = [one for one in (found.last, kept.last) if one is not None]
    return Executions(kept.count + len(kept.going) + found.count, max(lasts, default=None))


async def _there(
    client: PrefectClient, deployment_id: UUID, schedule_id: UUID, apart: Collection[UUID]
) -> Executions:
    """Count those whose runs are there, some apart."""
    begun = _begun(deployment_id, schedule_id, FlowRunFilterStateType(not_any_=[_CANCELLED]))
    # Prefect gives a run that is cancelled before it starts a start time all the same.
    cancelled = _begun(deployment_id, schedule_id, FlowRunFilterStateType(any_=[_CANCELLED]))
    if apart:
        begun.id = cancelled.id = FlowRunFilterId(not_any_=list(apart))
    count = await client.count_flow_runs(flow_run_filter=begun)
    newest = await client.read_flow_runs(
        flow_run_filter=begun, sort=FlowRunSort.START_TIME_DESC, limit=1 if count else 0
    )
    offset = 0
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=cancelled, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=offset
        )
        stopped = [run for run in page if was_executed(run)]
        count += len(stopped)
        newest += stopped
        if len(page) < PAGE:
            break
        offset += PAGE
    return Executions(
        count, max((run.start_time for run in newest if run.start_time), default=None)
    )


def _begun(deployment_id: UUID, schedule_id: UUID, types: FlowRunFilterStateType) -> FlowRunFilter:
    return FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        created_by=FlowRunFilterCreatedBy(id_=[schedule_id]),
        start_time=FlowRunFilterStartTime(is_null_=False),
        state=FlowRunFilterState(type=types, name=FlowRunFilterStateName(not_any_=[SKIPPED])),
    )


async def never_started(client: PrefectClient, schedules: Sequence[UUID]) -> set[UUID]:
    """Of some schedules, those of which surely no occurrence was ever started.

    One question for many of them: most have none where there are very many.
    """
    tallied = await tally.schedules(client)
    asked = [one for one in schedules if one not in tallied]
    never: set[UUID] = set()
    for start in range(0, len(asked), _ASKED_AT_ONCE):
        chunk = asked[start : start + _ASKED_AT_ONCE]
        begun = FlowRunFilter(
            created_by=FlowRunFilterCreatedBy(id_=chunk),
            start_time=FlowRunFilterStartTime(is_null_=False),
        )
        if not await client.read_flow_runs(flow_run_filter=begun, limit=1):
            never.update(chunk)
    return never


def was_executed(run: FlowRun) -> bool:
    """Whether a run of a schedule counts among its executions, as `executions` counts them."""
    if run.start_time is None or run.state is None or run.state.name == SKIPPED:
        return False
    return run.run_count > 0 or not run.state.is_cancelled()


def schedule_of(run: FlowRun) -> UUID | None:
    """The schedule that a run was made for, None for one that was made otherwise."""
    return run.created_by.id if run.auto_scheduled and run.created_by else None


async def started_since(client: PrefectClient, moment: datetime) -> set[UUID]:
    """Ids of the schedules of which an occurrence was started after a moment."""
    found: set[UUID] = set()
    offset = 0
    while True:
        runs = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                start_time=FlowRunFilterStartTime(after_=moment),
                tags=FlowRunFilterTags(all_=[AUTO_TAG]),
            ),
            sort=FlowRunSort.ID_DESC,
            limit=PAGE,
            offset=offset,
        )
        found |= {run.created_by.id for run in runs if run.created_by and run.created_by.id}
        if len(runs) < PAGE:
            return found
        offset += PAGE


async def with_coming_runs(
    client: PrefectClient, schedules: Sequence[tuple[UUID, UUID]]
) -> set[UUID]:
    """Ids of those schedules of which Prefect has made runs that have not begun.

    Args:
        client: Prefect.
        schedules: Of each its deployment and its id.
    """
    found: set[UUID] = set()
    for start in range(0, len(schedules), PAGE):
        wanted = {schedule: of for of, schedule in schedules[start : start + PAGE]}
        while wanted:
            # By their times, so that a page holds runs of many schedules.
            runs = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    deployment_id=FlowRunFilterDeploymentId(any_=list(set(wanted.values()))),
                    created_by=FlowRunFilterCreatedBy(id_=list(wanted)),
                    state=FlowRunFilterState(
                        type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])
                    ),
                ),
                sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
                limit=PAGE,
            )
            seen = {run.created_by.id for run in runs if run.created_by and run.created_by.id}
            if not seen & wanted.keys():
                break
            found |= seen & wanted.keys()
            wanted = {schedule: of for schedule, of in wanted.items() if schedule not in seen}
    return found


async def make_up(
    client: PrefectClient, deployment: DeploymentResponse, since: Mapping[UUID, datetime]
) -> int:
    """See that every occurrence since a moment has its run, and that those due soon have.

    Prefect forgets the coming runs of a deployment whenever it is edited, and makes them anew a
    little later; what falls due between is lost. Nothing is made twice: an occurrence for which
    the deployment has a run, of whatever schedule, is left alone.

    Args:
        client: Prefect.
        deployment: As it is now.
        since: For each schedule the moment after which its occurrences count.

    Returns:
        How many occurrences had no run and have one now.
    """
    active = [one for one in deployment.schedules if one.active]
    if deployment.paused or not active:
        return 0
    now = datetime.now(UTC)
    owed: set[datetime] = set()
    for one in active:
        if one.id in since:
            owed.update(firings(one.schedule, since[one.id], now))
    latest = sorted(owed)[-MOST_MADE:]
    made = await _made(client, deployment.id, latest) if latest else set()
    missing = len(latest) - len(made)
    for there, moments in groupby(latest, key=made.__contains__):
        if not there:
            await _schedule(client, deployment.id, list(moments))
    if any(firings(one.schedule, now, now + _SOON) for one in active):
        await _schedule(client, deployment.id, now)
        announce(deployment.id)
    elif missing:
        announce(deployment.id)
    return missing


async def _made(
    client: PrefectClient, deployment_id: UUID, moments: Collection[datetime]
) -> set[datetime]:
    """Those of the moments for which a deployment has a run."""
    second = timedelta(seconds=1)
    made: set[datetime] = set()
    offset = 0
    while True:
        runs = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
                expected_start_time=FlowRunFilterExpectedStartTime(
                    after_=min(moments) - second, before_=max(moments) + second
                ),
            ),
            sort=FlowRunSort.ID_DESC,
            limit=PAGE,
            offset=offset,
        )
        made |= {run.expected_start_time for run in runs if run.expected_start_time} & set(moments)
        if len(runs) < PAGE:
            return made
        offset += PAGE


async def _schedule(
    client: PrefectClient, deployment_id: UUID, moments: Sequence[datetime] | datetime
) -> None:
    """Have the server make runs of a deployment: those of past moments, or all after a moment."""
    if isinstance(moments, datetime):
        # Not the server's own now: what falls due on the way there would get no run.
        body: dict[str, JsonValue] = {"start_time": moments.isoformat()}
    else:
        body = {
            "start_time": moments[0].isoformat(),
            "end_time": moments[-1].isoformat(),
            "min_runs": len(moments),
            "max_runs": len(moments),
        }
    await client.request(
        "POST", "/deployments/{id}/schedule", path_params={"id": deployment_id}, json=body
    )


def announce(deployment_id: UUID) -> None:
    """Tell the workers that schedules of a deployment changed."""
    emit_event(
        CHANGED_EVENT, resource={"prefect.resource.id": f"prefect.deployment.{deployment_id}"}
    )
