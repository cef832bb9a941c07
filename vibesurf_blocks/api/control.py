"""Pause, resume, stop and instruct: asks, waits until it has happened, then answers."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast
from uuid import UUID

from fastapi import HTTPException
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from vibesurf_blocks import logs
from vibesurf_blocks.api.context import PREFECT_SECONDS
from vibesurf_blocks.api.schemas import Controlled, Instructed
from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.prefect_api import commands
from vibesurf_blocks.prefect_api.commands import Operation
from vibesurf_blocks.prefect_api.states import is_suspended

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

    from vibesurf_blocks.api.context import Context

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

NO_PAUSE: Final = "No active task to pause"
NO_RESUME: Final = "No paused task to resume"
NO_STOP: Final = "No active task to stop"
NO_INSTRUCT: Final = "No active task to add new instruction to"

_STOP_SECONDS = 8.0
_LOOK_SECONDS = (0.03, 0.03, 0.04, 0.05, 0.08, 0.1)


@dataclass(frozen=True, slots=True)
class Target:
    """A run that has not ended."""

    run: FlowRun
    state: State


def _counted(
    operation: str,
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Count what a function asks of an agent; its first argument is the context."""

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(function)
        async def counted(*args: P.args, **kwargs: P.kwargs) -> T:
            context = cast("Context", args[0])
            with context.metrics.command(operation):
                return await function(*args, **kwargs)

        return counted

    return decorate


@_counted("pause")
async def pause(context: Context, task_id: str | None, reason: str | None) -> Controlled:
    """Bring the agent to rest between two steps.

    Raises:
        HTTPException: 400 without an active task, 404 for an unknown id, 504 where the agent did
            not come to rest in time.
    """
    async with _target(context, task_id, NO_PAUSE) as target:
        if not target.state.is_paused():
            await _command(context, target, Operation.PAUSE, reason, NO_PAUSE)
    return Controlled(operation="pause", message="Task paused successfully")


@_counted("resume")
async def resume(context: Context, task_id: str | None, reason: str | None) -> Controlled:
    """Let a resting agent go on, also one that was suspended in the Prefect UI.

    Raises:
        HTTPException: 400 without a paused task, 404 for an unknown id, 504 where the agent did
            not go on in time.
    """
    async with _target(context, task_id, NO_RESUME) as target:
        if not target.state.is_paused():
            raise HTTPException(400, NO_RESUME)
        if is_suspended(target.state):
            result = await context.client.resume_flow_run(target.run.id)
            if result.status is not SetStateStatus.ACCEPT:
                raise HTTPException(400, NO_RESUME)  # it may have waited for too long, and failed
            await _until_running(context, target.run)
        else:
            await _command(context, target, Operation.RESUME, reason, NO_RESUME)
    return Controlled(operation="resume", message="Task resumed successfully")


@_counted("stop")
async def stop(context: Context, task_id: str | None, reason: str | None) -> Controlled:
    """End the agent for good, and wait a while for its end.

    Raises:
        HTTPException: 400 without an active task, 404 for an unknown id.
    """
    async with _target(context, task_id, NO_STOP) as target:
        run_id, message = target.run.id, reason or "Stopped on request."
        if not target.state.is_cancelling():
            await context.client.set_flow_run_state(run_id, Cancelling(message=message))
        state = await _until_final(context.client, run_id, _STOP_SECONDS)
        if state.is_cancelled() and not state.message:
            # Prefect ends a run that has no process by itself, without the reason.
            await context.client.set_flow_run_state(run_id, Cancelled(message=message), force=True)
        elif state.is_final() and not state.is_cancelled():
            raise HTTPException(400, NO_STOP)  # it ended by itself meanwhile
    return Controlled(operation="stop", message="Task stopped successfully")


@_counted("instruct")
async def instruct(context: Context, task_id: str | None, instruction: str) -> Instructed:
    """Give the agent a further instruction, which its next step sees.

    Raises:
        HTTPException: 400 for an empty instruction or without an active task, 404 for an unknown
            id, 504 where the agent did not take it in time.
    """
    if not instruction.strip():
        raise HTTPException(400, "The instruction is empty; say in `reason` what is to be done")
    message = "New instruction added successfully"
    async with _target(context, task_id, NO_INSTRUCT) as target:
        if is_suspended(target.state):
            await _send(context, target.run.id, Operation.INSTRUCT, instruction)
            message = "New instruction kept; the agent sees it when it is resumed"
        else:
            await _command(context, target, Operation.INSTRUCT, instruction, NO_INSTRUCT)
    return Instructed(message=message, new_task=instruction)


@asynccontextmanager
async def _target(context: Context, task_id: str | None, refusal: str) -> AsyncIterator[Target]:
    """The run that is meant; when the block ends, its row shows what became of it."""
    async with asyncio.timeout(PREFECT_SECONDS):
        run = await (_active(context) if task_id is None else _by_id(context, task_id))
    if run is None or run.state is None or run.state.is_final():
        if run is not None:
            await context.sync.runs([run])
        raise HTTPException(400, refusal)
    with logs.about(run.id):
        try:
            yield Target(run, run.state)
        finally:
            await _show(context, run.id)


async def _show(context: Context, run_id: UUID) -> None:
    """Have the row show what was done; where that fails it was done all the same."""
    try:
        async with asyncio.timeout(PREFECT_SECONDS):
            await context.sync.ids([run_id])
    except Exception as error:  # noqa: BLE001 - the mirror writes it in its time
        logger.warning("The row of a task could not be written at once: %r", error)


async def _active(context: Context) -> FlowRun | None:
    row = await context.active()
    if row is not None:
        run = await _read(context.client, UUID(row.task_id))
        if run is not None and run.state is not None and not run.state.is_final():
            return run
    # The row may be a moment behind: Prefect has the last word.
    return (await context.situation()).active


async def _by_id(context: Context, task_id: str) -> FlowRun | None:
    missing = HTTPException(404, f"No task has the id {task_id}")
    try:
        run = await _read(context.client, UUID(task_id))
    except ValueError:
        raise missing from None
    ours = run is not None and await context.sync.shows(run)
    if not ours and await context.store.get(task_id) is None:
        raise missing
    return run


async def _read(client: PrefectClient, run_id: UUID) -> FlowRun | None:
    try:
        return await client.read_flow_run(run_id)
    except ObjectNotFound:
        return None


async def _command(
    context: Context, target: Target, operation: Operation, text: str | None, refusal: str
) -> None:
    """Send a command and wait until the agent has done it.

    Raises:
        Unavailable: The agent works elsewhere, and did not do it there.
    """
    client, run_id = context.client, target.run.id
    command = await _send(context, run_id, operation, text)
    async for looks in _looks(context.settings.ack_seconds):
        ack = await commands.acknowledgement(client, run_id, command)
        if ack is not None:
            if ack.applied:
                return
            if ack.refused:
                raise Unavailable(ack.outcome)
            raise HTTPException(400, refusal)
        if looks % len(_LOOK_SECONDS) == 0:
            run = await _read(client, run_id)
            if run is None or run.state is None or run.state.is_final():
                # It may have been heeded with the last step.
                ack = await commands.acknowledgement(client, run_id, command)
                if ack is not None and ack.applied:
                    return
                raise HTTPException(400, refusal)
    raise HTTPException(
        504,
        f"The agent did not acknowledge '{operation}' within {context.settings.ack_seconds:g} s; "
        "it still stands and takes effect after the present step.",
    )


async def _send(
    context: Context, run_id: UUID, operation: Operation, text: str | None
) -> commands.Command:
    # One after another: an agent must not see a command before one that was asked for earlier.
    async with context.sending:
        return await commands.send(context.client, run_id, operation, text)


async def _until_final(client: PrefectClient, run_id: UUID, seconds: float) -> State:
    state: State | None = None
    async for _ in _looks(seconds):
        run = await _read(client, run_id)
        if run is None:
            return Cancelled(message="The flow run was deleted from Prefect.")
        state = run.state
        if state is not None and state.is_final():
            break
    assert state is not None  # noqa: S101 - a run in Prefect has a state
    return state


async def _until_running(context: Context, before: FlowRun) -> None:
    async for _ in _looks(context.settings.ack_seconds):
        run = await _read(context.client, before.id)
        if run is None or run.state is None:
            raise HTTPException(400, NO_RESUME)
        if run.state.is_running() or run.run_count > before.run_count:
            return
        if run.state.is_final():
            raise HTTPException(400, NO_RESUME)  # it ended without having gone on
    raise HTTPException(
        504,
        f"The task was resumed but does not run after {context.settings.ack_seconds:g} s; it "
        "starts as soon as a slot is free.",
    )


async def _looks(seconds: float) -> AsyncIterator[int]:
    """Pace repeated looks for so many seconds: often at first, then ten times a second."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    number = 0
    while clock() < deadline:
        yield number
        await asyncio.sleep(_LOOK_SECONDS[min(number, len(_LOOK_SECONDS) - 1)])
        number += 1
