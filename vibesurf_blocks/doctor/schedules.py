"""Check: every schedule fires; where one does not, why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from prefect.client.schemas.schedules import CronSchedule

from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Finding, Told, error, note, span, told
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.mirror.book import records_of
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api.firing import is_never, next_firing
from vibesurf_blocks.prefect_api.names import NameBook
from vibesurf_blocks.schedules.cron import check_cron
from vibesurf_blocks.tables.schedules import ScheduleStore

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse

    from vibesurf_blocks.tables.records import ScheduleRecord

LOOP_SECONDS: Final = 90.0
"""Seconds in which Prefect's scheduler makes the runs of a schedule; its loop takes 60."""

_FIELDS = 5

HORIZON: Final = timedelta(days=90)
"""How far ahead Prefect makes runs, about."""

ROW_SECONDS: Final = 10.0
"""Seconds a row may be behind."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """A schedule that must have runs."""

    deployment_id: UUID
    schedule_id: UUID
    record: ScheduleRecord


async def schedules(
    case: Case, *, loop_seconds: float = LOOP_SECONDS, horizon: timedelta = HORIZON
) -> Told:
    """Look at all schedules of all deployments.

    Args:
        case: The stack.
        loop_seconds: Seconds that the server may take to make the runs of an edited schedule.
        horizon: How far ahead it makes them.
    """
    rows = {row.id: row for row in await ScheduleStore(case.database).all()}
    names = NameBook(case.client)
    found: list[Finding] = []
    expected: list[_Expected] = []
    count = 0
    now = datetime.now(UTC)
    async for page in prefect_deployments.pages(case.client):
        for deployment in page:
            if not deployment.schedules:
                continue
            flow = await names.flow(deployment.flow_id)
            wanted = {one.id: one for one in records_of(deployment, flow, {}, now)}
            for one in deployment.schedules:
                count += 1
                record = wanted[str(one.id)]
                path = f"{flow}/{deployment.name}"
                why = _never(deployment, one, path, record.flow_id, now)
                if why is not None:
                    found.append(why)
                elif _has_runs(deployment, one, record, now, (loop_seconds, horizon)):
                    expected.append(_Expected(deployment.id, one.id, record))
                found += _row(rows.get(record.id), record, now)
    found += await _without_runs(case, expected)
    return told(f"{count} of deployments, {len(rows)} rows", *found, schedules=count)


def _never(
    deployment: DeploymentResponse, one: DeploymentSchedule, path: str, name: str, now: datetime
) -> Finding | None:
    """Why a schedule does not fire by what it says itself."""
    edit = f"vibesurf-blocks schedules edit {name}"
    if deployment.paused:
        what = f"Schedule {name} does not fire: its deployment {path} is paused."
        return note(what, f"Switch the deployment on in the Prefect UI, or `{edit} --enable`", name)
    if not one.active:
        what = f"Schedule {name} does not fire: it is switched off."
        mend = f"`{edit} --enable`, or `prefect deployment schedule resume {path} {one.id}`"
        return note(what, mend, name)
    if is_never(one.schedule):
        what = f"Schedule {name} does not fire: it has no times."
        return note(what, f"`{edit} --cron '00 08 * * *'`", name)
    if isinstance(one.schedule, CronSchedule):
        cron = one.schedule.cron
        if len(cron.split()) == _FIELDS and next_firing(one.schedule, now) is None:
            what = f"Schedule {name} never fires: no day ever matches its cron {cron!r}."
            return error(what, f"`{edit} --cron '00 08 * * *'`", name)
        try:
            check_cron(cron)
        except InvalidInput:
            what = f"Schedule {name} does not fire as it says: its cron {cron!r} is invalid."
            return error(what, f"`{edit} --cron '00 08 * * *'`", name)
    elif next_firing(one.schedule, now) is None:
        what = f"Schedule {name} does not fire any more: its last time is over."
        return note(what, f"`{edit} --cron '00 08 * * *'`", name)
    return None


def _has_runs(
    deployment: DeploymentResponse,
    one: DeploymentSchedule,
    record: ScheduleRecord,
    now: datetime,
    limits: tuple[float, timedelta],
) -> bool:
    """Whether the server must have made runs for a schedule by now."""
    loop_seconds, horizon = limits
    coming = record.next_execution_at
    edited = max(filter(None, (one.updated, one.created, deployment.updated)), default=now)
    young = (now - edited).total_seconds() < loop_seconds
    return coming is not None and not young and coming <= now + horizon


async def _without_runs(case: Case, expected: list[_Expected]) -> list[Finding]:
    """Those of the schedules for which the server made no runs, though it must have."""
    made = await prefect_deployments.with_coming_runs(
        case.client, [(one.deployment_id, one.schedule_id) for one in expected]
    )
    return [_unmade(one.record) for one in expected if one.schedule_id not in made]


def _unmade(record: ScheduleRecord) -> Finding:
    name, coming = record.flow_id, record.next_execution_at
    what = (
        f"Schedule {name} is to fire at {coming:%Y-%m-%d %H:%M} UTC, and the Prefect server has "
        "made no run for it: the server's scheduler does not work."
    )
    mend = (
        "Start the Prefect server again and see its log; `vibesurf-blocks doctor` there says "
        "whether a package of the wrong version stops it (check `versions`), and "
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED must not be false."
    )
    return error(what, mend, name)


def _row(row: ScheduleRecord | None, wanted: ScheduleRecord, now: datetime) -> list[Finding]:
    """Where the row of a schedule does not say what Prefect says."""
    name = wanted.flow_id
    mend = "See the check `mirror`; a mirror that runs corrects it within ten seconds."
    if row is None:
        if (now - wanted.created_at).total_seconds() < ROW_SECONDS:
            return []
        return [error(f"Schedule {name} has no row: the mirror is behind.", mend, name)]
    late = (now - row.next_execution_at).total_seconds() if row.next_execution_at else 0.0
    found = []
    if late > ROW_SECONDS:
        what = f"The row of schedule {name} says its next time is {span(late)} in the past"
        found.append(error(f"{what}: the mirror is behind.", mend, name))
    if (now - wanted.updated_at).total_seconds() < ROW_SECONDS:
        return found
    if row.cron_expression != wanted.cron_expression:
        what = (
            f"The row of schedule {name} says cron {row.cron_expression!r} and Prefect "
            f"{wanted.cron_expression!r}, which is what fires."
        )
        if row.cron_expression is not None and not _valid(row.cron_expression):
            what += " The row's is invalid."
        found.append(error(what, mend, name))
    if row.is_enabled != wanted.is_enabled:
        word = "on" if row.is_enabled else "off"
        what = f"The row of schedule {name} says it is switched {word}, which it is not."
        found.append(error(what, mend, name))
    return found


def _valid(cron: str) -> bool:
    try:
        check_cron(cron)
    except InvalidInput:
        return False
    return True
