"""When a schedule of Prefect's fires next, whatever its kind.

The one place that uses the server's own classes for interval and rrule schedules, so that the
table says what the server will do. Cron is this project's own definition, which the server that
`up` starts is given as well (see `install`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from croniter import CroniterError
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.server.schemas import schedules as server_schedules
from prefect.types._datetime import create_datetime_instance

from vibesurf_blocks.schedules.cron import occurrences

if TYPE_CHECKING:
    from prefect.client.schemas.schedules import SCHEDULE_TYPES

NEVER: Final = "DTSTART:20000101T000000Z\nRRULE:FREQ=YEARLY;COUNT=1"
"""A rule that has no future: the schedule of a deployment that is to have no times for now."""

MOST: Final = 20_000
"""Occurrences that are looked at, at once, at the most."""

_MICROSECOND = timedelta(microseconds=1)


def is_never(schedule: SCHEDULE_TYPES) -> bool:
    """Whether a schedule is the one without times."""
    return isinstance(schedule, RRuleSchedule) and schedule.rrule == NEVER


def firings(
    schedule: SCHEDULE_TYPES, after: datetime, until: datetime | None = None
) -> list[datetime]:
    """The times (UTC) at which a schedule fires after a moment, in order.

    Args:
        schedule: Of whatever kind.
        after: The first time is later than this.
        until: The last time is not later than this, and there are `MOST` at the most; without it
            there is one time at the most.
    """
    try:
        if isinstance(schedule, CronSchedule):
            times = occurrences(
                schedule.cron, schedule.timezone or "UTC", after, day_or=schedule.day_or
            )
        else:
            times = _of_server(schedule, after, until)
        found: list[datetime] = []
        for moment in islice(times, 1 if until is None else MOST):
            if until is not None and moment > until:
                break
            found.append(moment)
        return found
    except (CroniterError, ValueError, OverflowError):
        return []


def next_firing(schedule: SCHEDULE_TYPES, after: datetime) -> datetime | None:
    """The first time (UTC) at which a schedule fires after a moment; None if it does not."""
    return next(iter(firings(schedule, after)), None)


def _of_server(
    schedule: SCHEDULE_TYPES, after: datetime, until: datetime | None
) -> Iterator[datetime]:
    values = schedule.model_dump()
    known: Any
    if isinstance(schedule, IntervalSchedule):
        known = server_schedules.IntervalSchedule(**values)
    elif isinstance(schedule, RRuleSchedule):
        known = server_schedules.RRuleSchedule(**values)
    else:
        return
    # Prefect counts the start in, and some kinds look at whole seconds only.
    start = after.astimezone(UTC) + _MICROSECOND
    count = 2 if until is None else MOST
    for moment in known._get_dates_generator(n=count, start=start, end=until):
        if moment > after:
            yield moment.astimezone(UTC)


def install() -> None:
    """Have Prefect's server, in this process, fire cron schedules by this project's definition.

    Of its own it fires a time that the clock leaves out up to an hour early, and is silent for an
    hour where the clock is set back.
    """
    server_schedules.CronSchedule._get_dates_generator = _dates  # type: ignore[method-assign, assignment]


def _dates(
    self: server_schedules.CronSchedule,
    n: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Iterator[datetime]:
    """Stand in for `CronSchedule._get_dates_generator`, with its arguments."""
    begin, last = server_schedules._prepare_scheduling_start_and_end(
        start or datetime.now(UTC), end, self.timezone or "UTC"
    )
    count = n if n is not None else (server_schedules.MAX_ITERATIONS if last else 1)
    zone = begin.tzinfo
    times = occurrences(self.cron, self.timezone or "UTC", begin - _MICROSECOND, day_or=self.day_or)
    for moment in islice(times, count):
        if last is not None and moment > last:
            return
        yield create_datetime_instance(moment.astimezone(zone))
