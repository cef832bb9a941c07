"""Tasks as named steps that need each other: start those whose time has come, until all ended."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import ValidationError

from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.parents.refusal import refused
from vibesurf_blocks.tasks import (
    WORKFLOW_FLOW,
    AgentMode,
    ProfileName,
    SessionId,
    TaskAlerts,
)
from vibesurf_blocks.workflows.definition import Inputs, Workflow
from vibesurf_blocks.workflows.run import WorkflowRun


@flow(name=WORKFLOW_FLOW, persist_result=False)
async def workflow(
    session_id: SessionId,
    definition: Workflow,
    inputs: Inputs | None = None,
    llm_profile_name: ProfileName | None = None,
    agent_mode: AgentMode = "thinking",
    alerts: TaskAlerts = None,
) -> State[Any]:
    """Run the steps of a workflow, each as an agent run of its own, as they need each other.

    A table and a summary with links to the reports are artifacts of the flow run.
    """
    try:
        async with WorkflowRun.of(
            definition, session_id, inputs or {}, llm_profile_name, agent_mode, alerts
        ) as run:
            while await run.advance():
                pass
            return await run.conclude()
    except (InvalidInput, ValidationError) as error:
        return refused(error)
