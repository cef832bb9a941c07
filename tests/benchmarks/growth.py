"""What is left behind by many runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row
from tests.benchmarks.stack import Stack, Use, use_of
from tests.support.eventually import eventually

WARM = 10


async def _settled(stack: Stack, count: int) -> Use:
    """What the stack uses once no more processes stand than before."""

    async def settled() -> bool:
        return len(stack.processes()) <= count

    with suppress(TimeoutError):  # then the row tells of them
        await eventually(settled, timeout=10)
    return use_of(stack.processes())


def _temporary(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*"))


async def growth(bench: Bench) -> list[Row]:
    """Memory, processes, open files and temporary files before and after many runs."""
    stack = await bench.stack()
    count = len(stack.processes())
    task = f"Read {bench.site.page}"
    for _ in range(WARM):
        await stack.ended(await stack.submit(task))
    before, files_before = await _settled(stack, count), _temporary(stack.temp)
    runs = bench.count(100, 20)
    for _ in range(runs):
        await stack.ended(await stack.submit(task))
    after, files_after = await _settled(stack, before.processes), _temporary(stack.temp)
    return [
        Row(
            bench.name(f"growth over {runs} runs"),
            "–",
            {
                "MB": after.memory - before.memory,
                "processes": after.processes - before.processes,
                "open files": after.files - before.files,
                "temporary files": files_after - files_before,
            },
            {"MB": 10.0, "processes": 0, "open files": 0, "temporary files": 0},
            recorded="VibeSurf +1.1 GB over 30",
            note=f"after {WARM} runs to warm up; {before.processes} processes and {before.files} "
            f"open files before. Before: {before.told()}; after: {after.told()}.",
        )
    ]


GROWTH = Line("growth", growth)
