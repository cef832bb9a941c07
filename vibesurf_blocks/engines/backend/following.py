"""Follows the task on the backend to its end, through absences, and tells when it is lost."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from vibesurf_blocks.engines.backend.problems import Away, Refused
from vibesurf_blocks.errors import EngineError

if TYPE_CHECKING:
    from vibesurf_blocks.engines.backend.answers import Seen
    from vibesurf_blocks.engines.backend.pace import Pace
    from vibesurf_blocks.engines.backend.remote_task import RemoteTask
    from vibesurf_blocks.engines.protocol import Step

_LOOKS_TO_MISS: Final = 2
"""Looks in a row that must not find the task before it counts as lost."""


class Following:
    """Looks at a task that the backend has until it moves, ends or is lost.

    Args:
        task: The task.
        idle: Seconds that it may show nothing new for, pauses apart.

    Attributes:
        wake_due: Whether the task is to be woken where it is found at rest.
    """

    def __init__(self, task: RemoteTask, idle: float) -> None:
        self._task = task
        self._idle = idle
        self._away_since: float | None = None
        self._missed = 0
        self.wake_due = False

    async def step(self, pace: Pace) -> Step:
        """Look at the task until it moves.

        Raises:
            EngineError: The backend is away for too long, shows nothing new, or has lost the task.
        """
        state = self._task.state
        while True:
            step: Step | None
            try:
                seen = await self._task.backend.look(attempts=1)
                step = await self._take_in(seen)
            except Away as error:
                step = self._away(error)
            if step is not None:
                return step
            if pace.over:
                return state.step(f"Still at: {state.active_step or state.status or 'the start'}")
            await pace.pause()

    async def _take_in(self, seen: Seen) -> Step | None:
        """What is new of the task, None where nothing is."""
        state, now = self._task.state, monotonic()
        if self._away_since is not None:
            self._away_since = None
            self._task.moved_at = now
            return state.step("The VibeSurf backend answers again")
        if not self._task.is_active(seen):
            return await self._ended_or_lost(seen)
        self._missed = 0
        if self.wake_due:
            self.wake_due = False
            if seen.paused:
                with suppress(Refused):
                    await self._task.backend.command("resume", None)
                return None
        if seen.signature != state.signature:
            self._task.moved_at = now
            if not state.moved(seen):
                return None
            if seen.paused:
                why = f": {seen.pause_reason}" if seen.pause_reason else ""
                return state.step(f"Paused on the backend{why}")
            return state.step(state.active_step or f"The task is {seen.status} on the backend")
        if seen.paused:
            self._task.moved_at = now
        elif now - self._task.moved_at > self._idle:
            msg = (
                f"The VibeSurf backend has shown nothing new of task {state.task_id} for "
                f"{self._idle:g} s (idle_seconds)."
            )
            raise EngineError(msg)
        return None

    async def _ended_or_lost(self, seen: Seen) -> Step | None:
        state = self._task.state
        assert state.task_id is not None  # noqa: S101 - only what was handed over is looked for
        if seen.task_id != state.task_id or not seen.ended:
            row = await self._task.backend.row(state.task_id)
            if row is None or not row.ended:
                self._missed += 1
                if self._missed < _LOOKS_TO_MISS:
                    return None
                state.ended = True
                msg = (
                    f"The VibeSurf backend at {state.url} knows nothing of task {state.task_id} "
                    "any more: it was started again, or has gone on to another task, before the "
                    "end was seen. Run the task again."
                )
                raise EngineError(msg)
            seen = row
        state.end(seen)
        return state.step(f"The backend ended the task: {seen.status}", ok=state.error is None)

    def _away(self, error: Away) -> Step | None:
        now = monotonic()
        if self._away_since is None:
            self._away_since = now
            self._task.log.warning("Waiting for the backend: %s", error)
            return self._task.state.step("The VibeSurf backend does not answer", ok=False)
        if now - self._away_since >= self._task.block.away_seconds:
            msg = (
                f"{error.message} It has been away for {now - self._away_since:.0f} s "
                "(away_seconds of its block)."
            )
            raise EngineError(msg)
        return None
