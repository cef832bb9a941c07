"""Schedules over the deployments of Prefect: created, read, changed and deleted by `flow_id`."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID
from zlib import crc32

from prefect.client.schemas.schedules import CronSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vibesurf_blocks.api.context import PREFECT_SECONDS
from vibesurf_blocks.api.parameters import check_parameters
from vibesurf_blocks.api.schemas import SubmitBody
from vibesurf_blocks.api.submit import check_upload, keep_secrets, run_parameters
from vibesurf_blocks.errors import Conflict, InvalidInput, NotFound, Unavailable
from vibesurf_blocks.mirror.schedules import records_of
from vibesurf_blocks.prefect_api import copies
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api.deployments import Executions, Found, Spelling
from vibesurf_blocks.prefect_api.firing import NEVER, is_never, next_firing
from vibesurf_blocks.schedules.cron import INVALID_CRON, check_cron
from vibesurf_blocks.schedules.policy import Catchup, Overlap, with_policy
from vibesurf_blocks.schedules.zones import check_zone, machine_zone
from vibesurf_blocks.tables.records import Moment, ScheduleRecord
from vibesurf_blocks.tasks import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.schedules import SCHEDULE_TYPES

    from vibesurf_blocks.api.context import Context

_EDIT_SECONDS: Final = 30.0
_LOCKS: Final = 32

_NAME: Final = re.compile(r"[^/%&><#\x00-\x1f]{1,200}")
"""What Prefect takes for the name of a deployment, less what would be hard to address."""

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


async def create(context: Context, body: ScheduleCreate) -> ScheduleRecord:
    """Give a deployment a schedule, and write its row.

    Raises:
        InvalidInput: The cron or the time zone is refused.
        NotFound: `flow_id` names nothing.
        Conflict: There is a schedule already, or the name is ambiguous.
        RequestValidationError: The task's upload path leads out of its session, or it is too
            large for Prefect.
    """
    schedule = _schedule(context, body.cron_expression, body.timezone)
    await _check_task(context, body.task)
    async with _editing(context, body.flow_id):
        found = _only(await prefect_deployments.find(context.client, body.flow_id), body.flow_id)
        if found is not None and found.deployment.schedules:
            raise _exists(body.flow_id)
        if found is None or body.task is not None:
            found = await _prepare(context, body, found)
        deployment = found.deployment
        try:
            made = await prefect_deployments.add_schedule(
                context.client,
                deployment.id,
                schedule,
                active=body.is_enabled,
                slug=found.spelling,
            )
        except Conflict:
            raise _exists(body.flow_id) from None
        except ObjectNotFound:
            raise _names_nothing(body.flow_id) from None
        # Somebody may have made one at the same moment under another spelling: the first stays.
        now = await _again(context, found, body.flow_id)
        if prefect_deployments.in_order(now.deployment)[0].id != made.id:
            await _drop(context, found, made)
            raise _exists(body.flow_id)
        now = await _describe(context, now, body, made)
        return await _written(context, now, made.id, {made.id: made.created or datetime.now(UTC)})


async def get(context: Context, flow_id: str) -> ScheduleRecord:
    """The row of a schedule, by whatever name of its deployment.

    Raises:
        NotFound: There is none.
        Conflict: The name is ambiguous.
    """
    if "\x00" in flow_id:
        raise _no_schedule(flow_id)
    row = await context.schedules.get(flow_id)
    if row is not None:
        return row
    async with asyncio.timeout(PREFECT_SECONDS):
        _, schedule = await _locate(context, flow_id, change=False)
    row = await context.schedules.by_id(str(schedule.id))
    if row is None:
        raise _no_schedule(flow_id)
    return row


async def times(context: Context, flow_id: str, count: int) -> ScheduleTimes:
    """The next times at which a schedule fires, by the definition that fires it.

    Raises:
        NotFound: There is none of this name.
        Conflict: The name is ambiguous.
    """
    async with asyncio.timeout(PREFECT_SECONDS):
        found, one = await _locate(context, flow_id, change=False)
    moments: list[datetime] = []
    after = datetime.now(UTC)
    while len(moments) < count and (moment := next_firing(one.schedule, after)) is not None:
        moments.append(moment)
        after = moment
    return ScheduleTimes(
        flow_id=flow_id,
        cron_expression=one.schedule.cron if isinstance(one.schedule, CronSchedule) else None,
        timezone=getattr(one.schedule, "timezone", None) or "UTC",
        is_enabled=one.active and not found.deployment.paused,
        times=moments,
    )


async def update(context: Context, flow_id: str, body: ScheduleUpdate) -> ScheduleRecord:
    """Change a schedule in Prefect, and write its row.

    Raises:
        InvalidInput: The cron or the time zone is refused.
        NotFound: There is no such schedule.
        Conflict: The name is ambiguous, or the schedule is more than REST can say.
        RequestValidationError: The task's upload path leads out of its session, or it is too
            large for Prefect.
    """
    given = body.model_fields_set
    await _check_task(context, body.task)
    if "cron_expression" in given and body.cron_expression is not None:
        check_cron(body.cron_expression, context.settings.schedule_seconds)
    if body.timezone is not None:
        check_zone(body.timezone)
    async with _editing(context, flow_id):
        begun = datetime.now(UTC)
        found, before = await _locate(context, flow_id, change=True)
        wanted = _changed(context, before, body, found)
        active = body.is_enabled
        # All that may be refused comes before the first change.
        if body.task is not None:
            copies.check_holds_task(found)
        _policy_slug(found, body, before)
        resume = active is True and found.deployment.paused
        if resume and len(found.deployment.schedules) > 1:
            msg = (
                f"The deployment {found.path} is paused with all of its schedules; resume it "
                "in Prefect first"
            )
            raise Conflict(msg)
        if body.task is not None:
            found = await _give_task(context, found, body.task)
        try:
            if resume:
                await context.client.resume_deployment(found.deployment.id)
            if wanted is not None or active is not None:
                await prefect_deployments.change_schedule(
                    context.client, found.deployment.id, before, schedule=wanted, active=active
                )
        except ObjectNotFound:
            raise _no_schedule(flow_id) from None
        await _describe(context, found, body, before)
        now = await _again(context, found, flow_id)
        since = {one.id: begun for one in found.deployment.schedules}
        if wanted is not None or (active and not before.active):
            since[before.id] = datetime.now(UTC)
        return await _written(context, now, before.id, since)


async def delete(context: Context, flow_id: str) -> ScheduleDeleted:
    """Delete a schedule from Prefect, and its row.

    Raises:
        NotFound: There is no such schedule.
        Conflict: The name is ambiguous.
    """
    async with _editing(context, flow_id):
        found, schedule = await _locate(context, flow_id, change=True)
        await _drop(context, found, schedule)
        await context.schedules.delete(str(schedule.id))
    return ScheduleDeleted(message=f"Schedule deleted for flow {flow_id}")


@asynccontextmanager
async def _editing(context: Context, flow_id: str) -> AsyncIterator[None]:
    """Have one edit of a flow's schedule after the other, and few at once altogether.

    Prefect makes a deployment or overwrites the one of that name: of two creates, the one that is
    refused would leave its task in the deployment of the other. So other processes wait too.

    Raises:
        Unavailable: Prefect takes too long.
    """
    async with context.schedule_locks.of(flow_id), context.schedule_edits:
        try:
            async with asyncio.timeout(_EDIT_SECONDS):
                lock = await _lock_name(context, flow_id)
                async with context.database_locks.held(lock, wait=_EDIT_SECONDS):
                    yield
        except TimeoutError:
            msg = (
                f"Prefect did not finish within {_EDIT_SECONDS:g} s; GET /schedule shows what came "
                "of it"
            )
            raise Unavailable(msg) from None


async def _lock_name(context: Context, flow_id: str) -> str:
    """The lock for edits of a deployment, the same for each spelling of its name."""
    name = flow_id.rpartition("/")[2].partition("#")[0]
    with suppress(ValueError):
        UUID(flow_id)
        found = await prefect_deployments.find(context.client, flow_id)
        name = found[0].deployment.name if found else name
    # Few enough locks for each to be a file; two names that share one only wait.
    return f"schedule-{crc32(name.encode(errors='replace')) % _LOCKS}"


def _schedule(context: Context, cron: str | None, zone: str | None) -> SCHEDULE_TYPES:
    by_default = context.settings.timezone or machine_zone()
    timezone = check_zone(by_default if zone is None else zone)
    if cron is None:
        return RRuleSchedule(rrule=NEVER, timezone=timezone)
    checked = check_cron(cron, context.settings.schedule_seconds)
    try:
        return CronSchedule(cron=checked, timezone=timezone)
    except ValidationError as error:  # Prefect reads cron with a croniter of its own
        raise InvalidInput(INVALID_CRON) from error


def _changed(
    context: Context, before: DeploymentSchedule, body: ScheduleUpdate, found: Found
) -> SCHEDULE_TYPES | None:
    """The schedule that an update asks for, None where it stays."""
    new_cron = "cron_expression" in body.model_fields_set
    if not new_cron and body.timezone is None:
        return None
    old = before.schedule
    cron = old.cron if isinstance(old, CronSchedule) else None
    if (isinstance(old, CronSchedule) and not old.day_or) or (cron is None and not is_never(old)):
        kind = type(old).__name__.removesuffix("Schedule").lower()
        msg = (
            f"The schedule of {found.path} is of a kind that this API cannot express ({kind}); "
            "change its times in Prefect, or delete it first"
        )
        raise Conflict(msg)
    zone = body.timezone or getattr(old, "timezone", None)
    return _schedule(context, body.cron_expression if new_cron else cron, zone)


async def _prepare(context: Context, body: ScheduleCreate, found: Found | None) -> Found:
    """Make the deployment that is to be scheduled, or give it another task."""
    if found is not None:
        assert body.task is not None  # noqa: S101 - asked for by the caller
        return await _give_task(context, found, body.task)
    flow, slash, name = body.flow_id.partition("/")
    name = name if slash else flow
    if _NAME.fullmatch(name) is None:
        raise _names_nothing(body.flow_id)
    tags = with_policy([], None, body.catchup, body.overlap)
    if body.task is not None:
        made = await copies.of_agent(
            context.client,
            name,
            run_parameters(body.task),
            flow=flow if slash else None,
            tags=[*tags, *await keep_secrets(context, body.task)],
            description=body.description,
        )
    else:
        made = await copies.of_backend(
            context.client, body.flow_id, tags=tags, description=body.description
        )
    if made is None:
        raise _names_nothing(body.flow_id)
    spelling = Spelling.PATH if slash else Spelling.NAME
    return Found(made.deployment, made.flow, spelling)


async def _check_task(context: Context, task: SubmitBody | None) -> None:
    if task is None:
        return
    if task.upload_files_path is not None:
        await asyncio.to_thread(check_upload, context, task)
    check_parameters(run_parameters(task), "body", "task")


async def _give_task(context: Context, found: Found, task: SubmitBody) -> Found:
    """Give a deployment another task; the deployment as it is then.

    Raises:
        Conflict: It is not one that was made for a task.
    """
    copies.check_holds_task(found)
    secrets = await keep_secrets(context, task)
    return await copies.change_task(context.client, found, run_parameters(task), secrets)


async def _describe(
    context: Context,
    found: Found,
    body: ScheduleCreate | ScheduleUpdate,
    schedule: DeploymentSchedule,
) -> Found:
    """Set the description and the policies, where they are given and differ."""
    values: dict[str, str | list[str] | None] = {}
    if (
        "description" in body.model_fields_set
        and (body.description or None) != (found.deployment.description or None)
        and (body.description is not None or isinstance(body, ScheduleUpdate))
    ):
        values["description"] = body.description
    tags = found.deployment.tags
    slug = _policy_slug(found, body, schedule)
    new = with_policy(tags, slug, body.catchup, body.overlap)
    if new != tags:
        values["tags"] = new
    if not values:
        return found
    await prefect_deployments.change_deployment(context.client, found.deployment.id, **values)
    return await _again(context, found, found.path)


def _policy_slug(
    found: Found, body: ScheduleCreate | ScheduleUpdate, schedule: DeploymentSchedule
) -> str | None:
    """What a policy of one schedule among several is told by; None where it is the only one.

    Raises:
        Conflict: It has no slug, so that a policy would be that of all of them.
    """
    if len(found.deployment.schedules) == 1 or (body.catchup is None and body.overlap is None):
        return None
    if schedule.slug is None:
        msg = (
            f"This schedule of {found.path} is one of several and has no slug, so no policy can "
            "be told to be its own; give it a slug in Prefect first"
        )
        raise Conflict(msg)
    return schedule.slug


async def _locate(
    context: Context, flow_id: str, *, change: bool
) -> tuple[Found, DeploymentSchedule]:
    """The schedule that a `flow_id` names, as rows spell it or in any other way."""
    if "\x00" in flow_id:
        raise _no_schedule(flow_id)
    suffix = None
    candidates = await prefect_deployments.find(context.client, flow_id)
    if not candidates and "#" in flow_id:
        base, _, suffix = flow_id.rpartition("#")
        candidates = await prefect_deployments.find(context.client, base)
    scheduled = [one for one in candidates if one.deployment.schedules]
    own = [
        one
        for one in scheduled
        if (made := prefect_deployments.rest_schedule(one.deployment)) is not None
        and made.slug == one.spelling
    ]
    found = _only(own or scheduled, flow_id)
    if found is None:
        raise _no_schedule(flow_id)
    ordered = prefect_deployments.in_order(found.deployment)
    if suffix is not None:
        named = [one for one in ordered if suffix in {one.slug, str(one.id)}]
        if not named:
            raise _no_schedule(flow_id)
        return found, named[0]
    made = prefect_deployments.rest_schedule(found.deployment)
    if change and made is None and len(ordered) > 1:
        names = ", ".join(f"{found.path}#{one.slug or one.id}" for one in ordered)
        msg = f"The deployment {found.path} has several schedules; name one of them: {names}"
        raise Conflict(msg)
    return found, made or ordered[0]


async def _again(context: Context, found: Found, flow_id: str) -> Found:
    """What was found before, as it is now."""
    now = await prefect_deployments.read(context.client, [found.deployment.id])
    if not now or not now[0].schedules:
        raise _no_schedule(flow_id)
    return replace(found, deployment=now[0])


async def _written(
    context: Context, found: Found, schedule_id: UUID, since: Mapping[UUID, datetime]
) -> ScheduleRecord:
    """Have the next runs made, write the deployment's rows, and return the one."""
    deployment = found.deployment
    await prefect_deployments.make_up(context.client, deployment, since)
    done = {}
    for one in deployment.schedules:
        row = await context.schedules.by_id(str(one.id))
        if row is not None:
            done[one.id] = Executions(row.execution_count, row.last_execution_at)
    records = {
        record.id: record for record in records_of(deployment, found.flow, done, datetime.now(UTC))
    }
    await context.schedules.write(list(records.values()), counts=False)
    if str(schedule_id) not in records:
        raise _no_schedule(found.path)
    return records[str(schedule_id)]


async def _drop(context: Context, found: Found, schedule: DeploymentSchedule) -> None:
    """Delete a schedule from Prefect, and have the runs of its fellows made anew."""
    begun = datetime.now(UTC)
    deployment_id = found.deployment.id
    with suppress(ObjectNotFound):
        await context.client.delete_deployment_schedule(deployment_id, schedule.id)
    left = await prefect_deployments.read(context.client, [deployment_id])
    if left and left[0].schedules:
        since = {one.id: begun for one in left[0].schedules}
        await prefect_deployments.make_up(context.client, left[0], since)


def _only(found: Sequence[Found], flow_id: str) -> Found | None:
    if len(found) > 1:
        names = ", ".join(sorted(one.path for one in found))
        msg = f"The name {flow_id} is ambiguous; use one of: {names}"
        raise Conflict(msg)
    return found[0] if found else None


def _exists(flow_id: str) -> Conflict:
    return Conflict(f"Schedule already exists for flow {flow_id}")


def _no_schedule(flow_id: str) -> NotFound:
    return NotFound(f"Schedule not found for flow {flow_id}")


def _names_nothing(flow_id: str) -> NotFound:
    return NotFound(
        f"No deployment is named {flow_id}: give the id, 'flow/deployment' or the name of one that "
        "is on the Prefect server, or add `task` to schedule an agent's task"
    )
