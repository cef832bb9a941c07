"""The backend engine: hands a task to a VibeSurf server, once, and follows it there to its end.

A step is something seen of the remote agent: that the backend is busy, that it took the task, each
move of the task, its end. Where nothing moves, a step ends after a while with what is known, and
at once where somebody waits to be heeded.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from pydantic import ValidationError

from vibesurf_blocks.engines.backend.files import upload_path
from vibesurf_blocks.engines.backend.following import Following
from vibesurf_blocks.engines.backend.hand_over import HandOver
from vibesurf_blocks.engines.backend.pace import Pace
from vibesurf_blocks.engines.backend.problems import BackendError, Refused, Unsure
from vibesurf_blocks.engines.backend.remote_task import RemoteTask
from vibesurf_blocks.engines.backend.report import report, result
from vibesurf_blocks.engines.backend.state import State
from vibesurf_blocks.engines.protocol import Checkpoint, EngineContext, Outcome, Step
from vibesurf_blocks.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vibesurf_blocks.engines.backend.answers import Seen
    from vibesurf_blocks.engines.backend.client import Command, Log

_QUIET_SECONDS: Final = 30.0
"""Seconds after which a step ends though nothing was seen."""

_END_SECONDS: Final = 6.0
"""Seconds that stopping the task may take: less than a worker leaves a run that is to stop."""


class BackendEngine:
    """Hands a task to a VibeSurf backend and follows it.

    Args:
        context: The task, with the profile that chose this engine and the backend.
    """

    def __init__(self, context: EngineContext) -> None:
        self._task = RemoteTask(context, _run_log(context.task_id))
        idle = context.task.idle_seconds or context.settings.idle_seconds
        self._quiet = min(_QUIET_SECONDS, idle / 2)
        self._hand_over = HandOver(self._task)
        self._following = Following(self._task, idle)
        self._hurried = asyncio.Event()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where the checkpoint was taken: with the same task of the backend.

        Raises:
            EngineError: It is none of this engine's.
        """
        try:
            state = State.model_validate(checkpoint)
        except ValidationError as error:
            msg = "The checkpoint was not made by this version of the backend engine; run it anew."
            raise EngineError(msg) from error
        if state.url != self._task.block.base_url and state.task_id is not None:
            msg = (
                f"The task was handed to the VibeSurf backend at {state.url}, and its block now "
                f"names {self._task.block.base_url}. Stop it there, and run it anew."
            )
            raise EngineError(msg)
        self._task.state = state
        self._hand_over.restored()
        self._following.wake_due = True

    async def open(self) -> None:
        """See that the backend answers, where nothing was handed to it yet.

        Raises:
            EngineError: It does not, or the task has files that cannot reach it.
        """
        self._task.moved_at = monotonic()
        if self._task.state.events:
            return  # a backend that is away now is waited for
        upload_path(self._task.context, self._task.block.base_url)
        seen = await self._task.backend.look()
        if seen.has_active_task and not seen.ended:
            self._task.state.occupant = seen.task_id or "unknown"
        self._task.state.before = [seen.task_id] if seen.task_id is not None else []

    async def step(self) -> Step:
        """Wait for the next thing to see of the task.

        Raises:
            EngineError: The backend does not take it, is away for too long, or has lost it.
        """
        state = self._task.state
        try:
            if state.ended:
                return state.step(f"The task has ended on the backend: {state.status}")
            if not state.events:
                busy = "it works on another task" if state.occupant else "it is free"
                return state.step(f"Reached the VibeSurf backend at {state.url}: {busy}")
            pace = Pace(self._task.block.poll_seconds, self._quiet, self._hurried)
            if state.task_id is None:
                return await self._hand_over.step(pace)
            return await self._following.step(pace)
        finally:
            self._hurried.clear()

    def hurry(self) -> None:
        """Let the step under way end with what is known."""
        self._hurried.set()

    async def instruct(self, instruction: str) -> None:
        """Give the agent there an instruction; before it has the task, keep it for then.

        Raises:
            EngineError: The backend does not say that it has it.
        """
        state = self._task.state
        if state.task_id is None:
            state.pending.append(instruction)
            return
        if state.ended:
            msg = "The task has ended on the VibeSurf backend."
            raise EngineError(msg)
        await self._task.backend.command("add-new-task", instruction)
        state.instructions.append(instruction)

    async def rest(self, reason: str | None) -> None:
        """Pause the task there; returns when the backend says that it rests, or has ended.

        Raises:
            EngineError: It does not say so.
        """
        self._following.wake_due = False
        await self._while_active("pause", reason, done=lambda seen: seen.paused)

    async def wake(self) -> None:
        """Resume the task there; returns when the backend says that it runs, or has ended.

        Raises:
            EngineError: It does not say so.
        """
        await self._while_active("resume", None, done=lambda seen: not seen.paused)
        self._task.moved_at = monotonic()

    async def _while_active(
        self, operation: Command, reason: str | None, *, done: Callable[[Seen], bool]
    ) -> None:
        state = self._task.state
        if state.task_id is None or state.ended:
            return
        seen = await self._task.backend.look()
        if not self._task.is_active(seen) or done(seen):
            return
        try:
            await self._task.backend.command(operation, reason)
        except (Unsure, Refused):
            # A task that ends just now is refused a command while it is still shown as active.
            for attempt in range(self._task.block.attempts):
                seen = await self._task.backend.look()
                if not self._task.is_active(seen) or done(seen):
                    return
                await asyncio.sleep(self._task.block.backoff_seconds * 2**attempt)
            raise

    async def end(self) -> None:
        """Stop the task there.

        Raises:
            EngineError: The backend does not say that it is stopped.
        """
        state = self._task.state
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._stop()
        except (BackendError, TimeoutError) as error:
            why = error.message if isinstance(error, BackendError) else "It gave no answer in time."
            what = f"task {state.task_id}" if state.task_id else "the task"
            msg = f"The VibeSurf backend at {state.url} may still work on {what}; stop it there. "
            state.notes.append(msg + why)
            raise EngineError(msg + why) from error

    async def _stop(self) -> None:
        state = self._task.state
        seen = await self._hand_over.settle()
        if seen is None:
            return
        if self._task.is_active(seen):
            # The documented API stops whatever is active: looked at just before, it is ours.
            try:
                await self._task.backend.command(
                    "stop", f"Stopped by run {self._task.context.task_id}."
                )
                state.stopped = True
            except (Unsure, Refused):
                if self._task.is_active(await self._task.backend.look()):
                    raise
            seen = await self._task.backend.look(attempts=1)
        if seen.task_id == state.task_id:
            state.kept(seen)

    def checkpoint(self) -> Checkpoint:
        """The state after the last finished step, without any credentials."""
        return self._task.state.model_dump(mode="json")

    def outcome(self) -> Outcome:
        """What the backend has said so far."""
        return Outcome(
            result=result(self._task.state),
            report=report(self._task.context, self._task.state),
            error=self._task.state.error,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._hand_over.close()
        await self._task.aclose()


def _run_log(task_id: str) -> Log:
    """The run's log in Prefect, or outside of a run a log that carries the task id."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.LoggerAdapter(logging.getLogger(__name__), {"task_id": task_id})
