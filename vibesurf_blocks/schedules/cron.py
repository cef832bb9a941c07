"""Cron: the one definition of the next time, for the API, the table and the firing.

Daylight saving follows standard (Vixie) cron. An expression whose minute or hour field begins with
`*` means the wall clock: it fires whenever the clock shows a matching time, so also in both passes
of an hour that comes twice, and not in an hour that is left out. Any other expression names times
of a day: one that the clock leaves out fires at the change itself, one that the clock shows twice
fires the first time only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from vibesurf_blocks.errors import InvalidInput

INVALID_CRON = "Invalid cron expression format"
"""The documented answer to an expression that is refused, whatever the reason."""

CRON_LIMIT = 100
"""Characters of an expression at the most, as the table has room for."""

_FIELDS = 5
_ALLOWED = re.compile(r"[0-9A-Za-z*/,\-#?@ ]+")
_RANDOM = re.compile(r"(^|[\s,/-])[rh]($|[\s,/(-])", re.IGNORECASE)
_NEAREST = re.compile(r"\dw", re.IGNORECASE)
"""The weekday nearest to a day of the month: Prefect, which keeps schedules, knows no such."""
_SECOND = timedelta(seconds=1)
_LOOK_BACK = timedelta(hours=25)
_SAMPLE = 500


def check_cron(expression: str, least_seconds: float = 0) -> str:
    """Check an expression and return it with single spaces between its fields.

    Args:
        expression: Five fields, or one of croniter's aliases such as `@daily`.
        least_seconds: Seconds that must lie between two occurrences at the least.

    Raises:
        InvalidInput: It does not parse, never fires, is random or hashed, fires too often, or is
            of a kind that Prefect does not have.
    """
    if len(expression) > 10 * CRON_LIMIT:
        raise InvalidInput(INVALID_CRON)
    cron = " ".join(expression.split())
    alias = cron.startswith("@")
    if (
        not cron
        or len(cron) > CRON_LIMIT
        or _ALLOWED.fullmatch(cron) is None
        or _RANDOM.search(cron)
        or _NEAREST.search(cron)
        or len(cron.split()) != (1 if alias else _FIELDS)
    ):
        raise InvalidInput(INVALID_CRON)
    try:
        sample = list(islice(_wall_times(cron, datetime(2024, 1, 1), day_or=True), 2))  # noqa: DTZ001
        if least_seconds > 60:
            sample = list(islice(_wall_times(cron, sample[0], day_or=True), _SAMPLE))
    except (CroniterError, ValueError, KeyError, TypeError, IndexError, ArithmeticError) as error:
        raise InvalidInput(INVALID_CRON) from error
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(sample)]
    if gaps and min(gaps) < least_seconds:
        raise InvalidInput(INVALID_CRON)
    return cron


def occurrences(
    cron: str, timezone: str, after: datetime, *, day_or: bool = True
) -> Iterator[datetime]:
    """Yield the times (UTC) at which an expression fires after a moment, for ever.

    Args:
        cron: An expression that parses.
        timezone: IANA name of the time zone it is meant in.
        after: A moment with an offset; the first time is later than it.
        day_or: Whether day of month and day of week both select days, as cron has it.

    Raises:
        CroniterBadDateError: The expression does not fire within fifty years.
        ZoneInfoNotFoundError: There is no such time zone.
    """
    zone = ZoneInfo(timezone)
    clock = _follows_the_clock(cron)
    last = left = after.astimezone(UTC)
    if _offset(left - _LOOK_BACK, zone) != _offset(left, zone):
        left -= _LOOK_BACK  # the clock was changed just now: what it did there counts
    offset = _offset(left, zone)
    walls = _wall_times(cron, _naive(left + offset), day_or=day_or)
    while True:
        wall = next(walls)
        moment = (wall - offset).replace(tzinfo=UTC)
        if _offset(moment, zone) == offset:
            left = moment
            if moment > last:
                last = moment
                yield moment
            continue
        change = _change(left, moment, offset, zone)
        new = _offset(change, zone)
        before, behind = _naive(change + offset), _naive(change + new)
        if not clock and before <= wall < behind and change > last:
            last = change
            yield change
        # Where the clock was set back, times of the day have fired already in the first pass.
        start = behind if clock else max(before, behind)
        walls = _wall_times(cron, start - _SECOND, day_or=day_or)
        left, offset = change, new


def next_time(cron: str, timezone: str, after: datetime, *, day_or: bool = True) -> datetime | None:
    """The first time (UTC) at which an expression fires after a moment; None if it never does."""
    try:
        return next(occurrences(cron, timezone, after, day_or=day_or))
    except CroniterError:
        return None


def _wall_times(cron: str, after: datetime, *, day_or: bool) -> Iterator[datetime]:
    """Times on the wall clock, without offset, that match and are later than `after`."""
    times: croniter = croniter(cron, after, day_or=day_or)
    while True:
        wall: datetime = times.get_next(datetime)
        yield wall


def _follows_the_clock(cron: str) -> bool:
    fields = cron.split()
    if len(fields) == 1:  # of the aliases only @hourly has a star there
        return fields[0].lower() == "@hourly"
    return fields[0].startswith("*") or fields[1].startswith("*")


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def _change(left: datetime, right: datetime, offset: timedelta, zone: ZoneInfo) -> datetime:
    """The moment between two at which the zone's offset begins to differ from `offset`."""
    low, high = int(left.timestamp()), int(right.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(datetime.fromtimestamp(middle, UTC), zone) == offset:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)
