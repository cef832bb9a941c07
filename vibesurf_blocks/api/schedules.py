"""Schedules over the deployments of Prefect: created, read, changed and deleted by `flow_id`."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from prefect.client.schemas.schedules import CronSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from vibesurf_blocks.api.context import PREFECT_SECONDS
from vibesurf_blocks.api.parameters import check_parameters
from vibesurf_blocks.api.schedule_names import locate, no_schedule, only, read_again
from vibesurf_blocks.api.schedule_schemas import (
    ScheduleCreate,
    ScheduleDeleted,
    ScheduleTimes,
    ScheduleUpdate,
)
from vibesurf_blocks.api.schedule_turns import editing
from vibesurf_blocks.api.submit import check_upload, keep_secrets, run_parameters
from vibesurf_blocks.errors import Conflict, InvalidInput, NotFound
from vibesurf_blocks.mirror.book import records_of
from vibesurf_blocks.prefect_api import copies
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api.deployments import Executions, Found, Spelling
from vibesurf_blocks.prefect_api.firing import NEVER, is_never, next_firing
from vibesurf_blocks.schedules.cron import INVALID_CRON, check_cron
from vibesurf_blocks.schedules.policy import with_policy
from vibesurf_blocks.schedules.zones import check_zone, machine_zone
from vibesurf_blocks.tables.records import ScheduleRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.schedules import SCHEDULE_TYPES

    from vibesurf_blocks.api.context import Context
    from vibesurf_blocks.api.schemas import SubmitBody

_NAME: Final = re.compile(r"[^/%&><#\x00-\x1f]{1,200}")
"""What Prefect takes for the name of a deployment, less what would be hard to address."""


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
    async with editing(context, body.flow_id):
        found = only(await prefect_deployments.find(context.client, body.flow_id), body.flow_id)
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
        now = await read_again(context, found, body.flow_id)
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
        raise no_schedule(flow_id)
    row = await context.schedules.get(flow_id)
    if row is not None:
        return row
    async with asyncio.timeout(PREFECT_SECONDS):
        _, schedule = await locate(context, flow_id, change=False)
    row = await context.schedules.by_id(str(schedule.id))
    if row is None:
        raise no_schedule(flow_id)
    return row


async def times(context: Context, flow_id: str, count: int) -> ScheduleTimes:
    """The next times at which a schedule fires, by the definition that fires it.

    Raises:
        NotFound: There is none of this name.
        Conflict: The name is ambiguous.
    """
    async with asyncio.timeout(PREFECT_SECONDS):
        found, one = await locate(context, flow_id, change=False)
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
    async with editing(context, flow_id):
        begun = datetime.now(UTC)
        found, before = await locate(context, flow_id, change=True)
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
            raise no_schedule(flow_id) from None
        await _describe(context, found, body, before)
        now = await read_again(context, found, flow_id)
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
    async with editing(context, flow_id):
        found, schedule = await locate(context, flow_id, change=True)
        await _drop(context, found, schedule)
        await context.schedules.delete(str(schedule.id))
    return ScheduleDeleted(message=f"Schedule deleted for flow {flow_id}")


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
    return await read_again(context, found, found.path)


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
        raise no_schedule(found.path)
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


def _exists(flow_id: str) -> Conflict:
    return Conflict(f"Schedule already exists for flow {flow_id}")


def _names_nothing(flow_id: str) -> NotFound:
    return NotFound(
        f"No deployment is named {flow_id}: give the id, 'flow/deployment' or the name of one that "
        "is on the Prefect server, or add `task` to schedule an agent's task"
    )
