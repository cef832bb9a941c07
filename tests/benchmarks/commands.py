"""Pause, instruct and resume → the agent has done it and says so."""

from __future__ import annotations

import time

import httpx

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row, quantiles
from tests.benchmarks.site import PACE, PAGES

_OPERATIONS = ("pause", "add-new-task", "resume")


async def _measured(bench: Bench) -> dict[str, list[float]]:
    """Seconds from each request to its answer, of an agent that takes short steps."""
    stack = await bench.stack()
    task = f"Read {bench.site.paced} and follow links, up to {PAGES} pages."
    taken: dict[str, list[float]] = {name: [] for name in _OPERATIONS}
    async with httpx.AsyncClient(base_url=stack.api_url, trust_env=False, timeout=60) as api:
        for number in range(bench.count(20, 8)):
            run_id = await stack.submit(task, f"commands-{number}")
            await stack.has_begun(run_id)
            for name in _OPERATIONS:
                begun = time.perf_counter()
                answer = await api.post(f"/tasks/{run_id}/{name}", json={"reason": "for a while"})
                if answer.status_code != httpx.codes.OK:
                    break  # the run was quicker than the request
                taken[name].append(time.perf_counter() - begun)
            await stack.ended(run_id)
    return taken


async def command_to_ack(bench: Bench) -> list[Row]:
    """How long a command takes over REST, to the answer that it has taken effect."""
    taken = await _measured(bench)
    every = [one for some in taken.values() for one in some]
    told = ", ".join(
        f"{name} {quantiles(some, 50)['p50']:.2f} s" for name, some in taken.items() if some
    )
    return [
        Row(
            bench.name("pause or instruct → acknowledged by the agent"),
            "s",
            quantiles(every, 50, 95),
            {"p50": 0.25},
            recorded="VibeSurf 0.01 s, in-process and not durable",
            note=f"{len(every)} commands over REST, to the answer, while a page takes {PACE:g} s; "
            f"p50: {told}.",
        )
    ]


COMMANDS = Line("commands", command_to_ack)
