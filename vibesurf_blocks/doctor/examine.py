"""Makes every check of a stack, and says of those that cannot be made why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from vibesurf_blocks.doctor.browsers import browsers
from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.files import disk, home
from vibesurf_blocks.doctor.finding import Severity, Told
from vibesurf_blocks.doctor.mirror import mirror
from vibesurf_blocks.doctor.pool import pools
from vibesurf_blocks.doctor.profiles import profiles
from vibesurf_blocks.doctor.readiness import FAILURES, why
from vibesurf_blocks.doctor.runs import runs
from vibesurf_blocks.doctor.schedules import schedules
from vibesurf_blocks.doctor.server import server
from vibesurf_blocks.doctor.statuses import statuses
from vibesurf_blocks.doctor.tables import tables
from vibesurf_blocks.doctor.versions import versions
from vibesurf_blocks.doctor.workers import worker

SECONDS: Final = 20.0
"""Seconds one check may take; with `--deep` models are waited for."""

HEALTHY: Final = 0
FINDINGS: Final = 1
NOT_CHECKED: Final = 2


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: What people see.
        look: Makes it.
        prefect: Whether it asks the Prefect server.
        rows: Whether it reads the tables.
    """

    name: str
    look: Callable[[Case], Awaitable[Told]]
    prefect: bool = False
    rows: bool = False


SERVER: Final = Check("prefect", server)
TABLES: Final = Check("tables", tables)
CHECKS: Final = (
    SERVER,
    Check("pools", pools, prefect=True),
    Check("worker", worker, prefect=True),
    Check("mirror", mirror, prefect=True),
    TABLES,
    Check("statuses", statuses, rows=True),
    Check("tasks", runs, prefect=True, rows=True),
    Check("schedules", schedules, prefect=True, rows=True),
    Check("profiles", profiles, prefect=True),
    Check("browsers", browsers, prefect=True),
    Check("versions", versions),
    Check("disk", disk),
    Check("home", home),
)
"""In the order in which one thing is the cause of the next."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check: what it told, or why it could not be made."""

    name: str
    told: Told | None
    why: str | None = None


async def examine(case: Case) -> list[Result]:
    """Make all checks, those at once that need not wait for another's outcome."""
    first = dict(zip((SERVER, TABLES), await _all(case, (SERVER, TABLES)), strict=True))
    missing = {
        one
        for one, result in first.items()
        if result.told is None or result.told.worst is Severity.ERROR
    }
    possible = [
        one
        for one in CHECKS
        if one not in first
        and not (one.prefect and SERVER in missing)
        and not (one.rows and TABLES in missing)
    ]
    found = {**first, **dict(zip(possible, await _all(case, possible), strict=True))}
    return [found[one] if one in found else _left_out(one, SERVER in missing) for one in CHECKS]


def _left_out(check: Check, without_prefect: bool) -> Result:
    what = "the Prefect server" if check.prefect and without_prefect else "the tables"
    return Result(check.name, None, f"not looked at: {what} cannot be asked")


async def _all(case: Case, checks: tuple[Check, ...] | list[Check]) -> list[Result]:
    return list(await asyncio.gather(*(_one(case, check) for check in checks)))


async def _one(case: Case, check: Check) -> Result:
    seconds = SECONDS + (case.settings.model_check_seconds * 3 if case.deep else 0.0)
    try:
        async with asyncio.timeout(seconds):
            return Result(check.name, await check.look(case))
    except FAILURES as failure:
        return Result(check.name, None, why(failure, seconds))


def exit_code(results: list[Result]) -> int:
    """0 where all is well, 1 where something was found, 2 where something was not checked."""
    if any(one.told is None for one in results):
        return NOT_CHECKED
    worst = [one.told.worst for one in results if one.told is not None]
    return FINDINGS if any(one not in {None, Severity.NOTE} for one in worst) else HEALTHY
