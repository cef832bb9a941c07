"""Slot free → the next queued run is Running."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from uuid import UUID

from tests.benchmarks import stock_flows
from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row, quantiles
from tests.benchmarks.stack import Stack, at


async def _here(bench: Bench) -> list[float]:
    stack = await bench.stack()
    queued = [
        await stack.create(f"Read {bench.site.page}", f"queue-{number}")
        for number in range(bench.count(20, 8) + 1)
    ]
    return _gaps([await _span(stack, run_id) for run_id in queued if await stack.ended(run_id)])


async def _stock(bench: Bench) -> list[float]:
    stack, stock = await bench.stack(), await bench.stock()
    spans = []
    async with stock.running(limit=1):
        queued = [await stock.create(stock_flows.nothing) for _ in range(4 if bench.quick else 6)]
        for run_id in queued:
            await stock.reached(run_id)
            spans.append(await _span(stack, run_id))
    return _gaps(spans)


async def _span(stack: Stack, run_id: UUID) -> tuple[datetime, datetime]:
    states = await stack.states(run_id)
    return at(states, "Running"), at(states, "Completed")


def _gaps(spans: list[tuple[datetime, datetime]]) -> list[float]:
    ordered = sorted(spans)
    return [(later[0] - earlier[1]).total_seconds() for earlier, later in pairwise(ordered)]


async def slot_to_next(bench: Bench) -> list[Row]:
    """How long a queue stands still between two runs."""
    taken = await _here(bench)
    return [
        Row(
            bench.name("slot free → next queued run Running"),
            "s",
            quantiles(taken, 50, 95),
            {"p50": 1.0},
            quantiles(await _stock(bench), 50, 95),
            note=f"{len(taken)} gaps between the end of one run and the start of the next; the "
            "baseline is a stock process worker whose pool is limited to one.",
        )
    ]


QUEUE = Line("queue", slot_to_next)
