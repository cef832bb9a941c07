"""A deployment to create runs of, and a client that asks for them as a worker does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx


@dataclass(frozen=True)
class Target:
    """What was made on the server."""

    pool: str
    flow_id: str
    deployment_id: str


async def make_target(client: httpx.AsyncClient) -> Target:
    """Make a work pool, a flow and a deployment; the client's base URL is the API's."""
    pool = f"pool-{uuid.uuid4().hex[:8]}"
    answer = await client.post("/work_pools/", json={"name": pool, "type": "process"})
    answer.raise_for_status()
    answer = await client.post("/flows/", json={"name": f"flow-{pool}"})
    answer.raise_for_status()
    flow_id = answer.json()["id"]
    answer = await client.post(
        "/deployments/", json={"name": "d", "flow_id": flow_id, "work_pool_name": pool}
    )
    answer.raise_for_status()
    return Target(pool, flow_id, answer.json()["id"])


@asynccontextmanager
async def worker_load(api_url: str, pool: str, *, interval: float = 0.1) -> AsyncIterator[None]:
    """Poll a pool and send heartbeats every `interval` seconds until the context ends."""
    begun = asyncio.Event()

    async def hammer() -> None:
        async with httpx.AsyncClient(base_url=api_url, trust_env=False) as client:
            while True:
                before = datetime.now(UTC) + timedelta(seconds=10)
                await asyncio.gather(
                    client.post(
                        f"/work_pools/{pool}/get_scheduled_flow_runs",
                        json={"scheduled_before": before.isoformat()},
                    ),
                    client.post(
                        f"/work_pools/{pool}/workers/heartbeat",
                        json={"name": "hammer", "heartbeat_interval_seconds": 30},
                    ),
                )
                begun.set()
                await asyncio.sleep(interval)

    task = asyncio.create_task(hammer())
    try:
        await begun.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
