"""Short words for tests of batches and workflows: start one as the UI does, follow it, kill it."""

from __future__ import annotations

import os
import signal
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, StateType

from tests.support.control import pid_of
from tests.support.eventually import eventually
from tests.support.site import Site
from vibesurf_blocks.prefect_api.children import Child, of_parent

BATCH_SECONDS = 90.0
"""Seconds a batch of a test may take on a busy machine."""


async def start(prefect: PrefectClient, path: str, **parameters: Any) -> FlowRun:
    """Start a run of a deployment, as the UI's Custom run does."""
    deployment = await prefect.read_deployment_by_name(path)
    return await prefect.create_flow_run_from_deployment(deployment.id, parameters=parameters)


async def finishes(prefect: PrefectClient, run: FlowRun, timeout: float = BATCH_SECONDS) -> FlowRun:
    """Wait until a run has ended, however; the run as it is then."""

    async def ended() -> FlowRun | None:
        now = await prefect.read_flow_run(run.id)
        return now if now.state is not None and now.state.is_final() else None

    found = await eventually(ended, timeout=timeout)
    assert found is not None
    return found


async def children(prefect: PrefectClient, run: FlowRun) -> list[tuple[str, StateType]]:
    """Each child as its part and the type of its state, in the order they were made."""
    found = await of_parent(prefect, run.id)
    found.sort(key=lambda one: (str(one.run.created), one.part))
    return [(one.part, one.run.state.type) for one in found if one.run.state is not None]


async def shown(prefect: PrefectClient, run: FlowRun) -> dict[str, str]:
    """The artifacts of a run by their keys; each key is there once."""
    found = await prefect.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    )
    assert len({one.key for one in found}) == len(found)
    return {str(one.key): str(one.data) for one in found}


async def child_of(prefect: PrefectClient, run: FlowRun, part: str) -> Child:
    """The newest child for a part, once there is one."""

    async def made() -> Child | None:
        found = [one for one in await of_parent(prefect, run.id) if one.part == part]
        return found[-1] if found else None

    found = await eventually(made, timeout=BATCH_SECONDS)
    assert found is not None
    return found


async def kill(prefect: PrefectClient, run_id: UUID) -> None:
    """SIGKILL the process of a run and wait until another has taken over."""
    pid = await pid_of(prefect, str(run_id))
    os.kill(pid, signal.SIGKILL)

    async def replaced() -> bool:
        return await pid_of(prefect, str(run_id)) != pid

    await eventually(replaced, timeout=BATCH_SECONDS)


def pages(site: Site, *names: str) -> list[dict[str, str]]:
    """Items that read a page each, which is served at once."""
    return [
        {"id": name, "task_description": f"Read {site.html(f'/{name}', f'<p>Text of {name}.</p>')}"}
        for name in names
    ]
