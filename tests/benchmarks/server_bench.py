"""Compare the databases that the local Prefect server can run on; prints a table.

`python -m tests.benchmarks.server_bench [--creates 50]`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.states import Running

from tests.support.local_server import SERVE, Database, LocalServer
from tests.support.worker_load import make_target, worker_load

BARE = (
    "import vibesurf_blocks.stack.prefect_server as s; s.RetryBusy = lambda app: app; "
    "raise SystemExit(s.main())"
)
CASES: list[tuple[str, Database, str]] = [
    ("embedded PostgreSQL", "postgres", SERVE),
    ("SQLite, RetryBusy", "sqlite", SERVE),
    ("SQLite, bare", "sqlite", BARE),
]


def pss(server: LocalServer) -> tuple[float, float]:
    """MB of the server, and of PostgreSQL's processes."""
    sizes = [(p.name(), p.memory_full_info().pss / 1e6) for p in server.processes()]
    database = sum(size for name, size in sizes if name == "postgres")
    return sum(size for _, size in sizes) - database, database


async def measure(database: Database, program: str, creates: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101 - PostgreSQL's own user passes through
        server = LocalServer(Path(folder), database, program=program)
        first = await server.start()
        stop = await server.terminate()
        await server.stop()
        second = await server.start()
        idle = pss(server)
        made: list[float] = []
        set_state: list[float] = []
        async with httpx.AsyncClient(base_url=server.api_url, trust_env=False) as plain:
            target = await make_target(plain)
        async with (
            PrefectClient(api=server.api_url) as client,
            worker_load(server.api_url, target.pool),
        ):
            for _ in range(creates):
                begun = time.perf_counter()
                run = await client.create_flow_run_from_deployment(target.deployment_id)  # type: ignore[arg-type]
                made.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                await client.set_flow_run_state(run.id, Running(), force=True)
                set_state.append(time.perf_counter() - begun)
        loaded = pss(server)
        await server.stop()
    quantiles = statistics.quantiles(made, n=20)
    milliseconds = [statistics.median(made), quantiles[-1], max(made), statistics.median(set_state)]
    return [
        f"{first:.1f}",
        f"{second:.1f}",
        f"{stop:.1f}",
        *(f"{1000 * value:.0f}" for value in milliseconds),
        f"{idle[0]:.0f} + {idle[1]:.0f}",
        f"{loaded[0]:.0f} + {loaded[1]:.0f}",
    ]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=50)
    creates = parser.parse_args().creates
    print(
        "| database | ready first s | ready again s | SIGTERM s | create p50 ms | p95 | max ",
        end="",
    )
    print("| set_state p50 ms | PSS idle MB | PSS after MB |")
    print("|---" * 10 + "|")
    for name, database, program in CASES:
        cells = await measure(database, program, creates)
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
