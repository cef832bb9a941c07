"""Puts the work pools and the standing deployments on a Prefect server; safe to repeat."""

from __future__ import annotations

import logging

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.types.entrypoint import EntrypointType

from flows.agent_run import agent_run
from flows.alert import alert
from flows.backend_flow import backend_flow
from flows.batch import batch
from flows.workflow import workflow
from vibesurf_blocks import blocks
from vibesurf_blocks.prefect_api import queues
from vibesurf_blocks.prefect_api.automations import tell_blocks
from vibesurf_blocks.prefect_api.client import connect
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import (
    AGENT_DEPLOYMENT,
    ALERT_DEPLOYMENT,
    BACKEND_DEPLOYMENT,
    BATCH_DEPLOYMENT,
    WORKFLOW_DEPLOYMENT,
)
from vibesurf_blocks.worker.worker import ALERTS_AT_ONCE, PARENTS_AT_ONCE, VibesurfWorker

logger = logging.getLogger(__name__)

POOL_DESCRIPTION = "Runs browser agents, one at a time unless the limit is raised."
PARENTS_POOL_DESCRIPTION = (
    "Runs batches and workflows, which hold no slot themselves; a worker of the agents' pool "
    "serves this one too."
)
ALERTS_POOL_DESCRIPTION = (
    "Tells people what happened, whatever else runs; a worker of the agents' pool serves this one "
    "too."
)
AGENT_JOB_VARIABLES = {"max_recoveries": 2, "stop_grace_seconds": 10.0}
AGENT_DESCRIPTION = """\
Runs an agent on one task. Use *Run → Custom run* and fill in the form: the task in plain words,
and a session, which names the folder for its files. The result and the report appear among the
run's artifacts, each step of the agent as a task run.
"""
# A parent that is started again goes on where it was: dying costs it nothing.
PARENT_JOB_VARIABLES = {"max_recoveries": 20, "stop_grace_seconds": 30.0}
BATCH_DESCRIPTION = """\
Runs a list of tasks, each as an agent run of its own: one after another, or in parallel up to the
slots there are. A table and a summary are among the run's artifacts. *Retry* runs what is missing.
"""
WORKFLOW_DESCRIPTION = """\
Runs tasks as the named steps of a workflow, as they need each other: in sequence, on conditions,
with retries, fallbacks and alerts. `definition` is an object or YAML text.
"""
ALERT_DESCRIPTION = """\
Tells a webhook and notification blocks what happened to a task, a batch or a workflow. Made by the
mirror where a run's `alerts`, or the settings, ask for it; a failed one can be retried here.
"""
BACKEND_DESCRIPTION = """\
Triggers a flow of a VibeSurf backend. The block *VibeSurf Backend* named `default` says where the
backend is; the run ends with what it answered.
"""


async def apply(pool: str) -> None:
    """Create the pools and the deployments where they are missing or of another version.

    What an operator changed (the pools' limits, schedules, job variables) is left as it is.
    """
    async with connect() as client:
        settings = Settings(pool=pool)
        await _pool(client, pool, 1, POOL_DESCRIPTION)
        await queues.ensure(client, pool)
        await _pool(client, settings.parents_pool, PARENTS_AT_ONCE, PARENTS_POOL_DESCRIPTION)
        await _pool(client, settings.alerts_pool, ALERTS_AT_ONCE, ALERTS_POOL_DESCRIPTION)
        await _deploy(client, await _agent(pool))
        for name in blocks.__all__:
            await getattr(blocks, name).register_type_and_schema(client=client)
        await _deploy(client, await _backend(pool))
        for deployment in await _slotless(settings):
            await _deploy(client, deployment)
        await tell_blocks(client, settings.alert_blocks, settings.alert_on, settings.pools)


async def _pool(client: PrefectClient, name: str, limit: int, description: str) -> None:
    try:
        await client.read_work_pool(name)
        return
    except ObjectNotFound:
        pass
    try:
        await client.create_work_pool(
            WorkPoolCreate(
                name=name,
                type=VibesurfWorker.type,
                description=description,
                base_job_template=VibesurfWorker.get_default_base_job_template(),
                concurrency_limit=limit,
            )
        )
        logger.info("Made the work pool %s.", name)
    except ObjectAlreadyExists:
        pass  # somebody else's first start was quicker


async def _agent(pool: str) -> RunnerDeployment:
    return await agent_run.ato_deployment(
        AGENT_DEPLOYMENT,
        work_pool_name=pool,
        job_variables=AGENT_JOB_VARIABLES,
        description=AGENT_DESCRIPTION,
        tags=["vibesurf"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


async def _backend(pool: str) -> RunnerDeployment:
    return await backend_flow.ato_deployment(
        BACKEND_DEPLOYMENT,
        work_pool_name=pool,
        description=BACKEND_DESCRIPTION,
        tags=["vibesurf"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


async def _slotless(settings: Settings) -> list[RunnerDeployment]:
    """The deployments of flows that run no agent themselves, and so hold no slot."""
    return [
        await flow.ato_deployment(
            name,
            work_pool_name=pool,
            job_variables=PARENT_JOB_VARIABLES,
            description=description,
            tags=["vibesurf"],
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for flow, name, pool, description in (
            (batch, BATCH_DEPLOYMENT, settings.parents_pool, BATCH_DESCRIPTION),
            (workflow, WORKFLOW_DEPLOYMENT, settings.parents_pool, WORKFLOW_DESCRIPTION),
            (alert, ALERT_DEPLOYMENT, settings.alerts_pool, ALERT_DESCRIPTION),
        )
    ]


async def _deploy(client: PrefectClient, deployment: RunnerDeployment) -> None:
    path = f"{deployment.flow_name}/{deployment.name}"
    try:
        found = await client.read_deployment_by_name(path)
    except ObjectNotFound:
        found = None
    schema = deployment._parameter_openapi_schema.model_dump(exclude_unset=True)
    if (
        found is not None
        and found.entrypoint == deployment.entrypoint
        and found.work_pool_name == deployment.work_pool_name
        and found.parameter_openapi_schema == schema
    ):
        return
    await deployment.aapply()
    logger.info("Put the deployment %s on the server.", path)
