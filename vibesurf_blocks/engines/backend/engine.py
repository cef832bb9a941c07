"""The backend engine: hands a task to a VibeSurf server, once, and follows it there to its end.

A step is something seen of the remote agent: that the backend is busy, that it took the task, each
move of the task, its end. Where nothing moves, a step ends after a while with what is known, and
at once where somebody waits to be heeded.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import httpx
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from pydantic import ValidationError

from vibesurf_blocks.engines.backend.answers import Seen, Submitted
from vibesurf_blocks.engines.backend.client import BackendClient
from vibesurf_blocks.engines.backend.pace import Pace
from vibesurf_blocks.engines.backend.problems import Away, BackendError, Refused, Unsure
from vibesurf_blocks.engines.backend.report import report, result
from vibesurf_blocks.engines.backend.state import State
from vibesurf_blocks.engines.protocol import Checkpoint, EngineContext, Outcome, Step
from vibesurf_blocks.errors import EngineError, InvalidInput
from vibesurf_blocks.workspace import resolve_upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from vibesurf_blocks.blocks import VibeSurfBackend
    from vibesurf_blocks.engines.backend.client import Command

    Log = logging.Logger | logging.LoggerAdapter[Any]

_QUIET_SECONDS: Final = 30.0
"""Seconds after which a step ends though nothing was seen."""

_END_SECONDS: Final = 6.0
"""Seconds that stopping the task may take: less than a worker leaves a run that is to stop."""

_LOOKS_TO_MISS: Final = 2
"""Looks in a row that must not find the task before it counts as lost."""

_SETTLE_SECONDS: Final = 10.0
"""Seconds that a process looks for what the one before may have handed over when it died."""

_LEAST_SECRET: Final = 6
"""Characters of the shortest value of an environment that is masked: `1` is everywhere."""


class BackendEngine:
    """Hands a task to a VibeSurf backend and follows it.

    Args:
        context: The task, with the profile that chose this engine and the backend.
    """

    def __init__(self, context: EngineContext) -> None:
        assert context.backend is not None  # noqa: S101 - the registry sees to it
        self._context = context
        self._block: VibeSurfBackend = context.backend.block
        self._log = _run_log(context.task_id)
        self._state = State(
            block=context.backend.name,
            url=self._block.base_url,
            profile=context.profile.model if context.profile is not None else "",
        )
        idle = context.task.idle_seconds or context.settings.idle_seconds
        self._idle = idle
        self._quiet = min(_QUIET_SECONDS, idle / 2)
        self._client: BackendClient | None = None
        self._submitting: asyncio.Task[Submitted] | None = None
        self._unsure = False
        self._look_seconds = 0.0
        self._look_until: float | None = None
        self._unanswered: list[Unsure] = []
        self._wake_due = False
        self._hurried = asyncio.Event()
        self._moved_at = monotonic()
        self._away_since: float | None = None
        self._missed = 0

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
        if state.url != self._block.base_url and state.task_id is not None:
            msg = (
                f"The task was handed to the VibeSurf backend at {state.url}, and its block now "
                f"names {self._block.base_url}. Stop it there, and run it anew."
            )
            raise EngineError(msg)
        self._state = state
        # The process before may have handed the task over and died before it could keep that.
        self._unsure = state.task_id is None
        if self._unsure:
            self._look_seconds = min(self._block.answer_seconds, _SETTLE_SECONDS)
        self._wake_due = True

    async def open(self) -> None:
        """See that the backend answers, where nothing was handed to it yet.

        Raises:
            EngineError: It does not, or the task has files that cannot reach it.
        """
        self._moved_at = monotonic()
        if self._state.events:
            return  # a backend that is away now is waited for
        self._upload()
        seen = await self._remote.look()
        if seen.has_active_task and not seen.ended:
            self._state.occupant = seen.task_id or "unknown"
        self._state.before = [seen.task_id] if seen.task_id is not None else []

    async def step(self) -> Step:
        """Wait for the next thing to see of the task.

        Raises:
            EngineError: The backend does not take it, is away for too long, or has lost it.
        """
        state = self._state
        try:
            if state.ended:
                return state.step(f"The task has ended on the backend: {state.status}")
            if not state.events:
                busy = "it works on another task" if state.occupant else "it is free"
                return state.step(f"Reached the VibeSurf backend at {state.url}: {busy}")
            if state.task_id is None:
                return await self._hand_over()
            return await self._follow()
        finally:
            self._hurried.clear()

    def hurry(self) -> None:
        """Let the step under way end with what is known."""
        self._hurried.set()

    async def _hand_over(self) -> Step:
        """Submit the task, exactly once, as soon as the backend is free."""
        state, pace = self._state, self._pace()
        while True:
            seen = await self._remote.look()
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
                if len(self._unanswered) >= self._block.attempts:
                    raise self._unanswered[-1]
                try:
                    said = await self._submit()
                except Unsure as error:
                    self._unanswered.append(error)
                    self._unsure = True
                    self._look_seconds = self._block.answer_seconds if error.pending else 0.0
                    self._look_until = None
                    self._log.warning("Looking whether the task was taken: %s", error)
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
            if state.waited >= self._block.busy_seconds:
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
            config = self._context.tools.mcp
            body = {
                "session_id": self._context.task.session_id,
                "task_description": self._context.task.task_description,
                "llm_profile_name": self._state.profile,
                "upload_files_path": self._upload(),
                "mcp_server_config": (
                    config.model_dump(mode="json", by_alias=True, exclude_none=True)
                    if config.servers
                    else None
                ),
                "agent_mode": self._context.task.agent_mode,
            }
            key = f"vibesurf-blocks-{self._context.task_id}"
            self._submitting = asyncio.create_task(self._remote.submit(body, key))
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
        task, before = self._context.task, self._state.before
        if not self._unsure or seen.task_id in (before or ()):
            return False
        active = seen.has_active_task and not seen.ended
        if not active and (before is None or not seen.ended):
            return False
        described = {None, self._remote.hide(task.task_description)}
        return seen.session_id == task.session_id and seen.task in described

    async def _taken(self, task_id: str, how: str) -> Step:
        state = self._state
        state.task_id, state.occupant = task_id, None
        self._unsure = False
        self._moved_at = monotonic()
        self._log.info("%s %s.", how, task_id)
        pending, state.pending = state.pending, []
        for instruction in pending:
            try:
                await self._remote.command("add-new-task", instruction)
                state.instructions.append(instruction)
            except BackendError as error:
                state.notes.append(f"An instruction was not taken: {error.message}")
        return state.step(f"{how} {task_id}")

    def _declined(self, said: Submitted) -> str:
        told = said.message or said.error or "it does not say why"
        if said.error == "llm_connection_failed":
            return (
                f"The VibeSurf backend cannot use its LLM profile {self._state.profile!r}: {told} "
                "Correct it there, or name another as the model of the LLM profile here."
            )
        return f"The VibeSurf backend did not take the task: {told}"

    async def _follow(self) -> Step:
        """Look at the task until it moves."""
        state, pace = self._state, self._pace()
        while True:
            step: Step | None
            try:
                seen = await self._remote.look(attempts=1)
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
        state, now = self._state, monotonic()
        if self._away_since is not None:
            self._away_since = None
            self._moved_at = now
            return state.step("The VibeSurf backend answers again")
        if not _active(seen, state.task_id):
            return await self._ended_or_lost(seen)
        self._missed = 0
        if self._wake_due:
            self._wake_due = False
            if seen.paused:
                with suppress(Refused):
                    await self._remote.command("resume", None)
                return None
        if seen.signature != state.signature:
            self._moved_at = now
            if not state.moved(seen):
                return None
            if seen.paused:
                why = f": {seen.pause_reason}" if seen.pause_reason else ""
                return state.step(f"Paused on the backend{why}")
            return state.step(state.active_step or f"The task is {seen.status} on the backend")
        if seen.paused:
            self._moved_at = now
        elif now - self._moved_at > self._idle:
            msg = (
                f"The VibeSurf backend has shown nothing new of task {state.task_id} for "
                f"{self._idle:g} s (idle_seconds)."
            )
            raise EngineError(msg)
        return None

    async def _ended_or_lost(self, seen: Seen) -> Step | None:
        state = self._state
        assert state.task_id is not None  # noqa: S101 - only what was handed over is looked for
        if seen.task_id != state.task_id or not seen.ended:
            row = await self._remote.row(state.task_id)
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
            self._log.warning("Waiting for the backend: %s", error)
            return self._state.step("The VibeSurf backend does not answer", ok=False)
        if now - self._away_since >= self._block.away_seconds:
            msg = (
                f"{error.message} It has been away for {now - self._away_since:.0f} s "
                "(away_seconds of its block)."
            )
            raise EngineError(msg)
        return None

    async def instruct(self, instruction: str) -> None:
        """Give the agent there an instruction; before it has the task, keep it for then.

        Raises:
            EngineError: The backend does not say that it has it.
        """
        state = self._state
        if state.task_id is None:
            state.pending.append(instruction)
            return
        if state.ended:
            msg = "The task has ended on the VibeSurf backend."
            raise EngineError(msg)
        await self._remote.command("add-new-task", instruction)
        state.instructions.append(instruction)

    async def rest(self, reason: str | None) -> None:
        """Pause the task there; returns when the backend says that it rests, or has ended.

        Raises:
            EngineError: It does not say so.
        """
        self._wake_due = False
        await self._while_active("pause", reason, done=lambda seen: seen.paused)

    async def wake(self) -> None:
        """Resume the task there; returns when the backend says that it runs, or has ended.

        Raises:
            EngineError: It does not say so.
        """
        await self._while_active("resume", None, done=lambda seen: not seen.paused)
        self._moved_at = monotonic()

    async def _while_active(
        self, operation: Command, reason: str | None, *, done: Callable[[Seen], bool]
    ) -> None:
        state = self._state
        if state.task_id is None or state.ended:
            return
        seen = await self._remote.look()
        if not _active(seen, state.task_id) or done(seen):
            return
        try:
            await self._remote.command(operation, reason)
        except (Unsure, Refused):
            # A task that ends just now is refused a command while it is still shown as active.
            for attempt in range(self._block.attempts):
                seen = await self._remote.look()
                if not _active(seen, state.task_id) or done(seen):
                    return
                await asyncio.sleep(self._block.backoff_seconds * 2**attempt)
            raise

    async def end(self) -> None:
        """Stop the task there.

        Raises:
            EngineError: The backend does not say that it is stopped.
        """
        state = self._state
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
        state = self._state
        if self._submitting is not None:
            said = await self._submitting
            state.task_id = said.task_id if said.success else state.task_id
        if state.ended or (state.task_id is None and not self._unsure):
            return
        seen = await self._remote.look()
        while self._unanswered and not self._is_ours(seen) and self._is_looking():
            await asyncio.sleep(self._block.poll_seconds)
            seen = await self._remote.look()
        if state.task_id is None and self._is_ours(seen):
            state.task_id = seen.task_id
        if state.task_id is None:
            return
        if _active(seen, state.task_id):
            # The documented API stops whatever is active: looked at just before, it is ours.
            try:
                await self._remote.command("stop", f"Stopped by run {self._context.task_id}.")
                state.stopped = True
            except (Unsure, Refused):
                if _active(await self._remote.look(), state.task_id):
                    raise
            seen = await self._remote.look(attempts=1)
        if seen.task_id == state.task_id:
            state.kept(seen)

    def checkpoint(self) -> Checkpoint:
        """The state after the last finished step, without any credentials."""
        return self._state.model_dump(mode="json")

    def outcome(self) -> Outcome:
        """What the backend has said so far."""
        return Outcome(
            result=result(self._state),
            report=report(self._context, self._state),
            error=self._state.error,
        )

    async def close(self) -> None:
        """Close all connections."""
        submitting, self._submitting = self._submitting, None
        if submitting is not None:
            submitting.cancel()
            with suppress(asyncio.CancelledError, EngineError):
                await submitting
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    @property
    def _remote(self) -> BackendClient:
        if self._client is None:
            values = [
                one for env in self._context.tools.mcp.secrets.values() for one in env.values()
            ]
            secrets = [value for value in values if len(value) >= _LEAST_SECRET]
            self._client = BackendClient(self._block, self._log, secrets)
        return self._client

    def _pace(self) -> Pace:
        return Pace(self._block.poll_seconds, self._quiet, self._hurried)

    def _upload(self) -> str | None:
        """The task's files as the backend finds them.

        Raises:
            EngineError: They are not there, or the backend is on another machine.
        """
        task, settings = self._context.task, self._context.settings
        if task.upload_files_path is None:
            return None
        if not _is_loopback(self._block.base_url):
            msg = (
                "upload_files_path names files of this machine, and the VibeSurf backend at "
                f"{self._block.base_url} is another one. Put them into the session's uploads "
                "there, and name them in the task."
            )
            raise EngineError(msg)
        try:
            found = resolve_upload(settings.workspace_dir, task.session_id, task.upload_files_path)
        except InvalidInput as error:
            msg = f"upload_files_path {error.message}."
            raise EngineError(msg) from error
        return str(found)


def _active(seen: Seen, task_id: str | None) -> bool:
    return seen.has_active_task and seen.task_id == task_id and not seen.ended


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _run_log(task_id: str) -> Log:
    """The run's log in Prefect, or outside of a run a log that carries the task id."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.LoggerAdapter(logging.getLogger(__name__), {"task_id": task_id})
