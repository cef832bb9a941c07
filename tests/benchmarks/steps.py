"""What orchestration adds to one step of an agent."""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row
from tests.benchmarks.site import PAGES
from tests.support.eventually import eventually
from vibesurf_blocks.engines.protocol import EngineContext
from vibesurf_blocks.engines.reader import ReaderEngine
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask


async def _bare(task: str) -> float:
    """Milliseconds of a step of the engine alone, driven by a plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        asked = AgentTask(task_description=task, session_id="bare")
        engine = ReaderEngine(EngineContext(asked, "bare", Path(folder), Settings()))
        await engine.open()
        try:
            await engine.step()  # the first one connects, and imports
            begun, count = time.perf_counter(), 1
            while not (await engine.step()).done:
                count += 1
            return 1000 * (time.perf_counter() - begun) / count
        finally:
            await engine.close()


async def _orchestrated(bench: Bench, task: str) -> float:
    """Milliseconds from one step to the next of a flow run."""
    stack = await bench.stack()
    run_id = await stack.submit(task)
    await stack.ended(run_id)

    async def begun() -> list[str]:
        # Prefect records task runs from their events, a moment later.
        answer = await stack.prefect.request(
            "POST",
            "/task_runs/filter",
            json={"flow_runs": {"id": {"any_": [str(run_id)]}}, "limit": 200},
        )
        found = [run["start_time"] for run in answer.json() if run["start_time"]]
        return found if len(found) >= PAGES else []

    started = sorted(await eventually(begun, timeout=30))
    assert len(started) == PAGES, f"{len(started)} steps"
    first, last = datetime.fromisoformat(started[0]), datetime.fromisoformat(started[-1])
    return 1000 * (last - first).total_seconds() / (PAGES - 1)


async def added_to_a_step(bench: Bench) -> list[Row]:
    """A run of 50 pages that are answered at once, with Prefect and without."""
    task = f"Read {bench.site.chain} and follow links, up to {PAGES} pages."
    rounds = 3 if bench.quick else 5
    bare = [await _bare(task) for _ in range(rounds)]
    whole = [await _orchestrated(bench, task) for _ in range(rounds)]
    added = statistics.median(whole) - statistics.median(bare)
    return [
        Row(
            bench.name("added by orchestration to one agent step"),
            "ms",
            {"": added},
            {"": 30.0},
            note=f"{rounds} runs of {PAGES} steps: {statistics.median(whole):.1f} ms a step, of "
            f"the engine alone {statistics.median(bare):.1f} ms.",
        )
    ]


STEPS = Line("steps", added_to_a_step)
