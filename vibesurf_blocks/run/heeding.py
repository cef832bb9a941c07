"""Heeds what is asked of a running agent: commands kept for it, and states set by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Paused, Running

from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.prefect_api.commands import Ack, Command, Operation, acknowledge
from vibesurf_blocks.prefect_api.states import pause_is_over
from vibesurf_blocks.tables.records import ControlEntry

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import State
    from prefect.logging.loggers import LoggingAdapter

    from vibesurf_blocks.engines.protocol import Engine
    from vibesurf_blocks.run.control import Control
    from vibesurf_blocks.run.course import Course
    from vibesurf_blocks.run.elsewhere import Elsewhere


class Heeding:
    """Applies between two steps what is asked of a run, and answers whoever asked.

    Args:
        client: Prefect.
        run_id: The run.
        engine: Follows instructions.
        control: Knows what is asked.
        elsewhere: The agent, where it works on another machine.
        course: How far the run has come.
        log: The run's log.
    """

    def __init__(
        self,
        client: PrefectClient,
        run_id: UUID,
        engine: Engine,
        control: Control,
        elsewhere: Elsewhere,
        course: Course,
        log: LoggingAdapter,
    ) -> None:
        self._client = client
        self._run_id = run_id
        self._engine = engine
        self._control = control
        self._elsewhere = elsewhere
        self._course = course
        self._log = log

    @property
    def instructed(self) -> bool:
        """Whether an instruction waits that was not heeded yet."""
        return any(
            command.operation is Operation.INSTRUCT and command.id not in self._course.heeded
            for command in self._control.commands
        )

    async def heed(self) -> None:
        """Apply the commands that wait, and rest for as long as the run is paused.

        Raises:
            EngineError: The agent, which works elsewhere, does not rest, or the run is to stop.
            Abort: Somebody else is to run this flow run.
            Pause: The run is suspended.
        """
        control = self._control
        while True:
            control.changed.clear()
            while control.commands and not control.stop.is_set():
                await self._apply(control.commands.popleft())
            control.give_way()
            state = control.state
            if not self._course.resting and state is not None and state.is_paused():
                # Set so in Prefect by hand: what the row shows is what the agent does.
                await self._elsewhere.rest(state.message)
                self._course.resting = True
                self._course.note(ControlEntry(operation="pause", asked_at=state.timestamp))
                self._course.keep()
                self._log.info("Paused after step %d.", self._course.steps)
            if control.stop.is_set() or not self._course.resting:
                return
            if state is not None and state.is_running():
                # Somebody pressed Resume in the UI.
                try:
                    await self._elsewhere.wake()
                except EngineError as error:
                    self._log.warning("The agent still rests: %s", error)
                    await self._set_state(Paused(message=error.message))
                    continue
                self._course.resting = False
                self._course.note(ControlEntry(operation="resume", asked_at=state.timestamp))
                self._course.keep()
                self._log.info("Resumed.")
                return
            await control.changed.wait()

    async def _apply(self, command: Command) -> None:
        if command.id in self._course.heeded:
            # An earlier process heeded it and died before, or after, it could say so.
            await self._acknowledge(command, "Heeded before the run was started again.")
            return
        refused: str | None = None
        try:
            outcome = await self._do(command)
        except EngineError as error:
            refused = error.message
            outcome = f"Not done: {refused}"
            self._log.warning("'%s' was not done: %s", command.operation.value, refused)
        self._course.heeded.append(command.id)
        operation = (
            "add_new_task" if command.operation is Operation.INSTRUCT else command.operation.value
        )
        self._course.note(
            ControlEntry(
                operation=operation,
                reason=command.text,
                asked_at=command.asked_at,
                outcome=outcome,
            )
        )
        # Kept before it is acknowledged: what was acknowledged is never lost.
        self._course.keep()
        await self._acknowledge(
            command, refused or outcome, applied=refused is None, refused=refused is not None
        )

    async def _do(self, command: Command) -> str:
        """Do what a command asks; what came of it.

        Raises:
            EngineError: The agent, which works elsewhere, does not do it.
        """
        match command.operation:
            case Operation.PAUSE:
                if not self._course.resting:
                    await self.rest(command.text)
                return "The agent rests."
            case Operation.RESUME:
                await self._elsewhere.wake()
                if self._course.resting:
                    await self._set_state(Running(message=command.text))
                    self._course.resting = False
                    self._log.info("Resumed.")
                return "The agent runs."
            case Operation.INSTRUCT:
                await self._engine.instruct(command.text or "")
                self._log.info("New instruction: %s", command.text)
                return f"Seen from step {self._course.steps + 1} on."

    async def _acknowledge(
        self, command: Command, outcome: str, *, applied: bool = True, refused: bool = False
    ) -> None:
        ack = Ack(
            applied=applied,
            step=self._course.steps,
            effective_at=datetime.now(UTC),
            outcome=outcome,
            refused=refused,
        )
        await acknowledge(self._client, self._run_id, command, ack)

    async def rest(self, reason: str | None) -> None:
        """Bring the agent to rest, and say so in Prefect.

        Raises:
            EngineError: It does not rest, or the run is to stop.
        """
        await self._elsewhere.rest(reason)
        self._course.resting = True
        await self._set_state(Paused(message=reason))
        # Whoever resumes a suspended run wants it to go on.
        self._course.resting = not self._control.suspended
        self._log.info("Paused after step %d.", self._course.steps)

    async def _set_state(self, state: State[Any]) -> None:
        """Say in Prefect what the agent does now, unless it is to stop by now.

        Raises:
            EngineError: It is.
        """
        # Not forced: a stop that was asked for since the last look is not to be overwritten.
        force = pause_is_over(self._control.state)
        answer = await self._client.set_flow_run_state(self._run_id, state, force=force)
        if answer.status is SetStateStatus.ACCEPT and answer.state is not None:
            self._control.saw(answer.state)
            return
        await self._control.look()
        if self._control.stop.is_set():
            msg = "The run is being stopped."
            raise EngineError(msg)

    def note_stop(self) -> None:
        """Take note of the stop that ends the run."""
        control = self._control
        asked = control.state.timestamp if control.state else datetime.now(UTC)
        self._course.note(ControlEntry(operation="stop", reason=control.reason, asked_at=asked))

    async def answer_the_rest(self) -> None:
        """Tell those whose commands came too late that the run has ended."""
        try:
            await self._control.look()
            self._control.give_way()
            for command in self._control.commands:
                await self._acknowledge(command, "The run has ended.", applied=False)
        except Exception as error:  # noqa: BLE001 - who waits sees the run's end all the same
            self._log.debug("Late commands were not answered: %r", error)
