"""Routes under `/schedule`: cron schedules of deployments, by the name the client uses."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from vibesurf_blocks.api import schedules
from vibesurf_blocks.api.context import Ctx
from vibesurf_blocks.api.schedule_schemas import (
    ScheduleCreate,
    ScheduleDeleted,
    ScheduleTimes,
    ScheduleUpdate,
)
from vibesurf_blocks.api.schemas import Problem
from vibesurf_blocks.tables.records import ScheduleRecord

router = APIRouter(prefix="/schedule", tags=["schedules"], responses={503: {"model": Problem}})

times_router = APIRouter(tags=["schedules"], responses={503: {"model": Problem}})
"""Beside `/schedule/{flow_id}`, which may end in anything: a deployment may be named `times`."""

FlowId = Annotated[
    str,
    Path(
        description="A deployment: its id, `flow/deployment`, or its bare name.", max_length=1_000
    ),
]
_UNKNOWN: dict[int | str, dict[str, object]] = {404: {"model": Problem}}
_REFUSED: dict[int | str, dict[str, object]] = {
    **_UNKNOWN,
    400: {"model": Problem},
    409: {"model": Problem},
}


@router.post("", responses=_REFUSED)
async def create_schedule(body: ScheduleCreate, context: Ctx) -> ScheduleRecord:
    """Give a deployment a schedule; it shows in the Prefect UI when this answers."""
    return await schedules.create(context, body)


@router.get("")
async def list_schedules(context: Ctx) -> list[ScheduleRecord]:
    """All schedules, however they were made, oldest first."""
    return await context.schedules.all()


@router.get("/{flow_id:path}", responses=_UNKNOWN)
async def get_schedule(flow_id: FlowId, context: Ctx) -> ScheduleRecord:
    """One schedule."""
    return await schedules.get(context, flow_id)


@times_router.get("/schedule-times/{flow_id:path}", responses={**_UNKNOWN, 409: {"model": Problem}})
async def get_schedule_times(
    flow_id: FlowId,
    context: Ctx,
    count: Annotated[int, Query(ge=1, le=100, description="Times at the most.")] = 5,
) -> ScheduleTimes:
    """When a schedule fires next."""
    return await schedules.times(context, flow_id, count)


@router.put("/{flow_id:path}", responses=_REFUSED)
async def update_schedule(flow_id: FlowId, body: ScheduleUpdate, context: Ctx) -> ScheduleRecord:
    """Change a schedule; what is left out stays as it is."""
    return await schedules.update(context, flow_id, body)


@router.delete("/{flow_id:path}", responses={**_UNKNOWN, 409: {"model": Problem}})
async def delete_schedule(flow_id: FlowId, context: Ctx) -> ScheduleDeleted:
    """Delete a schedule; a run of it that has begun goes on, and the deployment stays."""
    return await schedules.delete(context, flow_id)
