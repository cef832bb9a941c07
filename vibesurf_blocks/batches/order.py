"""What a batch is asked to do: its items, and how they are to be run."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from vibesurf_blocks.tasks import (
    AgentMode,
    AgentTask,
    IdleSeconds,
    MaxSteps,
    ProfileName,
    SessionId,
    TaskAlerts,
    TaskDescription,
    Text,
    TimeoutSeconds,
    UploadPath,
)

ITEM_LIMIT = 10_000
"""Items of one batch at the most."""

BatchMode = Literal["serial", "parallel"]
OnFailure = Literal["continue", "stop"]

Mode = Annotated[
    BatchMode,
    Field(
        description="`serial`: one item after another. `parallel`: as many at once as there are "
        "slots, each in a session of its own."
    ),
]
AfterFailure = Annotated[
    OnFailure,
    Field(description="Whether the batch goes on after an item that failed for good, or stops."),
]
Retries = Annotated[
    int, Field(ge=0, le=10, description="Times an item that failed is tried again.")
]
RetryDelaySeconds = Annotated[
    float,
    Field(ge=0, le=86_400, description="Seconds before an item is tried again, doubled each time."),
]
ItemsFile = Annotated[
    Text,
    Field(
        description="A JSON, CSV or YAML file with the items: a path inside the session's "
        "`uploads` folder, absolute or relative to it.",
        max_length=500,
    ),
]
ItemId = Annotated[
    Text,
    Field(
        description="Names the item, once in the batch; by default its number, from 1.",
        min_length=1,
        max_length=200,
    ),
]


class BatchItem(BaseModel):
    """One task of a batch. What it leaves out is as the batch says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_description: TaskDescription
    id: ItemId | None = None
    session_id: SessionId | None = None
    llm_profile_name: ProfileName | None = None
    upload_files_path: UploadPath | None = None
    agent_mode: AgentMode | None = None
    max_steps: MaxSteps | None = None
    timeout_seconds: TimeoutSeconds | None = None
    idle_seconds: IdleSeconds | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_text_is_a_task(cls, value: object) -> object:
        return {"task_description": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say that a text is taken as well: Prefect checks parameters by the schema."""
        text = {"type": "string", "title": "Task", "minLength": 1}
        return {"anyOf": [handler(core_schema), text]}


Items = Annotated[
    list[BatchItem],
    Field(description="The tasks, each an object or just the text of the task."),
]


class Batch(BaseModel):
    """A batch: the parameters of a `batch` flow run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_id: SessionId
    items: Items | None = None
    items_file: ItemsFile | None = None
    mode: Mode = "serial"
    on_failure: AfterFailure = "continue"
    retries: Retries = 0
    retry_delay_seconds: RetryDelaySeconds = 0.0
    llm_profile_name: ProfileName | None = None
    agent_mode: AgentMode = "thinking"
    alerts: TaskAlerts = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.items is None) == (self.items_file is None):
            msg = "give the tasks either as `items` or by `items_file`"
            raise ValueError(msg)
        if self.items is not None:
            self.named(self.items)
        return self

    def named(self, items: list[BatchItem]) -> dict[str, BatchItem]:
        """The items by their ids, in order.

        Raises:
            ValueError: There are none or too many, two go by the same id, or one has an upload and
                no session in which that could be looked for.
        """
        if self.mode == "parallel":
            for name, item in named(items).items():
                if item.upload_files_path is not None and item.session_id is None:
                    msg = (
                        f"item {name!r} has an `upload_files_path` and needs a `session_id`: in "
                        "parallel mode items run in sessions of their own"
                    )
                    raise ValueError(msg)
        return named(items)

    def task(self, item: BatchItem, session_id: str) -> AgentTask:
        """The task of an item, in a session."""
        return AgentTask(
            task_description=item.task_description,
            session_id=session_id,
            llm_profile_name=item.llm_profile_name or self.llm_profile_name,
            upload_files_path=item.upload_files_path,
            agent_mode=item.agent_mode or self.agent_mode,
            max_steps=item.max_steps,
            timeout_seconds=item.timeout_seconds,
            idle_seconds=item.idle_seconds,
        )


def named(items: list[BatchItem]) -> dict[str, BatchItem]:
    """The items by their ids, in order; one without an id goes by its number.

    Raises:
        ValueError: There are none, too many, or two of the same id.
    """
    if not items:
        msg = "there is no item: a batch needs one task at the least"
        raise ValueError(msg)
    if len(items) > ITEM_LIMIT:
        msg = f"there are {len(items):,} items: a batch takes {ITEM_LIMIT:,} at the most; split it"
        raise ValueError(msg)
    ids = [item.id or str(number) for number, item in enumerate(items, 1)]
    doubled = [name for name, times in Counter(ids).items() if times > 1]
    if doubled:
        shown = ", ".join(repr(name) for name in doubled[:5])
        more = f" and {len(doubled) - 5} more" if len(doubled) > 5 else ""
        msg = (
            f"the id {shown}{more} stands for several items; each needs its own (an item without "
            "one goes by its number)"
        )
        raise ValueError(msg)
    return dict(zip(ids, items, strict=True))
