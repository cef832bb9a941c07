"""GET /tasks/status with 16 clients: idle, with an active task, with a million rows."""

from __future__ import annotations

from prefect.states import Cancelling

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.fills import fill_tasks
from tests.benchmarks.load import Load, load
from tests.benchmarks.rows import Row
from tests.benchmarks.stack import Stack, new_stack
from tests.support.eventually import eventually

CLIENTS = 16
ROWS = 1_000_000


async def _load(stack: Stack, seconds: float) -> Load:
    await load(stack.port, "/tasks/status", clients=CLIENTS, seconds=seconds / 4)
    return await load(stack.port, "/tasks/status", clients=CLIENTS, seconds=seconds)


async def _with_active_task(bench: Bench, stack: Stack, seconds: float) -> Load:
    run_id = await stack.submit(f"Read {bench.site.slow}")
    await stack.has_begun(run_id)
    try:
        return await _load(stack, seconds)
    finally:
        await stack.prefect.set_flow_run_state(run_id, Cancelling())
        await stack.ended(run_id)


async def status_under_load(bench: Bench) -> list[Row]:
    """Requests per second and the slowest answers, of a stack that nobody else uses."""
    seconds = 3.0 if bench.quick else 8.0
    async with new_stack(bench.database) as stack:
        await stack.start()
        empty = await _load(stack, seconds)
        await stack.ended(await stack.submit(f"Read {bench.site.page}"))
        active = await _with_active_task(bench, stack, seconds)
        await fill_tasks(stack.tables_url, ROWS)

        async def quiet() -> bool:
            return (await stack.http.get("/tasks/status")).json()["has_active_task"] is False

        await eventually(quiet, timeout=30)
        many = await _load(stack, seconds)
        many_active = await _with_active_task(bench, stack, seconds)
    return [
        _row("empty table", empty),
        _row("a task active", active),
        _row("1,000,000 rows", many, empty),
        _row("1,000,000 rows, a task active", many_active, active),
    ]


def _row(what: str, found: Load, empty: Load | None = None) -> Row:
    target = {"req/s": 1500.0, "ms p99": 50.0}
    if empty is not None:
        target |= {"req/s": max(1500.0, empty.per_second / 1.2)}
    return Row(
        f"GET /tasks/status, {CLIENTS} clients, {what}",
        "–",
        {"req/s": found.per_second, "ms p50": found.p50, "ms p99": found.p99},
        target,
        {} if empty is None else {"req/s": empty.per_second},
        recorded="VibeSurf 600 req/s, p99 770 ms",
        at_least=frozenset({"req/s"}),
        note=f"load from raw asyncio connections in one process, which used "
        f"{100 * found.generator:.0f} % of a core; answers other than 200: {found.wrong}"
        + ("; the baseline is the same with the empty table." if empty else "."),
    )


STATUS = Line("status", status_under_load, each_database=False)
