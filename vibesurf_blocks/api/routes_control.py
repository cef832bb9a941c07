"""Routes that hold, resume, stop and instruct agents: the active task, or one by id."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from vibesurf_blocks.api import control
from vibesurf_blocks.api.context import Ctx
from vibesurf_blocks.api.schemas import (
    Controlled,
    Instructed,
    InstructionBody,
    Problem,
    ReasonBody,
)

router = APIRouter(
    prefix="/tasks",
    tags=["control"],
    responses={400: {"model": Problem}, 503: {"model": Problem}, 504: {"model": Problem}},
)

TaskId = Annotated[str, Path(max_length=255, description="Id of the task.")]
_UNKNOWN: dict[int | str, dict[str, object]] = {404: {"model": Problem}}


@router.post("/pause")
async def pause_active(context: Ctx, body: ReasonBody | None = None) -> Controlled:
    """Bring the active agent to rest; when this answers it rests."""
    return await control.pause(context, None, body.reason if body else None)


@router.post("/resume")
async def resume_active(context: Ctx, body: ReasonBody | None = None) -> Controlled:
    """Let the paused agent go on; when this answers it runs."""
    return await control.resume(context, None, body.reason if body else None)


@router.post("/stop")
async def stop_active(context: Ctx, body: ReasonBody | None = None) -> Controlled:
    """Stop the active agent for good; what it found so far is kept."""
    return await control.stop(context, None, body.reason if body else None)


@router.post("/add-new-task")
async def instruct_active(context: Ctx, body: InstructionBody) -> Instructed:
    """Give the active agent a further instruction; when this answers it has it."""
    return await control.instruct(context, None, body.reason)


@router.post("/{task_id}/pause", responses=_UNKNOWN)
async def pause_task(task_id: TaskId, context: Ctx, body: ReasonBody | None = None) -> Controlled:
    """Bring one agent to rest."""
    return await control.pause(context, task_id, body.reason if body else None)


@router.post("/{task_id}/resume", responses=_UNKNOWN)
async def resume_task(task_id: TaskId, context: Ctx, body: ReasonBody | None = None) -> Controlled:
    """Let one paused agent go on."""
    return await control.resume(context, task_id, body.reason if body else None)


@router.post("/{task_id}/stop", responses=_UNKNOWN)
async def stop_task(task_id: TaskId, context: Ctx, body: ReasonBody | None = None) -> Controlled:
    """Stop one agent for good, or withdraw a task that waits."""
    return await control.stop(context, task_id, body.reason if body else None)


@router.post("/{task_id}/add-new-task", responses=_UNKNOWN)
async def instruct_task(task_id: TaskId, context: Ctx, body: InstructionBody) -> Instructed:
    """Give one agent a further instruction."""
    return await control.instruct(context, task_id, body.reason)
