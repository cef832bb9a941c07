"""`vibesurf-blocks doctor`: what is wrong with the stack, why, and what to type."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import prefect.settings
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from vibesurf_blocks.cli.output import print_json
from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.examine import Result, examine, exit_code
from vibesurf_blocks.doctor.finding import Severity
from vibesurf_blocks.prefect_api.client import connect
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables.database import Database

_STYLES: Final = {Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}
_NAME_WIDTH: Final = 10
_WIDTH: Final = 100


async def show_health(settings: Settings, *, deep: bool, as_json: bool) -> int:
    """Examine the stack and print what was found; returns the exit code."""
    async with opened(settings, deep=deep) as case:
        results = await examine(case)
    code = exit_code(results)
    if as_json:
        print_json(as_values(results, code))
    else:
        _print(results, code)
    return code


@asynccontextmanager
async def opened(settings: Settings, *, deep: bool = False) -> AsyncIterator[Case]:
    """Open what the checks ask: the server that PREFECT_API_URL names, else the one of `up`."""
    known = prefect.settings.get_current_settings().api.url
    url = known or f"http://{settings.host}:{settings.prefect_port}/api"
    said = {
        prefect.settings.PREFECT_API_URL: url,
        # What the versions are is a check of its own.
        prefect.settings.PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
    }
    database = Database.of(settings)
    try:
        with prefect.settings.temporary_settings(said):
            async with connect() as client:
                yield Case(settings, client, database, deep)
    finally:
        await database.aclose()


def as_values(results: Sequence[Result], code: int) -> dict[str, object]:
    """What was found, for programs."""
    return {
        "healthy": code == 0,
        "exit_code": code,
        "checks": [
            {
                "check": one.name,
                "checked": one.told is not None,
                "says": one.told.says if one.told else one.why,
                "facts": dict(one.told.facts) if one.told else {},
                "findings": [
                    {
                        "severity": finding.severity.value,
                        "subject": finding.subject,
                        "what": finding.what,
                        "mend": finding.mend,
                    }
                    for finding in (one.told.findings if one.told else ())
                ],
            }
            for one in results
        ],
    }


def _print(results: Sequence[Result], code: int) -> None:
    console = Console(highlight=False)
    console = Console(highlight=False, width=min(console.width, _WIDTH))
    for one in results:
        mark, style = _mark(one)
        line = Text.assemble((f"{mark} ", style), f"{one.name:<{_NAME_WIDTH}} ")
        line.append((one.told.says if one.told else one.why) or "", "dim" if one.told else style)
        console.print(line)
        for finding in one.told.findings if one.told else ():
            said = Text.assemble(
                (f"{finding.severity.value}: ", _STYLES[finding.severity]), finding.what
            )
            console.print(Padding(said, (0, 0, 0, _NAME_WIDTH + 3)))
            console.print(Padding(Text(f"→ {finding.mend}"), (0, 0, 0, _NAME_WIDTH + 3)))
    console.print(
        ("[green]Healthy.[/]", "[red]Something is wrong.[/]", "[red]Not all could be checked.[/]")[
            code
        ]
    )


def _mark(result: Result) -> tuple[str, str]:
    if result.told is None:
        return "?", "red"
    worst = result.told.worst
    if worst is None:
        return "✓", "green"
    return {Severity.NOTE: "·", Severity.WARNING: "!", Severity.ERROR: "✗"}[worst], _STYLES[worst]
