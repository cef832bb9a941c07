"""An agent's task as a flow run: take the slot, open the engine, step until done, report."""

# Annotations are not postponed here: Prefect makes a model of them for each run, and would make it
# twice.

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.run.agent import AgentRun
from vibesurf_blocks.run.checkpoints import forget
from vibesurf_blocks.tasks import (
    AgentMode,
    AgentTask,
    IdleSeconds,
    MaxCost,
    MaxSteps,
    MaxTokens,
    McpServerConfig,
    ProfileName,
    SessionId,
    TaskAlerts,
    TaskDescription,
    TimeoutSeconds,
    UploadPath,
)


@flow(name="agent-run", persist_result=False, on_completion=[forget], on_failure=[forget])
async def agent_run(
    task_description: TaskDescription,
    session_id: SessionId,
    llm_profile_name: ProfileName | None = None,
    upload_files_path: UploadPath | None = None,
    mcp_server_config: McpServerConfig | None = None,
    agent_mode: AgentMode = "thinking",
    max_steps: MaxSteps | None = None,
    max_tokens: MaxTokens | None = None,
    max_cost: MaxCost | None = None,
    timeout_seconds: TimeoutSeconds | None = None,
    idle_seconds: IdleSeconds | None = None,
    alerts: TaskAlerts = None,
) -> State[Any]:
    """Run an agent on one task, in the session's folder of the workspace.

    The result and the report are artifacts of the flow run, each step is one of its task runs.
    """
    task = AgentTask(
        task_description=task_description,
        session_id=session_id,
        llm_profile_name=llm_profile_name,
        upload_files_path=upload_files_path,
        mcp_server_config=mcp_server_config,
        agent_mode=agent_mode,
        max_steps=max_steps,
        max_tokens=max_tokens,
        max_cost=max_cost,
        timeout_seconds=timeout_seconds,
        idle_seconds=idle_seconds,
        alerts=alerts,
    )
    try:
        async with AgentRun.of(task) as run:
            while await run.step():
                pass
            return await run.conclude()
    except EngineError as error:  # it could not even begin
        return Failed(message=error.message)
