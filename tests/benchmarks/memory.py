"""Memory of a stack that has nothing to do."""

from __future__ import annotations

import asyncio

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row
from tests.benchmarks.stack import new_stack, use_of

IDLE = 10.0
"""Seconds after it was ready."""


async def idle_memory(bench: Bench) -> list[Row]:
    """The proportional set size of all its processes, PostgreSQL's included."""
    async with new_stack(bench.database) as stack:
        await stack.start()
        await stack.stop()
        await stack.start()
        await asyncio.sleep(IDLE)  # what is measured, not a wait for something
        use = use_of(stack.processes())
    return [
        Row(
            bench.name("memory of the idle stack"),
            "MB",
            {"": use.memory},
            {"": 600.0},
            recorded="VibeSurf 640 MB",
            note=f"PSS of {use.processes} processes {IDLE:.0f} s after a later start: "
            f"{use.told()}.",
        )
    ]


MEMORY = Line("memory", idle_memory)
