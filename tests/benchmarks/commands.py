"""Pause, instruct and resume → the agent has done it and says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import httpx
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from tests.benchmarks.bench import Bench, Line
from tests.benchmarks.rows import Row, quantiles
from tests.benchmarks.site import PACE, PAGES
from tests.benchmarks.stack import Stack
from tests.support.eventually import eventually

_OPERATIONS = ("add-new-task", "pause", "resume")
_STEPS = 2


@dataclass(slots=True)
class _Taken:
    """Seconds from the requests to their answers.

    Attributes:
        whole: All of them.
        between: Without what was left of the step that the agent was at when asked.
    """

    whole: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)


async def _measured(bench: Bench) -> dict[str, _Taken]:
    """How long each command took, of an agent at work."""
    stack = await bench.stack()
    task = f"Read {bench.site.paced} and follow links, up to {PAGES} pages."
    taken = {name: _Taken() for name in _OPERATIONS}
    async with httpx.AsyncClient(base_url=stack.api_url, trust_env=False, timeout=60) as api:
        for number in range(bench.count(20, 8)):
            run_id = await stack.submit(task, f"commands-{number}")
            await eventually(partial(_took_steps, api, run_id), timeout=60, pause=0.02)
            spans: dict[str, tuple[datetime, datetime]] = {}
            for name in _OPERATIONS:
                asked = datetime.now(UTC)
                answer = await api.post(f"/tasks/{run_id}/{name}", json={"reason": "for a while"})
                answer.raise_for_status()
                spans[name] = asked, datetime.now(UTC)
            await api.post(f"/tasks/{run_id}/stop", json={})
            await stack.ended(run_id)
            steps = await _steps(stack, run_id)
            for name, (asked, answered) in spans.items():
                rest = max((end for start, end in steps if start <= asked < end), default=asked)
                taken[name].whole.append((answered - asked).total_seconds())
                taken[name].between.append((answered - rest).total_seconds())
    return taken


async def _steps(stack: Stack, run_id: UUID) -> list[tuple[datetime, datetime]]:
    """When the steps of a run began and ended."""
    found = await stack.prefect.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    )
    return [(one.start_time, one.end_time) for one in found if one.start_time and one.end_time]


async def _took_steps(api: httpx.AsyncClient, run_id: UUID) -> bool:
    """Whether an agent is past its start, in which it waits for much else."""
    row = (await api.get(f"/tasks/{run_id}")).json()
    return int(row["task_metadata"]["steps"]) >= _STEPS


async def command_to_ack(bench: Bench) -> list[Row]:
    """How long a command takes over REST, to the answer that it has taken effect."""
    return [
        Row(
            bench.name(f"{name} → acknowledged by the agent, between steps"),
            "s",
            quantiles(some.between, 50, 95) | {"whole p50": quantiles(some.whole, 50)["p50"]},
            {"p50": 0.25},
            recorded="VibeSurf 0.01 s, in-process and not durable",
            note=f"{len(some.whole)} over REST, to the answer, of an agent whose pages take "
            f"{PACE:g} s each. `whole` has what was left of the step it was at as well.",
        )
        for name, some in (await _measured(bench)).items()
    ]


COMMANDS = Line("commands", command_to_ack)
