"""A real task end to end, on a stack of its own: `make demo`.

Starts `vibesurf-blocks up` on free ports in a temporary home, has the built-in reader read this
repository's documentation, shows the steps, the row and what the Prefect UI shows, and ends it all.
The report stays in `demo-output/`. Exit code 0 only if everything was as it should be.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from examples.docs_site import ROOT, docs_site, sources
from vibesurf_blocks.stack.ready import free_port

OUTPUT = ROOT / "demo-output"
SESSION = "demo"

_START_SECONDS = 90.0
_TASK_SECONDS = 60.0
_END_SECONDS = 20.0
_LOOK_SECONDS = 0.05

Row = dict[str, Any]

console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())


class Unexpected(Exception):
    """Something was not as the demo promises."""


@dataclass(frozen=True, slots=True)
class Running:
    """Where the demo's stack is found."""

    api: str
    prefect: str


@asynccontextmanager
async def stack(home: Path) -> AsyncIterator[Running]:
    """Run `vibesurf-blocks up` for as long as the block lasts."""
    program = shutil.which("vibesurf-blocks", path=str(Path(sys.executable).parent))
    if program is None:
        raise Unexpected("vibesurf-blocks is not installed beside this Python; use `make demo`.")
    port, prefect_port = free_port(), free_port()
    # Settings of another stack must not reach this one, above all not its database.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "VIBESURF_"))}
    log_path = OUTPUT / "stack.log"
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            *("up", "--home", str(home), "--port", str(port), "--prefect-port", str(prefect_port)),
            # The report is to outlive the temporary home.
            env=kept | {"VIBESURF_WORKSPACE": str(OUTPUT / "workspace")},
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            # Ctrl-C comes to the demo alone, which then ends the stack in order.
            start_new_session=True,
        )
    try:
        await _until_ready(process, log_path)
        yield Running(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{prefect_port}")
    finally:
        await _end(process)
    if process.returncode != 0:
        raise Unexpected(f"The stack ended with code {process.returncode}; see {log_path}.")


async def _until_ready(process: asyncio.subprocess.Process, log: Path) -> None:
    """Show what the stack says until it says that it is ready."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        async with asyncio.timeout(_START_SECONDS):
            async for line in process.stdout:
                text = line.decode().rstrip()
                console.print(f"  {text}", markup=False, style="dim")
                if text.startswith("Ready"):
                    return
    except TimeoutError:
        raise Unexpected(
            f"The stack was not ready after {_START_SECONDS:g} s; see {log}."
        ) from None
    raise Unexpected(f"The stack did not start; the lines above and {log} say why.")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        # Reads what is left, so that a full pipe cannot hold the stack up.
        await asyncio.wait_for(process.communicate(), _END_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


async def submit(api: httpx.AsyncClient, task: str) -> str:
    """Submit a task over REST and return its id, which is the id of its Prefect flow run."""
    body = {"task_description": task, "session_id": SESSION, "llm_profile_name": "builtin"}
    answer = await api.post("/tasks/submit", json=body)
    if not answer.is_success or not answer.json()["success"]:
        raise Unexpected(f"The task was not accepted: {answer.status_code} {answer.text}")
    return str(answer.json()["task_id"])


async def follow(api: httpx.AsyncClient, task_id: str) -> Row:
    """Show the task's progress until it has ended, and return its row."""
    begun = time.monotonic()
    shown = ""
    while time.monotonic() - begun < _TASK_SECONDS:
        row: Row = (await api.get(f"/tasks/{task_id}")).raise_for_status().json()
        told = row["task_metadata"]
        news = f"{row['status']:<9} {told['progress']:>3} %  {told['active_step'] or ''}"
        if news != shown:
            shown = news
            console.print(f"  {time.monotonic() - begun:4.1f} s  {news}", markup=False)
        if row["status"] in {"completed", "failed", "stopped"}:
            return row
        await asyncio.sleep(_LOOK_SECONDS)
    raise Unexpected(f"Task {task_id} has not ended after {_TASK_SECONDS:g} s.")


async def steps(prefect: httpx.AsyncClient, row: Row) -> list[Row]:
    """The steps of the run as Prefect has them: one task run each."""
    asked = {
        "flow_runs": {"id": {"any_": [row["task_id"]]}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    deadline = time.monotonic() + 10
    while True:
        found: list[Row] = (
            (await prefect.post("/api/task_runs/filter", json=asked)).raise_for_status().json()
        )
        # Prefect records task runs from events, a moment after they happened.
        if len([one for one in found if one["end_time"]]) >= row["task_metadata"]["steps"]:
            return found
        if time.monotonic() > deadline:
            raise Unexpected(
                f"Prefect shows {len(found)} steps of {row['task_metadata']['steps']}."
            )
        await asyncio.sleep(_LOOK_SECONDS)


def show_row(row: Row) -> None:
    """Print the row of `tasks`, one column of the table a line."""
    table = Table(title="The row in the table tasks", title_justify="left", show_lines=False)
    table.add_column("column", style="cyan", no_wrap=True)
    table.add_column("value", overflow="fold")
    for name, value in row.items():
        text = "NULL" if value is None else value if isinstance(value, str) else json.dumps(value)
        first, _, rest = text.partition("\n")
        more = f" … ({len(text):,} characters)" if rest else ""
        table.add_row(name, f"{first}{more}".replace("[", r"\["))
    console.print(table)


def show_steps(row: Row, found: list[Row], prefect: str) -> None:
    """Print what the Prefect UI shows of the run while it is up."""
    where = f"{prefect}/runs/flow-run/{row['task_id']}"
    table = Table(title=f"What the Prefect UI shows at {where}", title_justify="left")
    table.add_column("step")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for one in found:
        table.add_row(
            one["name"].replace("[", r"\["), one["state"]["name"], f"{one['total_run_time']:.2f}"
        )
    console.print(table)


def check(row: Row, found: list[Row], pages: int) -> Path:
    """See that all is as promised; returns the report.

    Raises:
        Unexpected: It is not.
    """
    if row["status"] != "completed":
        raise Unexpected(f"The task is {row['status']}, not completed: {row['error_message']}")
    if not row["report_path"]:
        raise Unexpected("The task has no report.")
    report = Path(row["report_path"])
    if not report.is_file() or row["task_id"] not in report.read_text(encoding="utf-8"):
        raise Unexpected(f"{report} is not the report of this task.")
    good = [one for one in found if one["state"]["type"] == "COMPLETED"]
    if len(good) != pages:
        raise Unexpected(f"{len(good)} steps completed; {pages} pages were to be read.")
    return report


async def demo() -> None:
    """Run the demo.

    Raises:
        Unexpected: Something was not as promised.
    """
    begun = time.monotonic()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - this runs in one
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    OUTPUT.mkdir(exist_ok=True)
    pages = len(sources())
    with tempfile.TemporaryDirectory(prefix="vibesurf-demo-") as home, docs_site() as first:
        console.print("[bold]1. The stack[/]: vibesurf-blocks up")
        async with (
            stack(Path(home)) as at,
            httpx.AsyncClient(base_url=at.api, trust_env=False, timeout=30) as api,
            httpx.AsyncClient(base_url=at.prefect, trust_env=False, timeout=30) as prefect,
        ):
            words = f"Read {first} up to {pages} pages"
            console.print(f"\n[bold]2. The task[/]: {words}")
            row = await follow(api, await submit(api, words))
            console.print("\n[bold]3. What is left of it[/]")
            show_row(row)
            found = await steps(prefect, row)
            show_steps(row, found, at.prefect)
            report = check(row, found, pages)
            console.print("\n[dim]Ending the stack …[/]")
    console.print(f"[green]Done[/] in {time.monotonic() - begun:.0f} s. The report: {report}")


def main() -> int:
    """Run the demo; returns the exit code."""
    try:
        asyncio.run(demo())
    except Unexpected as error:
        console.print(f"[bold red]Not as it should be:[/] {error}", markup=True)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        console.print("Interrupted; the stack has ended.")
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
