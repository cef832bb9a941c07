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


STOP = Line("stop", stop_to_free)
