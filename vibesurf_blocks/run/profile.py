"""Which profile a run uses: the one its task names, else the default one, else the reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vibesurf_blocks.models.profiles import default_profile, find_profile, usable
from vibesurf_blocks.prefect_api.labels import PROFILE
from vibesurf_blocks.tasks import BUILTIN_PROFILE

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from vibesurf_blocks.blocks.llm_profile import LLMProfile
    from vibesurf_blocks.tasks import AgentTask


async def settle(
    client: PrefectClient, run: FlowRun, task: AgentTask
) -> tuple[AgentTask, LLMProfile | None]:
    """The task with the profile that it uses, and that profile as it is now.

    A task that names no profile gets the default one, and keeps to it: which one that was is kept
    with the run, so that it goes on with the same when it is started again.

    Returns:
        The task, and its profile; None for the built-in reader.

    Raises:
        ModelError: There is no such profile, or it cannot be used.
    """
    if task.llm_profile_name is None and PROFILE not in run.labels:
        default = await default_profile(client)
        name = default.name if default is not None else BUILTIN_PROFILE
        await client.update_flow_run_labels(run.id, {PROFILE: name})
        task = task.model_copy(update={"llm_profile_name": name})
    else:
        task = as_begun(run, task)
        name = task.llm_profile_name or BUILTIN_PROFILE
    if name == BUILTIN_PROFILE:
        return task, None
    return task, usable(name, await find_profile(client, name)).profile


def as_begun(run: FlowRun, task: AgentTask) -> AgentTask:
    """The task of a run that has begun, with the profile that it was given where it names none."""
    kept = run.labels.get(PROFILE)
    if task.llm_profile_name is not None:
        return task
    name = kept if isinstance(kept, str) else BUILTIN_PROFILE
    return task.model_copy(update={"llm_profile_name": name})
