"""The present flow run as a parent of agent runs: starts them, follows them, stops with them.

It holds no slot: its children wait for theirs in the queue, like everybody's runs. All it knows of
them it reads from Prefect, so a parent that is run again, after its process died or because a
person retries it, goes on where the one before was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.exceptions import Abort, Pause
from prefect.logging import get_run_logger
from prefect.states import Cancelled
from prefect.utilities.urls import url_for

from vibesurf_blocks.alerts.message import Subject, short
from vibesurf_blocks.alerts.raised import raise_alert
from vibesurf_blocks.alerts.rules import Alerts, Occasion, default_alerts
from vibesurf_blocks.errors import EngineError, Unavailable
from vibesurf_blocks.prefect_api import children as prefect_children
from vibesurf_blocks.prefect_api import commands
from vibesurf_blocks.prefect_api.children import Ask, Child
from vibesurf_blocks.prefect_api.hints import hints
from vibesurf_blocks.prefect_api.marks import mark
from vibesurf_blocks.prefect_api.states import is_suspended
from vibesurf_blocks.run.control import Control
from vibesurf_blocks.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefect.client.schemas.objects import FlowRun, State
    from prefect.logging.loggers import LoggingAdapter
    from pydantic import JsonValue

STEP_FAILED_EVENT: Final = "vibesurf.workflow.step-failed"
"""A step failed that asks for an alert: payload `step`, `why`. For automations of people's own."""

_LOOK_SECONDS: Final = 2.0
_LOOK_AGAIN_SECONDS: Final = (0.1, 0.4)
"""An event may come before what it tells of can be read."""

_ENDS: Final = tuple(
    f"prefect.flow-run.{state}"
    for state in ("Completed", "Failed", "TimedOut", "Crashed", "Cancelled", "Cancelling")
)


class Parent:
    """A flow run with children. Open one with `Parent.of_present_run`.

    Attributes:
        client: Prefect.
        run: The flow run.
        settings: The project's settings.
        round: How often the run has ended before.
        found: The children that it had when it was opened.
    """

    def __init__(self, client: PrefectClient, run: FlowRun, control: Control) -> None:
        self.client = client
        self.run = run
        self.settings = Settings()
        self.round = 0
        self.found: list[Child] = []
        self._control = control
        self._log: LoggingAdapter = get_run_logger()  # type: ignore[assignment]
        self._deployment: UUID | None = None
        self._active: dict[UUID, Child] = {}
        self._wake = asyncio.Event()
        self._told: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def of_present_run(cls) -> AsyncIterator[Self]:
        """Watch the present flow run and its children for as long as the block runs.

        Raises:
            EngineError: There is no flow run.
        """
        context = FlowRunContext.get()
        client = context.client if context is not None else None
        run = context.flow_run if context is not None else None
        if run is None or not isinstance(client, PrefectClient):
            msg = "Batches and workflows run inside an asynchronous flow run only."
            raise EngineError(msg)
        control = Control(client, run, sign_seconds=Settings().silence_seconds / 4)
        parent = cls(client, run, control)
        control.start()
        watching = [
            asyncio.create_task(parent._listen(), name="parent-hints"),
            asyncio.create_task(parent._follow_control(), name="parent-control"),
        ]
        try:
            parent.round, parent.found = await asyncio.gather(
                prefect_children.times_ended(client, run.id),
                prefect_children.of_parent(client, run.id),
            )
            parent._active = {one.run.id: one for one in parent.found if not one.ended}
            yield parent
        finally:
            for task in watching:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await control.close()

    @property
    def stopping(self) -> bool:
        """Whether somebody wants the run to end."""
        return self._control.stop.is_set()

    @property
    def resting(self) -> bool:
        """Whether the run is paused: no further child is to be started."""
        state = self._control.state
        return state is not None and state.is_paused()

    @property
    def active(self) -> list[Child]:
        """The children that have not ended."""
        return list(self._active.values())

    async def start(
        self,
        part: str,
        number: int,
        parameters: Mapping[str, JsonValue],
        after: Iterable[Child] = (),
    ) -> Child:
        """Start a child for a part, as the try of this number; one that is there is taken over.

        Raises:
            Unavailable: The agent's deployment is missing.
        """
        if self._deployment is None:
            self._deployment = (await prefect_children.agent_deployment(self.client)).id
        ask = Ask(part, self.round, number, parameters, tuple(after))
        child = await prefect_children.create(self.client, self.run, self._deployment, ask)
        self._log.info("Started %s.", ask.name)
        if not child.ended:
            self._active[child.run.id] = child
        return child

    async def slots(self) -> int:
        """How many agents may run at once in the pool of the children."""
        deployment = await prefect_children.agent_deployment(self.client)
        self._deployment = deployment.id
        if deployment.work_pool_name is None:
            return self.settings.slots
        pool = await self.client.read_work_pool(deployment.work_pool_name)
        return self.settings.slots if pool.concurrency_limit is None else pool.concurrency_limit

    async def ended(self, seconds: float | None = None) -> list[Child]:
        """Wait for children to end; those that have, none where something else is to be seen to.

        Args:
            seconds: Wait no longer than this.

        Raises:
            Abort: Somebody else is to run this flow run.
            Pause: The run was suspended in the Prefect UI.
        """
        with suppress(TimeoutError):
            wait = _LOOK_SECONDS if seconds is None else max(0.0, min(seconds, _LOOK_SECONDS))
            await asyncio.wait_for(self._wake.wait(), wait)
        self._wake.clear()
        await self._heed()
        return await self._look()

    async def again(self, children: Iterable[Child]) -> list[Child]:
        """These children as they are now."""
        return await prefect_children.again(self.client, list(children))

    async def stop(self) -> None:
        """End the children that have not ended, and wait until they have."""
        why = f"Stopped with {self.run.name}."
        while self._active:
            for child in self.active:
                await prefect_children.cancel(self.client, child.run, why)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS)
            self._wake.clear()
            for child in await self._look():
                await prefect_children.explain(self.client, child.run, why)

    async def tell_failed(self, step: str, why: str, rules: Alerts | None) -> None:
        """Have people told, once in this round, that a step failed which asks for it."""
        if step in self._told:
            return
        self._told.add(step)
        key = f"{self.run.id}-{self.round}-{step}"
        # An earlier process of the run may have told of it.
        if await mark(self.client, self.run.id, f"step-failed-{self.round}-{step}"):
            self._emit_failed(step, why)
        rules = rules or default_alerts(self.settings)
        if rules is None or not rules.anywhere or Occasion.STEP_FAILED not in rules.on:
            self._log.warning("Step %s failed; no webhook or block is named to be told.", step)
            return
        session = self.run.parameters.get("session_id")
        subject = Subject(
            occasion=Occasion.STEP_FAILED,
            kind="workflow",
            run_id=str(self.run.id),
            name=self.run.name,
            session_id=session if isinstance(session, str) else None,
            about=f"Step {step}",
            message=short(why),
            at=datetime.now(UTC),
            url=url_for(self.run),
        )
        try:
            await raise_alert(self.client, key, subject, rules)
        except Unavailable as error:
            self._log.error("Nobody was told that step %s failed: %s", step, error.message)

    def _emit_failed(self, step: str, why: str) -> None:
        emit_event(
            STEP_FAILED_EVENT,
            resource={
                "prefect.resource.id": f"prefect.flow-run.{self.run.id}",
                "prefect.resource.name": self.run.name,
            },
            # As Prefect's own events have it, so that automations for a pool are woken by it.
            related=[
                {
                    "prefect.resource.id": f"prefect.work-pool.{self.run.work_pool_id}",
                    "prefect.resource.role": "work-pool",
                    "prefect.resource.name": str(self.run.work_pool_name),
                }
            ],
            payload={"step": step, "why": why},
        )

    async def conclude(self, state: State[Any]) -> State[Any]:
        """How the run ends: as said, or cancelled where somebody stopped it.

        Raises:
            Abort: Somebody else is to run this flow run.
        """
        await self._refuse_commands()
        self._give_way()
        if self.stopping:
            return Cancelled(message=self._control.reason or "Stopped on request.")
        return state

    async def _look(self) -> list[Child]:
        """Read the active children once; those that have ended meanwhile."""
        before = dict(self._active)
        now = {one.run.id: one for one in await prefect_children.again(self.client, self.active)}
        ended = [child for child in now.values() if child.ended]
        self._active = {run_id: child for run_id, child in now.items() if not child.ended}
        for run_id, child in before.items():
            if run_id not in now:
                # Deleted from Prefect: as good as stopped.
                child.run.state = Cancelled(message="The flow run was deleted from Prefect.")
                ended.append(child)
        return ended

    async def _heed(self) -> None:
        self._give_way()
        state = self._control.state
        if is_suspended(state):
            raise Pause(state=state)
        await self._refuse_commands()

    async def _refuse_commands(self) -> None:
        """Answer commands that only an agent understands, so that nobody waits for it."""
        while self._control.commands:
            command = self._control.commands.popleft()
            ack = commands.Ack(
                applied=False,
                step=0,
                effective_at=command.asked_at,
                outcome="This run has no agent of its own.",
            )
            await commands.acknowledge(self.client, self.run.id, command, ack)

    def _give_way(self) -> None:
        if self._control.superseded:
            msg = "This run was given to another process."
            raise Abort(msg)

    async def _listen(self) -> None:
        async for hint in hints(names=_ENDS):
            if hint.run_id is None or hint.run_id in self._active:
                self._wake.set()
                for seconds in _LOOK_AGAIN_SECONDS:
                    asyncio.get_running_loop().call_later(seconds, self._wake.set)

    async def _follow_control(self) -> None:
        while True:
            await self._control.changed.wait()
            self._control.changed.clear()
            self._wake.set()
            if self.stopping:
                return
