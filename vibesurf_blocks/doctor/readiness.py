"""Whether a task that is submitted now would run and get its row: four of the doctor's checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import httpx
from prefect.exceptions import PrefectException
from pydantic import BaseModel, JsonValue
from sqlalchemy.exc import SQLAlchemyError

from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Severity, Told
from vibesurf_blocks.doctor.mirror import mirror
from vibesurf_blocks.doctor.server import server
from vibesurf_blocks.doctor.tables import tables
from vibesurf_blocks.doctor.workers import worker
from vibesurf_blocks.errors import VibesurfError

SECONDS: Final = 3.0
"""Seconds each check may take."""

FAILURES: Final = (
    VibesurfError,
    PrefectException,
    httpx.HTTPError,
    SQLAlchemyError,
    TimeoutError,
    OSError,
)
"""What a check raises that cannot look."""

_CHECKS: Final[dict[str, Callable[[Case], Awaitable[Told]]]] = {
    "prefect": server,
    "tables": tables,
    "worker": worker,
    "mirror": mirror,
}


class Check(BaseModel):
    """One thing that has to be well.

    Attributes:
        ok: Whether it is.
        detail: How it is; where it is not well, why and what to do.
        facts: Numbers: `lag_seconds` and `age_seconds` of the mirror, `online` workers.
    """

    ok: bool
    detail: str
    facts: dict[str, JsonValue] = {}


class Readiness(BaseModel):
    """All of it."""

    ready: bool
    checks: dict[str, Check]


async def readiness(case: Case) -> Readiness:
    """Look at everything at once; takes three seconds at the most."""
    found = await asyncio.gather(*(_look(check, case) for check in _CHECKS.values()))
    checks = dict(zip(_CHECKS, found, strict=True))
    return Readiness(ready=all(one.ok for one in checks.values()), checks=checks)


async def _look(check: Callable[[Case], Awaitable[Told]], case: Case) -> Check:
    try:
        async with asyncio.timeout(SECONDS):
            said = await check(case)
    except FAILURES as failure:
        return Check(ok=False, detail=why(failure, SECONDS))
    wrong = [one for one in said.findings if one.severity is Severity.ERROR]
    detail = " ".join(f"{one.what} {one.mend}" for one in wrong) or said.says
    return Check(ok=not wrong, detail=detail, facts=dict(said.facts))


def why(failure: Exception, seconds: float) -> str:
    """Why a check could not look, in a sentence."""
    if isinstance(failure, TimeoutError):
        return f"No answer within {seconds:g} s."
    if isinstance(failure, VibesurfError):
        return failure.message
    return f"{type(failure).__name__}: {failure}"[:300]
