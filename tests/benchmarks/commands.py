"""Pause, instruct and resume → the agent has done it and says so."""

from __future__ import annotations

import time
from functools import partial
from uuid import UUID

import httpx

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row, quantiles
from tests.benchmarks.site import PACE, PAGES
from tests.support.eventually import eventually

_OPERATIONS = ("pause", "add-new-task", "resume")
_STEPS = 3


async def _measured(bench: Bench) -> dict[str, list[float]]:
    """Seconds from each request to its answer, of an agent that takes short steps."""
    stack = await bench.stack()
    task = f"Read {bench.site.paced} and follow links, up to {PAGES} pages."
    taken: dict[str, list[float]] = {name: [] for name in _OPERATIONS}
    async with httpx.AsyncClient(base_url=stack.api_url, trust_env=False, timeout=60) as api:
        for number in range(bench.count(20, 8)):
            run_id = await stack.submit(task, f"commands-{number}")
            await eventually(partial(_took_steps, api, run_id), timeout=60, pause=0.02)
            for name in _OPERATIONS:
                begun = time.perf_counter()
                answer = await api.post(f"/tasks/{run_id}/{name}", json={"reason": "for a while"})
                if answer.status_code != httpx.codes.OK:
                    break  # the run was quicker than the request
                taken[name].append(time.perf_counter() - begun)
            await stack.ended(run_id)
    return taken


async def _took_steps(api: httpx.AsyncClient, run_id: UUID) -> bool:
    """Whether an agent is past its start, in which it waits for much else."""
    row = (await api.get(f"/tasks/{run_id}")).json()
    return int(row["task_metadata"]["steps"]) >= _STEPS


async def command_to_ack(bench: Bench) -> list[Row]:
    """How long a command takes over REST, to the answer that it has taken effect."""
    taken = await _measured(bench)
    return [
        Row(
            bench.name(f"{name} → acknowledged by the agent"),
            "s",
            quantiles(some, 50, 95),
            {"p50": 0.25},
            recorded="VibeSurf 0.01 s, in-process and not durable",
            note=f"{len(some)} over REST, to the answer, of an agent whose pages take {PACE:g} s "
            f"each, from its step {_STEPS} on.",
        )
        for name, some in taken.items()
    ]


COMMANDS = Line("commands", command_to_ack)
