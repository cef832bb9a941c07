"""What the world wants of a running agent: commands kept for it, and its state in Prefect.

Events only make it look; what it then reads decides. Without any event it looks every two seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.exceptions import Abort, ObjectNotFound, Pause

from vibesurf_blocks.prefect_api import commands
from vibesurf_blocks.prefect_api.hints import hints
from vibesurf_blocks.prefect_api.labels import ALIVE, ATTEMPT
from vibesurf_blocks.prefect_api.states import is_suspended
from vibesurf_blocks.run.events import COMMAND_EVENT

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

    from vibesurf_blocks.prefect_api.commands import Command

logger = logging.getLogger(__name__)

FRESH_SECONDS = 0.25
"""Seconds within which steps that follow each other share one read of the run's state."""

_LOOK_SECONDS = 2.0
_BOUNDARY_SECONDS = 1.0
_NAMES = (
    COMMAND_EVENT,
    "prefect.flow-run.Cancelling",
    "prefect.flow-run.Running",
    "prefect.flow-run.Suspended",
    "prefect.flow-run.AwaitingRetry",
)


class Control:
    """Watches one run from within.

    Attributes:
        stop: Set once the run is to stop.
        reason: Why it is to stop, where whoever asked said so.
        superseded: Whether somebody else is to run it: it was rescheduled behind our back.
        commands: Commands that wait to be heeded, oldest first.
        state: The run's state when last read.
        looked: Set once all that was asked before this process began is known.
        changed: Set whenever any of these changed; whoever waits for it clears it.
    """

    def __init__(self, client: PrefectClient, run: FlowRun, *, sign_seconds: float) -> None:
        """Watch a run, which gives a sign of life every so many seconds."""
        self._client = client
        self._run_id: UUID = run.id
        self._attempt = run.labels.get(ATTEMPT)
        self._watched_by_worker = run.work_pool_name is not None
        self._sign_seconds = sign_seconds
        self._signed = 0.0
        self._read_at = float("-inf")
        self._known: set[str] = set()
        self._look_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.stop = asyncio.Event()
        self.reason: str | None = None
        self.superseded = False
        self._at_step = False
        self.commands: deque[Command] = deque()
        self.state: State | None = run.state
        self.changed = asyncio.Event()
        self.looked = asyncio.Event()

    def start(self) -> None:
        """Begin to watch; returns at once."""
        self._look_now.set()
        self._tasks = [
            asyncio.create_task(self._listen(), name="control-hints"),
            asyncio.create_task(self._watch(), name="control-looks"),
        ]

    async def close(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def look(self) -> None:
        """Read commands and state once.

        Raises:
            Exception: Prefect does not answer.
        """
        self._read_at = monotonic()
        try:
            fresh, run = await asyncio.gather(
                commands.waiting(self._client, self._run_id, self._known),
                self._client.read_flow_run(self._run_id),
            )
        except ObjectNotFound:
            # Deleted from Prefect: nobody is left to tell of it, and the slot is to be free.
            self.superseded = True
            self.stop.set()
            self.looked.set()
            self.changed.set()
            return
        for command in fresh:
            if command.id not in self._known:  # two looks at once read the same
                self._known.add(command.id)
                self.commands.append(command)
        moved = self._heed(run)
        self.looked.set()
        if fresh or moved or self.stop.is_set():
            self.changed.set()

    async def drop_what_is_over(self) -> None:
        """Leave out commands that an earlier life of the run answered and that do not count anew.

        That is each pause and resume, and what came too late for it. Instructions that it followed
        belong to the task, and are followed again.
        """
        if not self.commands:
            return
        acks = await commands.answered(self._client, self._run_id)
        for command in list(self.commands):
            ack = acks.get(command.id)
            followed = command.operation is commands.Operation.INSTRUCT and ack and ack.applied
            if ack is not None and not followed:
                self.commands.remove(command)

    async def look_between_steps(self) -> None:
        """Read the state, so that what Prefect accepted before a step is known when it begins.

        Short steps share one read. Commands can wait for their event, as whoever gave one waits for
        its acknowledgement. A server that is away holds the agent up for a second at the most: it
        works on meanwhile.
        """
        if monotonic() - self._read_at < FRESH_SECONDS:
            return
        self._read_at = monotonic()
        try:
            async with asyncio.timeout(_BOUNDARY_SECONDS):
                self._heed(await self._client.read_flow_run(self._run_id))
        except Exception as error:  # noqa: BLE001 - the server may be away for a while
            logger.debug("Run %s could not look between two steps: %r", self._run_id, error)

    @contextmanager
    def at_step(self) -> Iterator[None]:
        """Mark the time of a step, which a Resume does not cut off."""
        self._at_step = True
        try:
            yield
        finally:
            self._at_step = False

    @property
    def suspended(self) -> bool:
        """Whether the run is to end its process and go on later, as the UI's Pause asks."""
        return is_suspended(self.state)

    def give_way(self) -> None:
        """Leave the run to whoever is to run it now or later, without touching its state.

        Raises:
            Abort: Somebody else is to run it.
            Pause: It is suspended.
        """
        if self.superseded:
            msg = "This run was given to another process."
            raise Abort(msg)
        if self.suspended:
            # Prefect's engine looks for it too, but only by an event that can come late or be lost.
            raise Pause(state=self.state)

    def saw(self, state: State) -> bool:
        """Take note of a state; False where it is not newer than the one known."""
        if self.state is not None and state.timestamp <= self.state.timestamp:
            return False
        self.state = state
        return True

    def _heed(self, run: FlowRun) -> bool:
        """Take note of what the run's state asks for; False where it is not new."""
        state = run.state
        moved = state is not None and self.saw(state)
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self.reason = state.message
            self.stop.set()
        elif state is not None and (
            state.is_scheduled()
            or state.is_pending()
            or state.is_final()
            or run.labels.get(ATTEMPT) != self._attempt
        ):
            self.superseded = True
            # Resumed before it came to rest: whoever goes on waits for the slot that is held here
            # and finds the step done. Cut off, it would be taken twice.
            resumed = not state.is_final() and run.labels.get(ATTEMPT) == self._attempt
            if not (resumed and self._at_step):
                self.stop.set()
        return moved

    async def _sign(self) -> None:
        """Give a sign of life, where no worker watches this process."""
        if not self._watched_by_worker and monotonic() - self._signed > self._sign_seconds:
            self._signed = monotonic()
            await self._client.update_flow_run_labels(
                self._run_id, {ALIVE: datetime.now(UTC).isoformat()}
            )

    async def _listen(self) -> None:
        async for _ in hints(names=_NAMES, run_id=self._run_id):
            self._look_now.set()

    async def _watch(self) -> None:
        while not self.stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), _LOOK_SECONDS)
            self._look_now.clear()
            try:
                await self.look()
                await self._sign()
            except Exception as error:  # noqa: BLE001 - the server may be away for a while
                logger.debug("Run %s could not look for commands: %r", self._run_id, error)
