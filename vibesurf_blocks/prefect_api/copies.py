"""Deployments made on a client's word: copies of a standing one, with parameters of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from prefect.exceptions import ObjectNotFound

from vibesurf_blocks.errors import Conflict, NotFound, Unavailable
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api import run_secrets
from vibesurf_blocks.prefect_api.deployments import Found
from vibesurf_blocks.tasks import (
    AGENT_DEPLOYMENT,
    AGENT_FLOW,
    BACKEND_BLOCK,
    BACKEND_BLOCK_TYPE,
    BACKEND_DEPLOYMENT,
    BACKEND_FLOW,
)

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from pydantic import JsonValue

TASK_TAG: Final = "vibesurf-task"
"""Tag of deployments that hold a saved agent task."""

BACKEND_TAG: Final = "vibesurf-backend-flow"
"""Tag of deployments that trigger a flow of a VibeSurf backend."""


async def of_agent(
    client: PrefectClient,
    name: str,
    parameters: Mapping[str, JsonValue],
    *,
    flow: str | None,
    tags: Sequence[str],
    description: str | None,
) -> Found | None:
    """Make a deployment for a saved agent task.

    Args:
        client: Prefect.
        name: Its name.
        parameters: The parameters of its runs.
        flow: The flow it is to be of, where one is named.
        tags: Tags beside its own.
        description: What people read about it.

    Returns:
        The deployment; None where it is to be of another flow than the agent's.

    Raises:
        Unavailable: The agent's standing deployment is missing.
    """
    if flow not in {None, AGENT_FLOW}:
        return None
    return await _copy(
        client,
        f"{AGENT_FLOW}/{AGENT_DEPLOYMENT}",
        name,
        parameters=parameters,
        tags=[TASK_TAG, *tags],
        description=description,
    )


async def of_backend(
    client: PrefectClient, name: str, *, tags: Sequence[str], description: str | None
) -> Found | None:
    """Make a deployment that triggers the flow of this name on the VibeSurf backend.

    Returns:
        The deployment; None where no backend is configured.

    Raises:
        Unavailable: The standing deployment of the backend flow is missing.
    """
    try:
        await client.read_block_document_by_name(BACKEND_BLOCK, BACKEND_BLOCK_TYPE)
    except ObjectNotFound:
        return None
    return await _copy(
        client,
        f"{BACKEND_FLOW}/{BACKEND_DEPLOYMENT}",
        name,
        parameters={"flow_id": name},
        tags=[BACKEND_TAG, *tags],
        description=description,
    )


def check_holds_task(found: Found) -> None:
    """See that a deployment was made for a saved task.

    Raises:
        Conflict: It was not.
    """
    if TASK_TAG not in found.deployment.tags:
        msg = (
            f"The deployment {found.path} was not made for a task; leave out `task` to schedule it "
            "as it is, or choose another flow_id"
        )
        raise Conflict(msg)


async def change_task(
    client: PrefectClient,
    found: Found,
    parameters: Mapping[str, JsonValue],
    secrets: Sequence[str],
) -> Found:
    """Give a deployment that holds a saved task another one.

    Args:
        client: Prefect.
        found: The deployment, of which that is known.
        parameters: The parameters of its runs from now on.
        secrets: Tags that name the secrets of the task, in place of those it had.

    Returns:
        The deployment as it is now.
    """
    await prefect_deployments.change_deployment(
        client,
        found.deployment.id,
        parameters=dict(parameters),
        tags=[*run_secrets.without_tags(found.deployment.tags), *secrets],
    )
    deployment = await client.read_deployment(found.deployment.id)
    return Found(deployment, found.flow, found.spelling)


async def _copy(
    client: PrefectClient,
    path: str,
    name: str,
    *,
    parameters: Mapping[str, JsonValue],
    tags: Sequence[str],
    description: str | None,
) -> Found:
    try:
        template = await client.read_deployment_by_name(path)
    except ObjectNotFound as error:
        msg = (
            f"The deployment {path!r} is not on the Prefect server. Start `vibesurf-blocks up` "
            "once against it, or run `prefect deploy --all`."
        )
        raise Unavailable(msg) from error
    made = await client.create_deployment(
        flow_id=template.flow_id,
        name=name,
        parameters={**template.parameters, **parameters},
        description=description or "",  # the client writes None as a word
        work_pool_name=template.work_pool_name,
        work_queue_name=template.work_queue_name,
        tags=list(tags),
        path=template.path,
        entrypoint=template.entrypoint,
        parameter_openapi_schema=template.parameter_openapi_schema,
        pull_steps=template.pull_steps,
        enforce_parameter_schema=template.enforce_parameter_schema,
        job_variables=template.job_variables,
    )
    found = await prefect_deployments.find(client, str(made))
    if not found:
        raise NotFound
    return found[0]
