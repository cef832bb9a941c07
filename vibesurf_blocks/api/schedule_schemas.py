"""Bodies and answers of the routes of schedules, as clients know them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from vibesurf_blocks.api.schemas import SubmitBody
from vibesurf_blocks.schedules.policy import Catchup, Overlap
from vibesurf_blocks.tables.records import Moment
from vibesurf_blocks.tasks import Text

Cron = Annotated[
    str | None,
    Field(description="Five fields or an alias such as `@daily`; null for no times for now."),
]
Zone = Annotated[
    str | None, Field(description="IANA time zone the cron is meant in; by default the setting's.")
]
Description = Annotated[
    Text | None, Field(max_length=10_000, description="The deployment's description.")
]
CatchupField = Annotated[
    Catchup | None, Field(description="What runs of occurrences missed while nothing ran.")
]
OverlapField = Annotated[
    Overlap | None, Field(description="What becomes of occurrences that find the slot taken.")
]
TaskField = Annotated[
    SubmitBody | None,
    Field(description="A task for an agent; a deployment is made for it and scheduled."),
]


class ScheduleCreate(BaseModel):
    """Body of `POST /schedule`."""

    model_config = ConfigDict(extra="forbid")

    flow_id: Annotated[
        Text,
        Field(
            min_length=1,
            max_length=255,
            description="A deployment: its id, `flow/deployment`, or its bare name. With `task`, "
            "or where a VibeSurf backend is configured, it may be a name that is not there yet.",
        ),
    ]
    cron_expression: Cron = None
    is_enabled: Annotated[bool, Field(description="Whether it fires.")] = True
    description: Description = None
    timezone: Zone = None
    catchup: CatchupField = None
    overlap: OverlapField = None
    task: TaskField = None


class ScheduleUpdate(BaseModel):
    """Body of `PUT /schedule/{flow_id}`; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    cron_expression: Cron = None
    is_enabled: Annotated[bool | None, Field(description="Whether it fires.")] = None
    description: Description = None
    timezone: Zone = None
    catchup: CatchupField = None
    overlap: OverlapField = None
    task: TaskField = None


class ScheduleTimes(BaseModel):
    """When a schedule fires next."""

    flow_id: str
    cron_expression: str | None
    timezone: Annotated[str, Field(description="IANA time zone it is meant in.")]
    is_enabled: Annotated[bool, Field(description="Where false, it fires at none of the times.")]
    times: Annotated[list[Moment], Field(description="The next times, in UTC, soonest first.")]


class ScheduleDeleted(BaseModel):
    """The schedule is gone."""

    message: str
