"""Bodies and answers of the REST API, as clients know them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue

from vibesurf_blocks.tables.records import Moment, TaskRecord
from vibesurf_blocks.tasks import (
    DESCRIPTION_LIMIT,
    AgentTask,
    Priority,
    ProfileName,
    Status,
    Text,
)

NOT_RUNNING_MESSAGE = "No active task"
BUSY_MESSAGE = "Cannot submit task: another task is currently running"


class SubmitBody(AgentTask):
    """A task as a person submits it."""

    llm_profile_name: ProfileName


class SubmitRequest(SubmitBody):
    """Body of `POST /tasks/submit`, with what is to become of the task where it has to wait."""

    on_busy: Annotated[
        Literal["reject", "enqueue"],
        Field(description="Where another task is active: refuse this one, or let it wait."),
    ] = "reject"
    priority: Annotated[
        Priority, Field(description="Whether it gets the slot before or after others that wait.")
    ] = Priority.NORMAL


class ActiveTask(BaseModel):
    """The task that holds the slot, or is to have it next."""

    task_id: str
    status: Status
    session_id: str
    start_time: Annotated[
        Moment, Field(description="When it started; when it was asked for, until it has.")
    ]


class Accepted(BaseModel):
    """The task was accepted and its row stands as pending."""

    success: Literal[True] = True
    task_id: str
    session_id: str
    status: Literal["submitted"] = "submitted"
    message: str
    llm_profile: str
    workspace_dir: str


class Enqueued(Accepted):
    """The task was accepted, its row stands as pending, and it gets the slot in its turn."""

    queued: Annotated[bool, Field(description="Whether it waits while another task is active.")]
    position: Annotated[
        int, Field(ge=0, description="Its place among those that wait, 1 for the next; 0: it runs.")
    ]


class Busy(BaseModel):
    """The slot is taken; nothing was created."""

    success: Literal[False] = False
    message: str = BUSY_MESSAGE
    active_task: ActiveTask


class NoModel(BaseModel):
    """The profile is unknown, or its model does not answer; nothing was created."""

    success: Literal[False] = False
    error: Literal["llm_connection_failed"] = "llm_connection_failed"
    message: str
    llm_profile: str


class TaskStatus(BaseModel):
    """Answer of `GET /tasks/status`."""

    has_active_task: bool
    active_task: ActiveTask | None


class VibesurfStatus(BaseModel):
    """Live progress of a task."""

    overall_status: Status
    active_step: str | None
    agent_statuses: dict[str, JsonValue] = {}
    progress: Annotated[int, Field(ge=0, le=100)]
    last_update: Moment


class DetailedStatus(BaseModel):
    """Answer of `GET /tasks/detailed-status`: the active task, or the one that ended last."""

    has_active_task: bool
    message: str | None = None
    task_id: str | None = None
    status: Status | None = None
    session_id: str | None = None
    task: str | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None
    result: str | None = None
    error: str | None = None
    pause_reason: str | None = None
    stop_reason: str | None = None
    report_path: str | None = None
    vibesurf_status: VibesurfStatus | None = None


class TaskList(BaseModel):
    """Answer of `GET /tasks`."""

    tasks: list[TaskRecord]
    total_count: int
    next_cursor: str | None


class QueuedTask(TaskRecord):
    """The row of a task that waits, and its place."""

    position: Annotated[int, Field(ge=1, description="1 for the one that gets the slot next.")]


class TaskQueue(BaseModel):
    """Answer of `GET /tasks/queue`."""

    tasks: list[QueuedTask]
    total_count: Annotated[int, Field(description="Tasks that wait, on all pages.")]


class ReasonBody(BaseModel):
    """Body of pause, resume and stop."""

    reason: Annotated[
        Text | None, Field(max_length=2_000, description="Why; shown with the task.")
    ] = None


class InstructionBody(BaseModel):
    """Body of `add-new-task`."""

    reason: Annotated[Text, Field(max_length=DESCRIPTION_LIMIT, description="The instruction.")]


class Controlled(BaseModel):
    """It has happened."""

    success: Literal[True] = True
    message: str
    operation: Literal["pause", "resume", "stop"]


class Instructed(BaseModel):
    """The agent has the instruction."""

    success: Literal[True] = True
    message: str
    operation: Literal["add_new_task"] = "add_new_task"
    new_task: str


class Problem(BaseModel):
    """What went wrong and what to change."""

    detail: str


def active_task(record: TaskRecord) -> ActiveTask:
    """A row as the documented `active_task`."""
    return ActiveTask(
        task_id=record.task_id,
        status=record.status,
        session_id=record.session_id,
        start_time=record.started_at or record.created_at,
    )


def detailed_status(active: TaskRecord | None, last: TaskRecord | None) -> DetailedStatus:
    """The documented detailed status of the active task, else of the one that ended last."""
    record = active or last
    message = None if active is not None else NOT_RUNNING_MESSAGE
    if record is None:
        return DetailedStatus(has_active_task=False, message=message)
    stopped = record.status is Status.STOPPED
    held = [one for one in record.task_metadata.history if one.operation in {"pause", "resume"}]
    resting = record.status is Status.PAUSED and not record.task_metadata.suspended
    return DetailedStatus(
        has_active_task=active is not None,
        message=message,
        task_id=record.task_id,
        status=record.status,
        session_id=record.session_id,
        task=record.task_description,
        start_time=record.started_at or record.created_at,
        end_time=record.completed_at,
        result=record.task_result,
        error=None if stopped else record.error_message,
        pause_reason=held[-1].reason if resting and held else None,
        stop_reason=record.error_message if stopped else None,
        report_path=record.report_path,
        vibesurf_status=VibesurfStatus(
            overall_status=record.status,
            active_step=record.task_metadata.active_step,
            progress=record.task_metadata.progress,
            last_update=record.updated_at,
        ),
    )
