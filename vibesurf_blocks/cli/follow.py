"""Shows what happens to a task while it happens, and what it left when it has ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from vibesurf_blocks.cli.client import Event, Json
from vibesurf_blocks.cli.output import print_json
from vibesurf_blocks.tasks import Status

EXIT_CODES: Final = {Status.COMPLETED: 0, Status.FAILED: 1, Status.STOPPED: 3}

_DONE: Final = {"pause": "paused", "resume": "resumed", "stop": "stopped", "add_new_task": "told"}


def show_events(events: Iterable[Event]) -> None:
    """Show steps and acknowledgements as lines, and the rest as a bar below them."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.fields[status]:<9}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
    ) as progress:
        bar = progress.add_task("", total=100, status="pending")
        for event in events:
            data = event.data
            match event.kind:
                case "step":
                    progress.update(bar, completed=data["progress"], description=data["name"])
                    line = f"  step {data['number']}: {data['name']}"
                    progress.console.print(line, markup=False, highlight=False)
                case "acknowledgement":
                    why = f": {data['reason']}" if data["reason"] else ""
                    done = _DONE.get(data["operation"], data["operation"])
                    line = f"  {done} after step {data['step']}{why}"
                    progress.console.print(line, markup=False, highlight=False)
                case _:
                    if data["status"] == Status.COMPLETED:
                        progress.update(bar, completed=100)
                    progress.update(bar, status=data["status"])


def print_events(events: Iterable[Event]) -> None:
    """Print each event as a line of JSON, as it comes."""
    for event in events:
        print_json({"event": event.kind, "id": event.id, "data": event.data}, lines=True)


def show_row(row: Json) -> None:
    """Show what a task left: its result, why it failed, its report."""
    console = Console()
    if row["task_result"]:
        console.print(Markdown(row["task_result"]))
    if row["error_message"]:
        console.print(f"{row['status']}: {row['error_message']}", style="red", markup=False)
    if row["report_path"]:
        console.print(f"Report: {row['report_path']}", markup=False, soft_wrap=True)
