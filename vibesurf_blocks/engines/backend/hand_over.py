"""Hands the task to the backend exactly once, whatever of the conversation is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from vibesurf_blocks.engines.backend.files import upload_path
from vibesurf_blocks.engines.backend.problems import BackendError, Unsure
from vibesurf_blocks.errors import EngineError

if TYPE_CHECKING:
    from vibesurf_blocks.engines.backend.answers import Seen, Submitted
    from vibesurf_blocks.engines.backend.pace import Pace
    from vibesurf_blocks.engines.backend.remote_task import RemoteTask
    from vibesurf_blocks.engines.protocol import Step

_SETTLE_SECONDS: Final = 10.0
"""Seconds that a process looks for what the one before may have handed over when it died."""


class HandOver:
    """Submits a task, and where an answer is missing finds out what became of that.

    Args:
        task: The task.
    """

    def __init__(self, task: RemoteTask) -> None:
        self._task = task
        self._submitting: asyncio.Task[Submitted] | None = None
        self._unsure = False
        self._look_seconds = 0.0
        self._look_until: float | None = None
        self._unanswered: list[Unsure] = []

    def restored(self) -> None:
        """Take into account that a process before may have begun with it."""
        # It may have handed the task over and died before it could keep that.
        self._unsure = self._task.state.task_id is None
        if self._unsure:
            self._look_seconds = min(self._task.block.answer_seconds, _SETTLE_SECONDS)

    async def step(self, pace: Pace) -> Step:
        """Submit the task as soon as the backend is free; what is to be seen of that.

        Raises:
            EngineError: The backend does not take it, is away, or is busy for too long.
        """
        state = self._task.state
        while True:
            seen = await self._task.backend.look()
            free = not seen.has_active_task or seen.ended
            occupant = None if free else seen.task_id
            if seen.task_id is not None and self._is_ours(seen):
                return await self._taken(seen.task_id, "Found again on the backend as task")
            if seen.task_id is not None and seen.task_id not in (state.before or ()):
                state.not_ours(seen.task_id)
                if free:
                    # Kept before the task is handed over: what ends later may be ours.
                    return state.step(f"The VibeSurf backend is free, after task {seen.task_id}")
            looking = self._is_looking()
            if free and not looking:
                if len(self._unanswered) >= self._task.block.attempts:
                    raise self._unanswered[-1]
                try:
                    said = await self._submit()
                except Unsure as error:
                    self._unanswered.append(error)
                    self._unsure = True
                    self._look_seconds = self._task.block.answer_seconds if error.pending else 0.0
                    self._look_until = None
                    self._task.log.warning("Looking whether the task was taken: %s", error)
                else:
                    if said.success and said.task_id is not None:
                        return await self._taken(said.task_id, "Handed to the backend as task")
                    if not said.success and not said.busy:
                        raise EngineError(self._declined(said))
                    occupant = said.occupant
                    # Busy, with what may be this very task, sent before without an answer.
                    self._unsure = self._unsure or said.success
                    if occupant is not None and not self._unsure:
                        state.not_ours(occupant)
            if occupant is not None and occupant != state.occupant:
                state.occupant = occupant
                return state.step("Waiting: the VibeSurf backend works on another task")
            if state.waited >= self._task.block.busy_seconds:
                msg = (
                    f"The VibeSurf backend at {state.url} worked on another task for "
                    f"{state.waited:.0f} s (busy_seconds of its block). Run the task when it is "
                    "free, or stop there what it works on."
                )
                raise EngineError(msg)
            if pace.over and looking:
                return state.step("Looking whether the VibeSurf backend has taken the task")
            if pace.over:
                return state.step(f"Still waiting for the VibeSurf backend, {state.waited:.0f} s")
            paused = await pace.pause()
            state.waited += 0.0 if free else paused

    async def _submit(self) -> Submitted:
        # Never cut off: whether the backend took the task must be known, also when it is to stop.
        if self._submitting is None:
            context = self._task.context
            config = context.tools.mcp
            body = {
                "session_id": context.task.session_id,
                "task_description": context.task.task_description,
                "llm_profile_name": self._task.state.profile,
                "upload_files_path": upload_path(context, self._task.block.base_url),
                "mcp_server_config": (
                    config.model_dump(mode="json", by_alias=True, exclude_none=True)
                    if config.servers
                    else None
                ),
                "agent_mode": context.task.agent_mode,
            }
            key = f"vibesurf-blocks-{context.task_id}"
            self._submitting = asyncio.create_task(self._task.backend.submit(body, key))
        submitting = self._submitting
        try:
            return await asyncio.shield(submitting)
        finally:
            if submitting.done():
                self._submitting = None

    def _is_looking(self) -> bool:
        """Whether a task that was sent may still show, so that it is not to be sent again."""
        if self._look_until is None:
            self._look_until = monotonic() + self._look_seconds
        return self._unsure and monotonic() < self._look_until

    def _is_ours(self, seen: Seen) -> bool:
        """Whether a task, running or ended, may be the one that was sent and not answered."""
        task, before = self._task.context.task, self._task.state.before
        if not self._unsure or seen.task_id in (before or ()):
            return False
        active = seen.has_active_task and not seen.ended
        if not active and (before is None or not seen.ended):
            return False
        described = {None, self._task.backend.hide(task.task_description)}
        return seen.session_id == task.session_id and seen.task in described

    async def _taken(self, task_id: str, how: str) -> Step:
        state = self._task.state
        state.task_id, state.occupant = task_id, None
        self._unsure = False
        self._task.moved_at = monotonic()
        self._task.log.info("%s %s.", how, task_id)
        pending, state.pending = state.pending, []
        for instruction in pending:
            try:
                await self._task.backend.command("add-new-task", instruction)
                state.instructions.append(instruction)
            except BackendError as error:
                state.notes.append(f"An instruction was not taken: {error.message}")
        return state.step(f"{how} {task_id}")

    def _declined(self, said: Submitted) -> str:
        told = said.message or said.error or "it does not say why"
        if said.error == "llm_connection_failed":
            profile = self._task.state.profile
            return (
                f"The VibeSurf backend cannot use its LLM profile {profile!r}: {told} "
                "Correct it there, or name another as the model of the LLM profile here."
            )
        return f"The VibeSurf backend did not take the task: {told}"

    async def settle(self) -> Seen | None:
        """See what became of it once the task is to end, and wait for what is still open.

        Returns:
            What the backend shows, where the task is there; None where nothing is left to end.

        Raises:
            BackendError: The backend does not say.
        """
        state = self._task.state
        if self._submitting is not None:
            said = await self._submitting
            state.task_id = said.task_id if said.success else state.task_id
        if state.ended or (state.task_id is None and not self._unsure):
            return None
        seen = await self._task.backend.look()
        while self._unanswered and not self._is_ours(seen) and self._is_looking():
            await asyncio.sleep(self._task.block.poll_seconds)
            seen = await self._task.backend.look()
        if state.task_id is None and self._is_ours(seen):
            state.task_id = seen.task_id
        return None if state.task_id is None else seen

    async def close(self) -> None:
        """Give up a submit under way."""
        submitting, self._submitting = self._submitting, None
        if submitting is not None:
            submitting.cancel()
            with suppress(asyncio.CancelledError, EngineError):
                await submitting
