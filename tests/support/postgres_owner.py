"""A program that owns an embedded PostgreSQL until it is killed; prints the postmaster's pid."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from vibesurf_blocks.stack.postgres import EmbeddedPostgres


async def main() -> None:
    async with EmbeddedPostgres(Path(sys.argv[1])) as postgres:
        print(postgres.pid, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
