"""`vibesurf-blocks prune`: asks, shows how far it is, and tells what was pruned."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import typer
from prefect.settings import get_current_settings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from vibesurf_blocks.cli.failure import NOT_DONE, Failure
from vibesurf_blocks.cli.output import print_json
from vibesurf_blocks.prefect_api.client import connect
from vibesurf_blocks.retention.prune import Order, Pruned, Pruner
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables.database import Database
from vibesurf_blocks.tables.upgrade import upgrade

LEAST_AGE: Final = timedelta(days=1)
"""What ended since may still be looked for: by a submit under way, or not to tell of it twice."""

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def age(text: str) -> timedelta:
    """The age that a text such as `90d` means.

    Raises:
        BadParameter: It means none, or less than `LEAST_AGE`.
    """
    match = re.fullmatch(r"(\d{1,6})([hdw])", text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"'{text}' is no age: write 36h, 90d or 12w")
    found = int(match[1]) * _UNITS[match[2]]
    if found < LEAST_AGE:
        raise typer.BadParameter("what ended less than a day ago is not pruned: write 1d or more")
    return found


def prune_tasks(
    settings: Settings,
    older_than: timedelta,
    *,
    keep: int,
    reports: bool,
    dry_run: bool,
    as_json: bool,
    yes: bool,
) -> int:
    """Prune, having asked; returns the exit code.

    Raises:
        Failure: Prefect does not answer, or nobody can be asked.
        StackError: It cannot be pruned as things are.
    """
    url = get_current_settings().api.url
    if url is None:
        raise Failure(
            "PREFECT_API_URL is not set: it names the Prefect server whose flow runs go, with "
            f"`vibesurf-blocks up` http://{settings.host}:{settings.prefect_port}/api."
        )
    try:
        before = datetime.now(UTC) - older_than
    except OverflowError:
        raise typer.BadParameter("nothing is that old") from None
    order = Order(before=before, keep=keep, reports=reports, dry_run=dry_run)
    try:
        done = asyncio.run(_prune(settings, order, yes=yes))
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Failure(
            f"The Prefect server at {url} does not answer ({reason}): start again when it does; "
            "what was pruned so far is done."
        ) from error
    if done is None:
        return NOT_DONE
    if as_json:
        said = {"dry_run": dry_run, "before": before.isoformat(timespec="seconds")}
        print_json({**said, **done.as_json()})
    else:
        print(_sentence(done, dry_run=dry_run))
    return 0


async def _prune(settings: Settings, order: Order, *, yes: bool) -> Pruned | None:
    await upgrade(settings.tables_url)
    # Its own pool, whatever size the servers' have: it needs two connections.
    database = Database.of(settings)
    try:
        async with connect() as client:
            total = await Pruner(client, database, settings, order).total()
            if not (order.dry_run or yes) and not _confirmed(total, order):
                return None
            with Progress(
                "{task.description}",
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            ) as shown:
                task = shown.add_task("looking" if order.dry_run else "pruning", total=total)
                return await Pruner(client, database, settings, order).run(
                    lambda looked: shown.update(task, completed=looked)
                )
    finally:
        await database.aclose()


def _confirmed(total: int, order: Order) -> bool:
    if not sys.stdin.isatty():
        raise Failure("Nobody can be asked here whether to go on: look with --dry-run, then --yes.")
    what = f"{total:,} tasks that ended before {order.before:%Y-%m-%d %H:%M} UTC"
    return typer.confirm(f"Delete for good what nothing needs of {what}?", err=True)


def _sentence(done: Pruned, *, dry_run: bool) -> str:
    if dry_run:
        return (
            f"{done.tasks:,} tasks and {done.flow_runs:,} flow runs would be pruned, "
            f"{done.folders:,} folders as well; {done.kept:,} old tasks would stay, as something "
            "still needs them."
        )
    return (
        f"Pruned {done.tasks:,} tasks, {done.flow_runs:,} flow runs with {done.artifacts:,} "
        f"artifacts, {done.reports:,} reports and {done.folders:,} folders in "
        f"{done.seconds:.1f} s; {done.kept:,} old tasks stay, as something still needs them."
    )
