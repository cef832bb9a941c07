"""How long the stack takes to be ready, the first time and later."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row
from tests.benchmarks.stack import Stack, new_stack
from vibesurf_blocks.stack.ready import free_port, wait_ready


async def _server_alone(stack: Stack, home: Path) -> float:
    """Start `prefect server start` on SQLite; the seconds until it is healthy."""
    port = free_port()
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "server", "start", "--port", str(port)),
        env=stack.env
        | {
            "PREFECT_HOME": str(home),
            # By default the UI is unpacked inside the installed package, which others share.
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await wait_ready(f"http://127.0.0.1:{port}/api/health", timeout=120)
        return time.perf_counter() - begun
    finally:
        process.terminate()
        await process.wait()


async def stack_ready(bench: Bench) -> list[Row]:
    """From the command to the last part's readiness."""
    async with new_stack(bench.database) as stack:
        first = await stack.start()
        later = []
        for _ in range(1 if bench.quick else 3):
            await stack.stop()
            later.append(await stack.start())
        await stack.stop()
        with tempfile.TemporaryDirectory() as home:
            alone = {
                "first start": await _server_alone(stack, Path(home)),
                "later": await _server_alone(stack, Path(home)),
            }
    return [
        Row(
            bench.name("stack ready"),
            "s",
            {"first start": first, "later": max(later)},
            {"first start": 30.0, "later": 14.0},
            alone,
            recorded="VibeSurf 27 / 27 s",
            note=f"the slowest of {len(later)} later starts; the baseline is "
            "`prefect server start` alone on SQLite, without worker, API and tables.",
        )
    ]


READY = Line("ready", stack_ready)
