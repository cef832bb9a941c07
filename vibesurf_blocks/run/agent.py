"""One agent run: takes a slot, opens the engine, takes its steps within the limits, reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from vibesurf_blocks import logs
from vibesurf_blocks.engines.browser_use.secrets import Secrets
from vibesurf_blocks.engines.protocol import Engine, EngineContext, Outcome, Step, Tools
from vibesurf_blocks.engines.registry import engine_for, engine_name
from vibesurf_blocks.errors import EngineError, InvalidInput
from vibesurf_blocks.prefect_api.labels import RECOVERED_FROM
from vibesurf_blocks.prefect_api.runs import ended_before
from vibesurf_blocks.prefect_api.step_runs import run_step
from vibesurf_blocks.run.checkpoints import CheckpointFile, Kept
from vibesurf_blocks.run.control import Control
from vibesurf_blocks.run.course import Course
from vibesurf_blocks.run.deadline import Deadline
from vibesurf_blocks.run.elsewhere import Elsewhere
from vibesurf_blocks.run.heeding import Heeding
from vibesurf_blocks.run.limits import Limits
from vibesurf_blocks.run.profile import settle
from vibesurf_blocks.run.publisher import Publisher
from vibesurf_blocks.run.report import write_report
from vibesurf_blocks.run.slot_lock import slot_lock
from vibesurf_blocks.run.tools import read_backend, read_tools
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask
from vibesurf_blocks.workspace import prepare_session, resolve_upload

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun
    from prefect.logging.loggers import LoggingAdapter


class AgentRun:
    """A running agent. Open one with `AgentRun.of`, take steps until there are none, conclude."""

    def __init__(
        self,
        context: EngineContext,
        engine: Engine,
        client: PrefectClient,
        run: FlowRun,
        control: Control,
        publisher: Publisher,
        opened: AsyncExitStack,
        secrets: Secrets,
    ) -> None:
        self._context = context
        self._engine = engine
        self._client = client
        self._run = run
        self._control = control
        self._secrets = secrets
        self._elsewhere = Elsewhere(engine, control)
        self._publisher = publisher
        remote = context.backend is not None
        self._limits = Limits.of(context.task, context.settings, remote=remote)
        self._checkpoints = CheckpointFile(context.settings.workspace_dir, context.task_id)
        self._deadline = Deadline(context.settings.workspace_dir, context.task_id)
        self._log: LoggingAdapter = get_run_logger()  # type: ignore[assignment]
        self._stack = opened
        self._course = Course(self._checkpoints, engine, publisher)
        self._heeding = Heeding(
            client, run.id, engine, control, self._elsewhere, self._course, self._log
        )
        self._opened = False
        self._begun = False  # here, or in an earlier process: there is something to show
        self._error: str | None = None
        self._slot_taken = False
        self._ended_before: State[Any] | None = None

    @classmethod
    @asynccontextmanager
    async def of(cls, task: AgentTask) -> AsyncIterator[Self]:
        """Hold a slot and everything the agent opens, for as long as the block runs.

        Raises:
            EngineError: The task cannot be done as it stands.
        """
        running = FlowRunContext.get()
        if (
            running is None
            or running.flow_run is None
            or not isinstance(running.client, PrefectClient)
        ):
            msg = "An agent runs inside an asynchronous flow run only."
            raise EngineError(msg)
        settings = Settings.here()
        client, run = running.client, running.flow_run
        task, profile = await settle(client, run, task)
        backend = await read_backend(client, profile)
        context = EngineContext(
            task=task,
            task_id=str(run.id),
            session_dir=prepare_session(settings.workspace_dir, task.session_id),
            settings=settings,
            profile=profile,
            tools=(
                await read_tools(client, run, task, blocks=backend is None)
                if profile is not None
                else Tools()
            ),
            backend=backend,
            max_steps=Limits.of(task, settings).steps,
        )
        # What the engine's library logs may repeat what it was given.
        secrets = Secrets.of(context)
        logs.hide_also(secrets.hide)
        control = Control(client, run, sign_seconds=settings.silence_seconds / 4)
        publisher = Publisher(client, run.id)
        engine = engine_for(context)
        async with AsyncExitStack() as opened:
            for close in (control.close, publisher.close, engine.close):
                opened.push_async_callback(close)
            control.start()
            publisher.start()
            agent = cls(context, engine, client, run, control, publisher, opened, secrets)
            try:
                yield agent
            except Pause:
                await agent._leave()
                raise

    async def step(self) -> bool:
        """Take the next step; False where there is none, for whatever reason.

        Raises:
            Abort: Somebody else is to run this flow run.
            Pause: The run is suspended.
        """
        course = self._course
        try:
            if not self._slot_taken:
                await self._unless_stopped(self._take_slot())
            if not self._opened and not self._ended:
                await self._within_limits(self._open())
            if not self._ended:
                await self._control.look_between_steps()
                if self._elsewhere.is_remote:
                    # What is asked of an agent elsewhere may take long; a stop does not wait.
                    await self._unless_stopped(self._heeding.heed())
                else:
                    await self._heeding.heed()
            if not self._ended:
                self._error = self._limits.reached(course.steps, course.seconds, course.usage)
            if not self._ended:
                with self._control.at_step():
                    await self._within_limits(run_step(course.steps + 1, self._take))
        except EngineError as error:
            self._error = error.message
        except Exception as error:  # noqa: BLE001 - what was found so far is still to be shown
            self._log.exception("Step %d failed.", course.steps + 1)
            self._error = f"Step {course.steps + 1} failed: {type(error).__name__}: {error}"
        self._control.give_way()
        return not self._ended

    async def conclude(self) -> State[Any]:
        """Publish what there is to show, answer who still waits, and say how the run ended.

        Raises:
            Abort: Somebody else is to run this flow run.
            Pause: The run is suspended.
        """
        self._control.give_way()
        if self._ended_before is not None:
            before = self._ended_before
            await self._heeding.answer_the_rest()
            return State(type=before.type, name=before.name, message=before.message)
        stopped = self._control.stop.is_set()
        unread = None if self._slot_taken else self._recall()
        if stopped:
            self._heeding.note_stop()
        trouble = None if self._course.finished else await self._end_elsewhere(unread)
        outcome = await self._publish()
        if outcome is not None:
            self._error = self._error or outcome.error
        await self._heeding.answer_the_rest()
        self._control.give_way()
        if stopped:
            # For the other ends `forget` follows the state: until then the run may be run again.
            self._checkpoints.discard()
            reason = self._control.reason or "Stopped on request."
            return Cancelled(message=self._secrets.hide(f"{reason} {trouble or ''}".rstrip()))
        if self._error is not None:
            # Once more: whoever worded it may have forgotten to.
            return Failed(message=self._secrets.hide(f"{self._error} {trouble or ''}".rstrip()))
        return Completed(message=f"Done in {self._course.steps} steps.")

    async def _leave(self) -> None:
        """Leave a suspended run: whether it is ever resumed is open, so what there is shows."""
        if self._opened and self._elsewhere.is_remote:
            await self._elsewhere.leave()
            self._course.keep()
        await self._publish()

    def _recall(self) -> str | None:
        """Take over what an earlier process kept of a run that ends before it goes on.

        It is still to be shown, and an agent elsewhere to be ended. Why it cannot be, else None.
        """
        kept = self._checkpoints.load()
        if kept is not None:
            try:
                self._course.restore(kept)
            except EngineError as error:
                self._log.error("What was found so far cannot be shown: %s", error.message)
                return error.message
            self._begun = True
        return None

    async def _end_elsewhere(self, unread: str | None) -> str | None:
        """End the agent where it works elsewhere; why it may go on, None where it does not."""
        if unread is not None and self._elsewhere.is_remote:
            return unread  # only what an earlier process kept says what to end
        trouble = await self._elsewhere.end()
        if trouble is not None:
            self._log.error(trouble)
        return trouble

    async def _publish(self) -> Outcome | None:
        """Publish result and report so far, None where nothing was begun."""
        if not self._begun:
            await self._publisher.rest()
            return None
        outcome = self._engine.outcome()
        report = await asyncio.to_thread(self._write_report, outcome)
        await self._publisher.outcome(outcome, report)
        return outcome

    @property
    def _ended(self) -> bool:
        over = self._course.finished or self._ended_before is not None
        return over or self._error is not None or self._control.stop.is_set()

    async def _take_slot(self) -> None:
        """Wait for a slot of the workspace; go on where an earlier process of this run was."""
        waited: list[str] = []

        def waiting(why: str) -> None:
            waited.append(why)
            self._log.info("Waiting: %s.", why)

        settings = self._context.settings
        await self._stack.enter_async_context(
            slot_lock(
                settings.workspace_dir,
                self._context.task.session_id,
                settings.slots,
                waiting=waiting,
            )
        )
        self._slot_taken = True
        if waited:
            # Whoever held it may have been an earlier process of this very run.
            await self._control.look()
            self._control.give_way()
        # What was asked before this process began must not come after its first, maybe last, step.
        await self._control.looked.wait()
        kept = self._checkpoints.load()
        if kept is None:
            # Begun anew, maybe by Prefect's Retry after its end: no pause of then counts again.
            await self._control.drop_what_is_over()
            if self._run.run_count:  # of before it was claimed: this is not its first life
                self._ended_before = await ended_before(self._client, self._run.id)
            if self._ended_before is None:
                self._publisher.begin()
        else:
            self._restore(kept)
            if self._course.finished:
                # Suspended when it had just finished: an instruction given since is still to do.
                self._course.finished = self._opened = not self._heeding.instructed

    def _restore(self, kept: Kept) -> None:
        self._course.restore(kept)
        self._begun = True
        # Who resumed a paused run whose process was dead wanted it to go on.
        self._course.resting = kept.resting and self._run.labels.get(RECOVERED_FROM) != "Running"
        self._opened = kept.done  # nothing is left to open it for
        self._log.info("Going on after step %d.", kept.step)

    async def _open(self) -> None:
        upload = self._context.task.upload_files_path
        if upload is not None:
            settings = self._context.settings
            try:
                resolve_upload(settings.workspace_dir, self._context.task.session_id, upload)
            except InvalidInput as error:
                msg = f"upload_files_path {error.message}."
                raise EngineError(msg) from error
        await self._engine.open()
        self._opened = self._begun = True
        if self._course.resting:
            await self._heeding.rest(None)

    async def _take(self) -> Step:
        """One step, kept before its task run ends, so that no finished step is taken again."""
        begun = monotonic()
        async with self._elsewhere.hurried():
            step = await self._engine.step()
        seconds = monotonic() - begun
        course = self._course
        course.steps += 1
        course.finished = step.done
        course.usage = step.usage or course.usage
        self._publisher.note(course.steps, step)
        course.keep()
        self._publisher.step(course.steps, step, seconds=seconds, engine=engine_name(self._context))
        self._log.info("Step %d: %s", course.steps, step.name)
        return step

    async def _within_limits(self, work: Coroutine[Any, Any, object]) -> None:
        """Do a piece of work, cut off when the run is to stop or a limit is reached."""
        left = min(self._limits.seconds - self._course.seconds, self._limits.idle)
        begun = monotonic()
        try:
            with self._deadline.within(left, self._limits.cut_off(self._course.seconds + left)):
                done = await self._unless_stopped(work, left)
        finally:
            self._course.seconds += monotonic() - begun
        if not done and not self._control.stop.is_set():
            self._error = self._limits.cut_off(self._course.seconds)

    async def _unless_stopped(
        self, work: Coroutine[Any, Any, object], seconds: float | None = None
    ) -> bool:
        """Do a piece of work; False where the run was stopped, or the time over, before its end."""
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._control.stop.wait())
        try:
            await asyncio.wait(
                {working, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not working.done():
                return False
            working.result()
            return True
        finally:
            for task in (working, stopping):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    def _write_report(self, outcome: Outcome) -> Path | None:
        try:
            return write_report(self._context.session_dir, self._context.task_id, outcome.report)
        except OSError as error:
            self._log.error("The report could not be written: %s", error)
            return None
