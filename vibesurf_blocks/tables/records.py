"""What the rest of the project reads and writes instead of rows: checked, immutable values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from vibesurf_blocks.tables.types import JsonObject, canonical_json, storable
from vibesurf_blocks.tasks import PROFILE_NAME_LIMIT, Priority, Status


def _storable(value: object) -> object:
    return storable(value) if isinstance(value, str) else value


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Moment = Annotated[
    AwareDatetime,
    AfterValidator(_utc),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
]
"""A time, kept in UTC and written with its offset."""
Storable = Annotated[str, BeforeValidator(_storable)]
Short = Annotated[Storable, Field(max_length=255)]
Path500 = Annotated[Storable, Field(max_length=500)]


class ControlEntry(BaseModel):
    """One thing a person asked of a running task, and what came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: Annotated[Storable, Field(description="pause, resume, stop or add_new_task.")]
    reason: Annotated[Storable | None, Field(description="Why, or the new instruction.")] = None
    asked_at: Annotated[Moment, Field(description="When it was asked for.")]
    effective_at: Annotated[Moment | None, Field(description="When the agent had done it.")] = None
    step: Annotated[int | None, Field(description="Step that saw it.")] = None
    outcome: Annotated[Storable | None, Field(description="What came of it.")] = None


class ModelUsage(BaseModel):
    """What a task has used of its model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_tokens: Annotated[int, Field(ge=0, description="Tokens sent to the model.")] = 0
    output_tokens: Annotated[int, Field(ge=0, description="Tokens it answered with.")] = 0
    total_tokens: Annotated[int, Field(ge=0, description="Both together.")] = 0
    cost: Annotated[
        float | None,
        Field(ge=0, description="US dollars; null where the model's price is not known."),
    ] = None


class Adopted(BaseModel):
    """What VibeSurf's own row said of a task that was taken over from its database.

    The paths are of VibeSurf's workspace: they are shown, and nobody reads what lies there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Annotated[Storable, Field(description="Its status there, as it was spelled.")]
    session_id: Annotated[
        Storable | None, Field(description="Its session there, where that was no valid name.")
    ] = None
    workspace_dir: Annotated[Storable | None, Field(description="Its workspace there.")] = None
    report_path: Annotated[Storable | None, Field(description="Its report there.")] = None
    upload_files_path: Annotated[Storable | None, Field(description="Its uploads there.")] = None


class TaskMetadata(BaseModel):
    """The schema of `tasks.task_metadata`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    progress: Annotated[int, Field(ge=0, le=100, description="Progress in per cent.")] = 0
    active_step: Annotated[Storable | None, Field(description="What the agent does now.")] = None
    steps: Annotated[int, Field(ge=0, description="Steps finished so far.")] = 0
    suspended: Annotated[
        bool, Field(description="Paused without a process: it has given up the slot.")
    ] = False
    recoveries: Annotated[
        int, Field(ge=0, description="Times the run was started again after its process died.")
    ] = 0
    flow: Annotated[Storable | None, Field(description="Name of the Prefect flow.")] = None
    deployment_id: Annotated[Storable | None, Field(description="Id of the deployment.")] = None
    deployment: Annotated[Storable | None, Field(description="`flow/deployment`.")] = None
    parent_task_id: Annotated[
        Storable | None, Field(description="The task of which this one is a part.")
    ] = None
    priority: Annotated[
        Priority, Field(description="Before or after which others it gets the slot.")
    ] = Priority.NORMAL
    due_at: Annotated[
        Moment | None,
        Field(description="When it was to start: of equal priority, the earlier one goes first."),
    ] = None
    scheduled_for: Annotated[
        Moment | None, Field(description="Occurrence of the schedule that made this task.")
    ] = None
    usage: Annotated[
        ModelUsage | None, Field(description="What it has used of its model; null without one.")
    ] = None
    history: Annotated[
        tuple[ControlEntry, ...], Field(description="What was asked of this task, oldest first.")
    ] = ()
    adopted: Annotated[
        Adopted | None,
        Field(description="Of a task taken over from VibeSurf, of which Prefect knows nothing."),
    ] = None


class TaskRecord(BaseModel):
    """One row of `tasks`.

    Times carry an offset and are kept in UTC. Two equal records give the same bytes in a row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_id: Annotated[Storable, Field(min_length=1, max_length=36)]
    session_id: Short
    task_description: Storable
    status: Status
    llm_profile_name: Annotated[Storable, Field(max_length=100)]
    upload_files_path: Path500 | None = None
    workspace_dir: Path500 | None = None
    mcp_server_config: JsonObject | None = None
    agent_mode: Annotated[Storable, Field(max_length=50)] = "thinking"
    task_result: Storable | None = None
    error_message: Storable | None = None
    report_path: Path500 | None = None
    created_at: Moment
    updated_at: Moment
    started_at: Moment | None = None
    completed_at: Moment | None = None
    task_metadata: TaskMetadata = TaskMetadata()

    def values(self) -> dict[str, Any]:
        """Return the values of the row, by column name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        # Rows of runs say nothing of it, as they did before there was such a thing.
        unsaid = {"adopted"} if self.task_metadata.adopted is None else None
        values["task_metadata"] = self.task_metadata.model_dump(mode="json", exclude=unsaid)
        return values

    @property
    def weight(self) -> int:
        """About how many bytes the row takes on its way to the database, at the most."""
        config = canonical_json(self.mcp_server_config) if self.mcp_server_config else ""
        texts = (self.task_description, self.task_result, self.error_message, config)
        return 2_000 + 4 * sum(len(text) for text in texts if text)


class ScheduleRecord(BaseModel):
    """One row of `schedules`, and one `ScheduleResponse` of the API.

    Times carry an offset and are kept in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[Storable, Field(min_length=1, max_length=36, description="Id in Prefect.")]
    flow_id: Annotated[Short, Field(description="The deployment, as the client spelled it.")]
    cron_expression: Annotated[
        Storable | None,
        Field(max_length=100, description="Null for a schedule without times, or not of cron."),
    ] = None
    is_enabled: bool = True
    description: Annotated[Storable | None, Field(description="The deployment's.")] = None
    last_execution_at: Annotated[
        Moment | None, Field(description="When the last occurrence was started.")
    ] = None
    next_execution_at: Annotated[
        Moment | None, Field(description="When the next occurrence falls due.")
    ] = None
    execution_count: Annotated[int, Field(ge=0, description="Occurrences started so far.")] = 0
    created_at: Moment
    updated_at: Moment


class ProfileInfo(BaseModel):
    """An LLM profile as clients of the API see it: without its key.

    Times carry an offset and are kept in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile_id: Annotated[
        Storable, Field(min_length=1, max_length=36, description="Id of the block in Prefect.")
    ]
    profile_name: Annotated[
        Storable, Field(max_length=PROFILE_NAME_LIMIT, description="Name that tasks use.")
    ]
    provider: Annotated[Short, Field(description="Who serves the model.")]
    model: Annotated[Short, Field(description="The model, as the provider calls it.")]
    base_url: Path500 | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    provider_config: JsonObject | None = None
    description: Storable | None = None
    is_active: Annotated[bool, Field(description="Whether tasks may use it.")] = True
    is_default: Annotated[bool, Field(description="Whether tasks that name none use it.")] = False
    created_at: Moment
    updated_at: Moment
    last_used_at: Annotated[
        Moment | None, Field(description="When a task that used it was last started.")
    ] = None


class ProfileRecord(ProfileInfo):
    """One row of `llm_profiles`."""

    encrypted_api_key: Annotated[
        Storable | None,
        Field(description="Where the key is: a reference to the block, never the key."),
    ] = None
