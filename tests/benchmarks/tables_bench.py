"""Measures the reads of the API on SQLite with no rows and with a million ended ones.

Run `python -m tests.benchmarks.tables_bench [ROWS]`; prints milliseconds per call.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

from tests.benchmarks.fills import fill_tasks
from tests.support.records import task
from vibesurf_blocks.tables import Database, TaskRecord, TaskStore, upgrade
from vibesurf_blocks.tasks import Status


async def measure(name: str, call: Callable[[], Awaitable[object]], calls: int) -> None:
    """Print the milliseconds that one call takes, by the clock and of the processor."""
    await call()
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(calls):
        await call()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(f"  {name:<28} {clock / calls * 1e3:9.3f} ms {processor / calls * 1e3:9.3f} ms cpu")


async def report(store: TaskStore, title: str, active: TaskRecord | None) -> None:
    """Measure every read."""
    print(title)
    if active:
        await store.upsert([active])
    await measure("active", store.active, 2_000)
    await measure("last_ended", store.last_ended, 2_000)
    await measure("unfinished_ids", store.unfinished_ids, 200)
    await measure("page", store.page, 5)
    await measure("page, by status", lambda: store.page(status=Status.FAILED), 5)
    await measure("page, by session", lambda: store.page(session_id="session-7"), 5)
    await measure("page, by profile", lambda: store.page(llm_profile_name="builtin"), 5)


async def main(rows: int) -> None:
    """Measure without rows, then with `rows`."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tables.db"
        await upgrade(url)
        database = Database(url)
        store = TaskStore(database)
        running = task("running", Status.RUNNING, task_description="Read https://example.com")
        await report(store, "no rows", None)
        await report(store, "one running", running)
        await store.clear()
        await store.upsert([task("first", Status.COMPLETED)])
        await fill_tasks(url, rows)
        await report(store, f"{rows:,} ended", None)
        await report(store, f"{rows:,} ended, one running", running)
        pending = [task(f"p{number}", second=number) for number in range(10_000)]
        await measure("upsert of 10,000", lambda: store.upsert(pending), 1)
        await store.upsert([task("running", Status.COMPLETED, 1)])
        await report(store, f"{rows:,} ended, 10,000 pending", None)
        await database.aclose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
