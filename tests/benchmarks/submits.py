"""Submit → Running, and each state of those runs → row."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tests.benchmarks import stock_flows
from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row, quantiles
from tests.benchmarks.stack import Stack, at
from tests.benchmarks.watch import Watch, watching
from tests.support.eventually import eventually


@dataclass(frozen=True, slots=True)
class Submitted:
    """Seconds, of all runs."""

    to_running: list[float]
    to_row: list[float]


async def submit_runs(bench: Bench) -> Submitted:
    """What `submits_on` measures on the shared stack."""
    return await submits_on(await bench.stack(), bench.site.page, bench.count(40, 20))


async def submits_on(stack: Stack, page: str, count: int) -> Submitted:
    """Submit tasks one after another, each after the one before has ended."""
    to_running: list[float] = []
    to_row: list[float] = []
    with watching(stack.tables) as watch:
        for _ in range(count):
            begun = time.time()
            run_id = await stack.submit(f"Read {page}")
            await stack.ended(run_id)
            states = await stack.states(run_id)
            to_running.append(at(states, "Running").timestamp() - begun)
            for state in states:
                to_row.append(await _shown(watch, run_id, state.timestamp))
    return Submitted(to_running, to_row)


async def _shown(watch: Watch, run_id: UUID, changed: datetime) -> float:
    """Seconds from a change until the row showed it."""

    async def moment() -> float | None:
        return watch.shown(run_id, changed)

    shown = await eventually(moment, timeout=30, pause=0.01)
    assert shown is not None
    return shown - changed.timestamp()


async def stock_runs(bench: Bench) -> list[float]:
    """The same with the stock worker: create → Running."""
    stack, stock = await bench.stack(), await bench.stock()
    taken: list[float] = []
    async with stock.running():
        await stock.reached(await stock.create(stock_flows.nothing))
        for _ in range(3 if bench.quick else 5):
            begun = time.time()
            run_id = await stock.create(stock_flows.nothing)
            await stock.reached(run_id)
            taken.append(at(await stack.states(run_id), "Running").timestamp() - begun)
            # The worker asks every 10 s: another moment of its interval each time.
            await asyncio.sleep(len(taken) * 1.7 % 5)
    return taken


async def submit_to_running(bench: Bench) -> list[Row]:
    """How long a task waits that finds the slot free."""
    taken = (await bench.once("submits", submit_runs)).to_running
    return [
        Row(
            bench.name("submit → Running"),
            "s",
            quantiles(taken, 50, 95),
            {"p50": 0.5, "p95": 1.0},
            quantiles(await stock_runs(bench), 50, 95),
            note=f"{len(taken)} runs, one after another; POST to the timestamp of Running; the "
            "baseline is a stock process worker on the same server.",
        )
    ]


async def state_to_row(bench: Bench) -> list[Row]:
    """How far the row is behind the run."""
    taken = (await bench.once("submits", submit_runs)).to_row
    return [
        Row(
            bench.name("Prefect state change → row"),
            "s",
            quantiles(taken, 50, 99),
            {"p50": 0.1, "p99": 0.5},
            note=f"{len(taken)} changes; the row is looked at every 5 ms.",
        )
    ]


SUBMIT = Line("submit", submit_to_running)
MIRROR = Line("mirror", state_to_row)
