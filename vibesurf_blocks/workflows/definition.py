"""What a workflow is: named steps, what each needs, and what becomes of a failure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from vibesurf_blocks.batches.files import parse_yaml
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.tasks import (
    AgentMode,
    IdleSeconds,
    MaxSteps,
    ProfileName,
    SessionId,
    TaskDescription,
    Text,
    TimeoutSeconds,
    UploadPath,
)

STEP_LIMIT = 200
"""Steps of one workflow at the most."""

StepName = Annotated[
    Text,
    Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$",
        description="Letters, digits and '_', not starting with a digit.",
    ),
]


Inputs = Annotated[
    dict[str, str | int | float | bool],
    Field(description="Values that tasks are filled with as `{{ inputs.NAME }}`."),
]


class Outcome(StrEnum):
    """How a step ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"


def _as_list(value: object) -> object:
    return value if value is None or isinstance(value, list) else [value]


class When(BaseModel):
    """A condition on an earlier step; all of a step's conditions must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: StepName
    outcome: Annotated[
        tuple[Outcome, ...],
        BeforeValidator(_as_list),
        Field(min_length=1, description="How that step must have ended: one of these."),
    ] = (Outcome.COMPLETED,)
    contains: Annotated[
        Text | None, Field(min_length=1, description="A text that its result must hold, any case.")
    ] = None
    lacks: Annotated[
        Text | None, Field(min_length=1, description="A text that its result must not hold.")
    ] = None


class OnFailure(BaseModel):
    """What becomes of a step that failed for good."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alert: Annotated[bool, Field(description="Tell people.")] = False
    fallback: Annotated[
        StepName | None, Field(description="A step that then runs in its place.")
    ] = None
    stop: Annotated[bool, Field(description="Start no further step at all.")] = False

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        """`alert`, `stop`, or a list of them, for the object that says so."""
        words = value if isinstance(value, list) else [value]
        if words and all(word in ("alert", "stop") for word in words):
            return {str(word): True for word in words}
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say that the short forms are taken as well: Prefect checks parameters by the schema."""
        word: JsonSchemaValue = {"enum": ["alert", "stop"]}
        return {"anyOf": [handler(core_schema), word, {"type": "array", "items": word}]}


class Step(BaseModel):
    """One step: a task for an agent, and when it is to run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StepName
    task: Annotated[
        TaskDescription,
        Field(
            description="What the agent is to do; `{{ steps.NAME.result }}` and "
            "`{{ inputs.NAME }}` are filled in."
        ),
    ]
    needs: Annotated[
        tuple[StepName, ...],
        BeforeValidator(_as_list),
        Field(description="Steps that must have completed, unless `when` says otherwise of them."),
    ] = ()
    when: Annotated[
        tuple[When, ...],
        BeforeValidator(_as_list),
        Field(description="Conditions on earlier steps; where one does not hold, it is skipped."),
    ] = ()
    retries: Annotated[int, Field(ge=0, le=10, description="Times it is tried again.")] = 0
    backoff_seconds: Annotated[
        float,
        Field(ge=0, le=86_400, description="Seconds before the first retry, doubled each time."),
    ] = 2.0
    on_failure: OnFailure = OnFailure()
    session_id: SessionId | None = None
    llm_profile_name: ProfileName | None = None
    upload_files_path: UploadPath | None = None
    agent_mode: AgentMode | None = None
    max_steps: MaxSteps | None = None
    timeout_seconds: TimeoutSeconds | None = None
    idle_seconds: IdleSeconds | None = None

    @property
    def after(self) -> tuple[str, ...]:
        """The steps that must have ended before it is decided whether this one runs."""
        return tuple(dict.fromkeys([*self.needs, *(one.step for one in self.when)]))


class Workflow(BaseModel):
    """A workflow, as an object or as YAML text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[Text | None, Field(max_length=200)] = None
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=STEP_LIMIT)]
    inputs: Inputs = {}

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return parse_yaml("the workflow", value)
        except InvalidInput as error:
            raise ValueError(error.message) from error

    @model_validator(mode="after")
    def _sound(self) -> Self:
        # Imported here: it checks this very model.
        from vibesurf_blocks.workflows.check import check  # noqa: PLC0415

        check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say that YAML text is taken as well: Prefect checks parameters by the schema."""
        text = {"type": "string", "title": "YAML", "minLength": 1}
        return {"anyOf": [handler(core_schema), text]}

    def step(self, name: str) -> Step:
        """The step of this name."""
        return next(step for step in self.steps if step.name == name)

    def fallbacks(self, name: str) -> list[str]:
        """The steps that may run in the place of a step, one where the one before failed too."""
        found: list[str] = []
        fallback = self.step(name).on_failure.fallback
        while fallback is not None and fallback not in found:
            found.append(fallback)
            fallback = self.step(fallback).on_failure.fallback
        return found

    @property
    def fallback_of(self) -> dict[str, str]:
        """For each step that is a fallback, the step in whose place it runs."""
        return {
            step.on_failure.fallback: step.name for step in self.steps if step.on_failure.fallback
        }
