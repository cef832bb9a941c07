"""One process at a time works on a database, and one that was killed holds up nobody."""

from __future__ import annotations

import asyncio
import sys

import pytest

from vibesurf_blocks.errors import StackError
from vibesurf_blocks.tables import Database
from vibesurf_blocks.tables.alone import alone

HOLDER = """
import asyncio, sys
from vibesurf_blocks.tables import Database
from vibesurf_blocks.tables.alone import alone

async def main():
    async with alone(Database(sys.argv[1]), "mend", wait=1):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_second_one_is_refused_until_the_first_is_killed(database: Database) -> None:
    url = database.url.render_as_string(hide_password=False)
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, url, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        with pytest.raises(StackError, match=r"held the right to mend .* for more than 0\.05 s"):
            async with alone(database, "mend", wait=0.05):
                raise AssertionError
        async with alone(database, "sweep", wait=0.05):  # other work is not held up
            pass
    finally:
        holder.kill()
        await holder.wait()
    async with alone(database, "mend", wait=10) as still_there:
        await still_there()
    async with alone(database, "mend", wait=0.05):  # it was given back
        pass
