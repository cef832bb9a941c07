"""`vibesurf-blocks up`: shows what starts and where things are, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import time

from rich.console import Console
from rich.table import Table

from vibesurf_blocks import logs
from vibesurf_blocks.errors import StackError
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack.up import Addresses, Stack


async def run_stack(settings: Settings) -> int:
    """Run the stack until it is told to end; returns the exit code."""
    logs.configure(settings, "up")
    console = Console()
    begun = time.monotonic()
    ending = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this runs in one
    starting = True

    def end() -> None:
        ending.set()
        if starting:
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        async with Stack(
            settings, lambda words: console.print(f"[dim]… {words}[/]")
        ).running() as at:
            starting = False
            console.print(_table(at, settings))
            console.print(
                f"[green]Ready[/] after {time.monotonic() - begun:.1f} s. Ctrl-C ends it."
            )
            await ending.wait()
            console.print("[dim]… ending[/]")
    except asyncio.CancelledError:
        return 0
    except StackError as error:
        console.print(f"[bold red]Error:[/] {error.message}", highlight=False)
        return 2
    return 0


def _table(at: Addresses, settings: Settings) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("API", at.api)
    table.add_row("API docs", f"{at.api}/docs")
    table.add_row("Prefect UI", at.prefect_ui or f"with the server at {at.prefect_api}")
    table.add_row("Prefect API", at.prefect_api)
    table.add_row("Home", str(settings.home_dir))
    return table
