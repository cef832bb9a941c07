"""Cron: what is refused, and that the next time is croniter's except where the clock is changed."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.schedules.cron import INVALID_CRON, check_cron, next_time, occurrences

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
DAY = timedelta(days=1)


def numbers(low: int, high: int) -> SearchStrategy[str]:
    number = st.integers(low, high)
    ranges = st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}")
    one = st.one_of(number.map(str), number.map(lambda n: f"{n:02d}"), ranges)
    return st.one_of(
        st.just("*"),
        st.integers(1, max(high // 2, 1)).map(lambda n: f"*/{n}"),
        st.lists(one, min_size=1, max_size=3).map(",".join),
    )


EXPRESSIONS = st.tuples(
    numbers(0, 59), numbers(0, 23), st.one_of(st.just("*"), numbers(1, 28)), numbers(1, 12),
    st.one_of(st.just("*"), numbers(0, 6)),
).map(" ".join)  # fmt: skip
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def unchanged(start: datetime, end: datetime, zone: ZoneInfo) -> bool:
    """Whether the zone's clock is not changed around and between two moments."""
    hours = int((end - start + 4 * DAY).total_seconds() // 3600)
    moments = (start - 2 * DAY + timedelta(hours=hour) for hour in range(hours + 1))
    return len({moment.astimezone(zone).utcoffset() for moment in moments}) == 1


@settings(max_examples=400)
@given(EXPRESSIONS, st.sampled_from(ZONES), MOMENTS)
def test_the_next_times_are_croniters(cron: str, zone: str, after: datetime) -> None:
    theirs = croniter(cron, after.astimezone(ZoneInfo(zone)))
    for ours in islice(occurrences(cron, zone, after), 8):
        expected = theirs.get_next(datetime).astimezone(UTC)
        if not unchanged(after, max(ours, expected), ZoneInfo(zone)):
            return
        assert ours == expected


@settings(max_examples=150)
@given(EXPRESSIONS, st.sampled_from(ZONES), MOMENTS)
def test_times_only_grow_and_do_not_depend_on_where_one_begins(
    cron: str, zone: str, after: datetime
) -> None:
    times = list(islice(occurrences(cron, zone, after), 40))
    assert all(early < late for early, late in pairwise([after, *times]))
    for early, late in pairwise(times):
        assert next_time(cron, zone, early) == late
        assert next_time(cron, zone, late - timedelta(microseconds=1)) == late


@settings(max_examples=100)
@given(st.integers(0, 59), st.integers(0, 23), st.sampled_from(ZONES), MOMENTS)
def test_a_daily_time_fires_once_on_each_day(
    minute: int, hour: int, zone: str, after: datetime
) -> None:
    fired = list(islice(occurrences(f"{minute} {hour} * * *", zone, after), 60))
    days = [(moment.astimezone(ZoneInfo(zone))).date() for moment in fired]
    assert len(set(days)) == len(days)
    assert all(late - early <= timedelta(days=3) for early, late in pairwise(fired))


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # The clock jumps from 02:00 to 03:00: what was due between fires at the jump.
        ("30 2 * * *", "Europe/Berlin", "2027-03-27 12:00", ["03-28 01:00", "03-29 00:30"]),
        ("30 2 * * *", "America/New_York", "2027-03-13 12:00", ["03-14 07:00", "03-15 06:30"]),
        ("*/30 2 * * *", "Europe/Berlin", "2027-03-27 12:00", ["03-29 00:00", "03-29 00:30"]),
        ("0 * * * *", "Europe/Berlin", "2027-03-27 23:30", ["03-28 00:00", "03-28 01:00"]),
        # The hour from 02:00 (Berlin), from 01:00 (New York) comes twice: the first time counts.
        ("30 2 * * *", "Europe/Berlin", "2027-10-30 12:00", ["10-31 00:30", "11-01 01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2027-10-31 01:10", ["11-01 01:30", "11-02 01:30"]),
        ("30 2 * * *", "America/New_York", "2027-11-06 12:00", ["11-07 07:30", "11-08 07:30"]),
        ("30 1 * * *", "America/New_York", "2027-11-06 12:00", ["11-07 05:30", "11-08 06:30"]),
        # What goes by the clock goes on through both passes.
        ("*/30 * * * *", "Europe/Berlin", "2027-10-31 00:10", ["10-31 00:30", "10-31 01:00"]),
        ("0 * * * *", "America/New_York", "2027-11-07 04:30", ["11-07 05:00", "11-07 06:00"]),
    ],
)
def test_changes_of_the_clock(cron: str, zone: str, after: str, expected: list[str]) -> None:
    begin = datetime.fromisoformat(after).replace(tzinfo=UTC)
    fired = list(islice(occurrences(cron, zone, begin), len(expected)))
    assert [f"{moment:%m-%d %H:%M}" for moment in fired] == expected


@pytest.mark.parametrize(
    "cron",
    [
        "", " ", "\t\n", "* * * *", "* * * * * *", "0 0 1 1 * 0 2020", "*/0 * * * *", "@reboot",
        "R * * * *", "H H * * *", "R(0-5) * * * *", "0 0 * * H", "1,r * * * *", "0 0 30 2 *",
        "0 0 31 4 *", "0 0 15W * *", "0 0 1w * *",
        "99 * * * *", "a b c d e", "٣ * * * *", "@every 5m", "@daily x",
        "* * * * *" * 6_700, "x" * 60_000, "\x00 * * * *", "-1 * * * *", "0 0 * * 8",
    ],
)  # fmt: skip
def test_what_is_refused(cron: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{INVALID_CRON}$"):
        check_cron(cron)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("00 08 * * *", "00 08 * * *"),
        ("  0   8\t* * *\n", "0 8 * * *"),
        ("@daily", "@daily"),
        ("0 8 * * MON-FRI", "0 8 * * MON-FRI"),
        ("0 0 * mar * ", "0 0 * mar *"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("5/15 * * * *", "5/15 * * * *"),
    ],
)
def test_what_is_accepted(given: str, kept: str) -> None:
    assert check_cron(given) == kept


@settings(max_examples=300)
@given(st.text(max_size=200))
def test_no_text_is_answered_with_another_error(text: str) -> None:
    with suppress(InvalidInput):
        assert check_cron(text, 30)


def test_what_fires_too_often_is_refused() -> None:
    assert check_cron("*/5 * * * *", 300)
    for cron in ("*/4 * * * *", "0,4 * * * *", "58,2 * * * *"):
        with pytest.raises(InvalidInput):
            check_cron(cron, 300)
