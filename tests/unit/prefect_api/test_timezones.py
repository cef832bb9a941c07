"""Prefect reads the names of the time zones once, and knows the same ones as before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from zoneinfo import available_timezones

import pytest
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.server.schemas.schedules import CronSchedule as ServerCronSchedule
from prefect.types import _datetime

from vibesurf_blocks.prefect_api import timezones


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        _datetime, "available_timezones", available_timezones
    )  # put back at the end
    timezones.names.cache_clear()
    timezones.remember()


@pytest.mark.parametrize(
    "make",
    [
        lambda zone: CronSchedule(cron="0 8 * * *", timezone=zone),
        lambda zone: IntervalSchedule(interval=timedelta(hours=1), timezone=zone),
        lambda zone: ServerCronSchedule(cron="0 8 * * *", timezone=zone),
    ],
    ids=["cron", "interval", "the server's"],
)
def test_however_many_schedules_are_read(make: Callable[[str], object]) -> None:
    for zone in ("UTC", "Europe/Berlin", "America/New_York"):
        make(zone)
    read = timezones.names.cache_info()
    assert (read.misses, read.hits) == (1, 2), "Prefect asks by another name now"
    with pytest.raises(ValueError, match="Invalid timezone"):
        make("Europe/Atlantis")


def test_they_are_those_of_the_standard_library() -> None:
    assert timezones.names() == available_timezones()


def test_each_part_of_the_stack_does_so() -> None:
    code = """
from vibesurf_blocks.stack import parts
parts._fresh_prefect()
from prefect.types import _datetime
from vibesurf_blocks.prefect_api import timezones
assert _datetime.available_timezones is timezones.names
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
