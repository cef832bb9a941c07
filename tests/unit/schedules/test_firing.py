"""When Prefect's schedules of each kind fire, and that its server can be given our cron."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.server.schemas import schedules as server_schedules

from vibesurf_blocks.prefect_api import firing
from vibesurf_blocks.prefect_api.firing import NEVER, firings, is_never, next_firing
from vibesurf_blocks.schedules.cron import occurrences

START = datetime(2027, 3, 27, 12, tzinfo=UTC)


@pytest.fixture
def installed() -> Iterator[None]:
    theirs = server_schedules.CronSchedule._get_dates_generator
    firing.install()
    yield
    server_schedules.CronSchedule._get_dates_generator = theirs  # type: ignore[method-assign]


def test_each_kind_says_when_it_fires_next() -> None:
    anchor = START - timedelta(seconds=70)
    interval = IntervalSchedule(interval=timedelta(seconds=30), anchor_date=anchor, timezone="UTC")
    assert next_firing(interval, START) == START + timedelta(seconds=20)
    rule = RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=13;BYMINUTE=0;BYSECOND=0", timezone="UTC")
    assert next_firing(rule, START) == START + timedelta(hours=1)
    assert next_firing(CronSchedule(cron="0 13 * * *", timezone="UTC"), START) == next_firing(
        rule, START
    )


def test_the_times_up_to_a_moment_are_those_that_are_later_than_the_first() -> None:
    minutely = CronSchedule(cron="* * * * *", timezone="UTC")
    times = firings(minutely, START, START + timedelta(minutes=3))
    assert times == [START + timedelta(minutes=n) for n in (1, 2, 3)]


def test_a_schedule_without_times_has_none_and_prefect_takes_it() -> None:
    never = RRuleSchedule(rrule=NEVER, timezone="Europe/Berlin")
    assert is_never(never)
    assert next_firing(never, START) is None
    server = server_schedules.RRuleSchedule(**never.model_dump())
    assert list(server._get_dates_generator(n=3, start=START)) == []


def test_prefects_own_cron_agrees_where_the_clock_is_not_changed() -> None:
    start = datetime(2027, 6, 1, 7, 13, 5, tzinfo=UTC)
    for cron in ("*/7 3-9 * * *", "30 2 1,15 * mon", "@daily"):
        theirs = server_schedules.CronSchedule(cron=cron, timezone="Europe/Berlin")
        dates = theirs._get_dates_generator(n=20, start=start)
        ours = list(islice(occurrences(cron, "Europe/Berlin", start), 20))
        assert [date.astimezone(UTC) for date in dates] == ours


@pytest.mark.usefixtures("installed")
def test_the_server_fires_by_our_cron_once_it_is_installed() -> None:
    schedule = server_schedules.CronSchedule(cron="30 2 * * *", timezone="Europe/Berlin")
    dates = list(schedule._get_dates_generator(n=2, start=START))
    assert [f"{date.astimezone(UTC):%m-%d %H:%M}" for date in dates] == [
        "03-28 01:00",
        "03-29 00:30",
    ]


@pytest.mark.usefixtures("installed")
def test_start_and_end_count_in_as_prefect_has_it() -> None:
    schedule = server_schedules.CronSchedule(cron="* * * * *", timezone="UTC")
    end = START + timedelta(minutes=1)
    dates = list(schedule._get_dates_generator(start=START, end=end))
    assert dates == [START, end]
    assert len(list(schedule._get_dates_generator(start=START))) == 1
    assert str(dates[0]) == "2027-03-27 12:00:00+00:00"  # Prefect's idempotency keys hold it
