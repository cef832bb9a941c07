"""Many writers in many processes on one SQLite file: none fails, nothing is lost."""

from __future__ import annotations

import asyncio
import sys

from vibesurf_blocks.tables import Database, TaskStore, upgrade

WRITER = """
import asyncio, sys
from tests.support.records import task
from vibesurf_blocks.tables import Database, TaskStore

async def main(url, writer):
    database = Database(url)
    store = TaskStore(database)

    async def write(part):
        for number in range(10):
            await store.upsert([task(f"{writer}-{part}-{number}"), task("shared", second=number)])
            assert await store.active() is not None

    await asyncio.gather(*(write(part) for part in range(4)))
    await database.aclose()

sys.stdin.readline()
asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def test_eight_processes_write_at_once(sqlite_url: str) -> None:
    await upgrade(sqlite_url)
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, sqlite_url, f"{writer}", stdin=pipe, stderr=pipe
        )
        for writer in range(8)
    ]
    ends = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * 8, ends
    database = Database(sqlite_url)
    page = await TaskStore(database).page(limit=1)
    await database.aclose()
    assert page.total_count == 8 * 4 * 10 + 1
