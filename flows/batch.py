"""A list of tasks as one piece of work: start what there is room for, until all have ended."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import ValidationError

from vibesurf_blocks.batches.order import (
    AfterFailure,
    Batch,
    Items,
    ItemsFile,
    Mode,
    Retries,
    RetryDelaySeconds,
)
from vibesurf_blocks.batches.run import BatchRun
from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.parents.refusal import refused
from vibesurf_blocks.tasks import (
    BATCH_FLOW,
    AgentMode,
    ProfileName,
    SessionId,
    TaskAlerts,
)


@flow(name=BATCH_FLOW, persist_result=False)
async def batch(
    session_id: SessionId,
    items: Items | None = None,
    items_file: ItemsFile | None = None,
    mode: Mode = "serial",
    on_failure: AfterFailure = "continue",
    retries: Retries = 0,
    retry_delay_seconds: RetryDelaySeconds = 0.0,
    llm_profile_name: ProfileName | None = None,
    agent_mode: AgentMode = "thinking",
    alerts: TaskAlerts = None,
) -> State[Any]:
    """Run each task of a list as an agent run of its own; run again, it runs what is missing.

    A table and a summary with links to the reports are artifacts of the flow run.
    """
    try:
        asked = Batch(
            session_id=session_id,
            items=items,
            items_file=items_file,
            mode=mode,
            on_failure=on_failure,
            retries=retries,
            retry_delay_seconds=retry_delay_seconds,
            llm_profile_name=llm_profile_name,
            agent_mode=agent_mode,
            alerts=alerts,
        )
        async with BatchRun.of(asked) as run:
            while await run.advance():
                pass
            return await run.conclude()
    except (InvalidInput, ValidationError) as error:
        return refused(error)
