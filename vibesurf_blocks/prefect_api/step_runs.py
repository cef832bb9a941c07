"""Each step as a Prefect task run, named for what it did.

The one place that touches the task run of the running engine: Prefect has no public way to rename
a task run from within, other than a request to the server for each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.states import Completed, Failed
from prefect.task_engine import run_task_async

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from vibesurf_blocks.engines.protocol import Step


async def run_step(number: int, take: Callable[[], Awaitable[Step]]) -> Step:
    """Take a step as a task run of the present flow run.

    The task run gets the step's name, and ends Failed where the step did not reach what it tried,
    without ending the flow run.

    Raises:
        Exception: Whatever `take` raised.
    """
    taken: list[Step] = []
    raised: list[Exception] = []

    async def step() -> State[Any]:
        try:
            done = await take()
        except Exception as error:
            raised.append(error)
            raise
        taken.append(done)
        _rename(done.name)
        return Completed(message=done.name) if done.ok else Failed(message=done.name)

    task: Task[[], Coroutine[Any, Any, State[Any]]] = Task(
        fn=step,
        name="step",
        task_run_name=f"step {number}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
    )
    await run_task_async(task, parameters={}, return_type="state")
    if raised:
        raise raised[0]
    return taken[0]


def running_step() -> UUID | None:
    """Id of the task run of the step that runs now, None outside of one."""
    context = TaskRunContext.get()
    return context.task_run.id if context is not None else None


def _rename(name: str) -> None:
    context = TaskRunContext.get()
    if context is not None:
        # The state change that ends the task run carries its name to the server.
        context.task_run.name = name
