"""Stop → the agent has ended and the slot is free."""

from __future__ import annotations

import time
from uuid import UUID

from prefect.states import Cancelling

from tests.benchmarks import stock_flows
from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row, quantiles
from tests.benchmarks.stack import Stack, at, gone
from tests.support.eventually import eventually
from vibesurf_blocks.prefect_api.runs import slot_holders

AGENTS_POOL = "vibesurf"


async def _here(bench: Bench) -> tuple[list[float], list[float], list[float]]:
    stack = await bench.stack()
    cancelled, dead, claimed = [], [], []
    for number in range(bench.count(10, 5)):
        run_id = await stack.create(f"Read {bench.site.slow}", f"stop-{number}")
        run = await stack.has_begun(run_id)
        following = await stack.create(f"Read {bench.site.page}", f"after-{number}")
        await _working(stack, run_id)
        begun = time.time()
        await stack.prefect.set_flow_run_state(run_id, Cancelling())
        assert run.infrastructure_pid is not None
        dead.append(await gone(int(run.infrastructure_pid)) - begun)
        await stack.ended(following)
        cancelled.append(at(await stack.states(run_id), "Cancelled").timestamp() - begun)
        claimed.append(at(await stack.states(following), "Pending").timestamp() - begun)
    return cancelled, dead, claimed


async def _working(stack: Stack, run_id: UUID) -> None:
    """Wait until the agent is in its first step."""

    async def stepping() -> bool:
        answer = await stack.prefect.request(
            "POST",
            "/task_runs/filter",
            json={
                "flow_runs": {"id": {"any_": [str(run_id)]}},
                "task_runs": {"state": {"type": {"any_": ["RUNNING"]}}},
            },
        )
        return bool(answer.json())

    await eventually(stepping, timeout=30, pause=0.1)


async def _stock(bench: Bench) -> list[float]:
    stack, stock = await bench.stack(), await bench.stock()
    taken: list[float] = []
    async with stock.running():
        for _ in range(2 if bench.quick else 4):
            run_id = await stock.create(stock_flows.endless)
            await stock.reached(run_id, running=True)
            begun = time.time()
            await stack.prefect.set_flow_run_state(run_id, Cancelling())
            await stock.reached(run_id)
            taken.append(at(await stack.states(run_id), "Cancelled").timestamp() - begun)
    return taken


async def stop_to_free(bench: Bench) -> list[Row]:
    """How long a stop takes, all told."""
    cancelled, dead, claimed = await _here(bench)
    whole = [max(parts) for parts in zip(cancelled, dead, claimed, strict=True)]
    parts = {
        "Cancelled": quantiles(cancelled, 50)["p50"],
        "process gone": quantiles(dead, 50)["p50"],
        "next claimed": quantiles(claimed, 50)["p50"],
    }
    told = ", ".join(f"{name} {value:.2f} s" for name, value in parts.items())
    return [
        Row(
            bench.name("stop → agent ended and slot free"),
            "s",
            quantiles(whole, 50, 95),
            {"p50": 1.0},
            quantiles(await _stock(bench), 50),
            recorded="VibeSurf 2.0 s",
            note=f"{len(whole)} stops while a page is loading; p50 of the parts: {told}; the "
            "baseline is a stock process worker, to its Cancelled state.",
        )
    ]


async def _batches(bench: Bench) -> list[float]:
    stack = await bench.stack()
    taken: list[float] = []
    for number in range(bench.count(6, 3)):
        session = f"batch-{number}"
        items = [f"Read {bench.site.slow}"] * 3
        asked = {"session_id": session, "items": items}
        answer = await stack.http.post("/tasks/batch", json=asked)
        batch_id = UUID(answer.raise_for_status().json()["batch_id"])

        async def child(of: str = session) -> UUID | None:
            rows = (await stack.http.get("/tasks", params={"session_id": of})).json()["tasks"]
            return next((UUID(row["task_id"]) for row in rows if row["status"] == "running"), None)

        running = await eventually(child, timeout=30, pause=0.1)
        assert running is not None
        await _working(stack, running)
        begun = time.time()
        await stack.prefect.set_flow_run_state(batch_id, Cancelling())

        async def free() -> bool:
            return not await slot_holders(stack.prefect, AGENTS_POOL)

        await eventually(free, timeout=30, pause=0.01)
        taken.append(time.time() - begun)
        await stack.ended(running)
        assert at(await stack.states(running), "Cancelled").timestamp() > begun
    return taken


async def batch_stop_to_free(bench: Bench) -> list[Row]:
    """How long a stop of a batch takes, until its child has ended and the slot is free."""
    taken = await _batches(bench)
    return [
        Row(
            bench.name("stop of a batch → its child ended and slot free"),
            "s",
            quantiles(taken, 50, 95),
            {"p50": 1.0},
            note=f"{len(taken)} batches of three, each stopped while its first item loads a page.",
        )
    ]


async def stops(bench: Bench) -> list[Row]:
    """Of a task, and of a batch."""
    return [*await stop_to_free(bench), *await batch_stop_to_free(bench)]


STOP = Line("stop", stops)
