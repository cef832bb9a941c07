"""Routes under `/tasks`: submit, status, rows."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, HTTPException, Path, Query, Response

from vibesurf_blocks.api.context import Ctx
from vibesurf_blocks.api.schemas import (
    Accepted,
    Busy,
    DetailedStatus,
    Enqueued,
    NoModel,
    Problem,
    QueuedTask,
    SubmitRequest,
    TaskList,
    TaskQueue,
    TaskStatus,
    active_task,
    detailed_status,
)
from vibesurf_blocks.api.submit import submit
from vibesurf_blocks.tables.records import TaskRecord
from vibesurf_blocks.tasks import Status

router = APIRouter(prefix="/tasks", tags=["tasks"])

OUTCOMES: Final = {
    Accepted: "accepted",
    Enqueued: "accepted",
    Busy: "busy",
    NoModel: "no-model",
}
"""What each answer to a submit counts as."""

_IDLE = TaskStatus(has_active_task=False, active_task=None).model_dump_json().encode()


@router.post("/submit", responses={400: {"model": Problem}, 503: {"model": Problem}})
async def submit_task(
    body: SubmitRequest,
    context: Ctx,
    idempotency_key: Annotated[
        str | None, Header(description="Makes a repeated request safe: it starts no second run.")
    ] = None,
) -> Enqueued | Accepted | Busy | NoModel:
    """Submit a task; accepted, its row stands as pending when this answers."""
    answer = await submit(context, body, idempotency_key)
    context.metrics.submitted(OUTCOMES[type(answer)])
    return answer


@router.get("/status", response_model=TaskStatus)
async def task_status(context: Ctx) -> Response:
    """Whether a task is active, and which."""
    record = await context.active()
    if record is None:
        content = _IDLE
    else:
        status = TaskStatus(has_active_task=True, active_task=active_task(record))
        content = status.model_dump_json().encode()
    return Response(content, media_type="application/json")


@router.get("/detailed-status", response_model_exclude_none=False)
async def task_detailed_status(context: Ctx) -> DetailedStatus:
    """The active task with its progress; without one, the task that ended last."""
    active = await context.active()
    return detailed_status(active, None if active else await context.store.last_ended())


@router.get("", responses={400: {"model": Problem}})
async def list_tasks(
    context: Ctx,
    status: Annotated[Status | None, Query(description="Only tasks of this status.")] = None,
    session_id: Annotated[str | None, Query(max_length=255)] = None,
    llm_profile_name: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Rows of one page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=500, description="`next_cursor` of the page before.")
    ] = None,
) -> TaskList:
    """The rows of all tasks that the filters let through, newest first."""
    page = await context.store.page(
        status=status,
        session_id=session_id,
        llm_profile_name=llm_profile_name,
        limit=limit,
        cursor=cursor,
    )
    return TaskList(tasks=page.records, total_count=page.total_count, next_cursor=page.next_cursor)


@router.get("/queue")
async def list_queue(
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=500, description="Tasks of one page.")] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="Tasks to leave out.")] = 0,
) -> TaskQueue:
    """The tasks that wait for the slot, in the order they get it."""
    found, total = await context.store.queue(limit=limit, offset=offset)
    tasks = [
        QueuedTask(**dict(record), position=place) for place, record in enumerate(found, offset + 1)
    ]
    return TaskQueue(tasks=tasks, total_count=total)


@router.get("/{task_id}", responses={404: {"model": Problem}})
async def get_task(task_id: Annotated[str, Path(max_length=255)], context: Ctx) -> TaskRecord:
    """The row of one task, by column names."""
    record = await context.store.get(task_id)
    if record is None:
        raise HTTPException(404, f"No task has the id {task_id}")
    return record
