"""The Prefect worker of type `vibesurf`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.metadata import entry_points
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
import anyio.abc
from prefect.exceptions import InfrastructureNotFound, ObjectNotFound
from prefect.states import AwaitingConcurrencySlot, Cancelled, Scheduled
from prefect.workers.base import BaseWorker

from vibesurf_blocks import logs
from vibesurf_blocks.metrics.share import shared
from vibesurf_blocks.metrics.working import WorkerMetrics
from vibesurf_blocks.prefect_api import timezones
from vibesurf_blocks.prefect_api.children import forsaken
from vibesurf_blocks.prefect_api.client import connect
from vibesurf_blocks.prefect_api.labels import WORKER
from vibesurf_blocks.prefect_api.runs import next_due, read_runs
from vibesurf_blocks.prefect_api.version_check import CHECKED
from vibesurf_blocks.processes.client import ForkServer, how_it_ended
from vibesurf_blocks.run.checkpoints import unfinished
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.worker.configuration import (
    VibesurfJobConfiguration,
    VibesurfVariables,
    VibesurfWorkerResult,
)
from vibesurf_blocks.worker.enforcement import Enforcement, Running
from vibesurf_blocks.worker.fence import Fence
from vibesurf_blocks.worker.folders import starting_folder, sweep
from vibesurf_blocks.worker.occurrences import Occurrences, is_undecided
from vibesurf_blocks.worker.recovery import Recovery
from vibesurf_blocks.worker.slots import Slots
from vibesurf_blocks.worker.wake import Waker

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import WorkerFlowRunResponse


HEARTBEAT_SECONDS = 5
"""A worker says so often that it lives; `prefect worker start` asks for 30, too few to tell by."""

PARENTS_AT_ONCE = 10
"""Batches and workflows that may run at once where their work pool does not say it."""

ALERTS_AT_ONCE = 10
"""Alerts that may be delivered at once where their work pool does not say it."""

_SLOTS = "VIBESURF_SLOTS"
_RECOVER_SECONDS = 3.0
_SALVAGE_SECONDS = 20.0
_GIVE_UP_SECONDS = 3.0


def preloads() -> list[str]:
    """Modules that the fork server imports: the engine's and those of the entry point group."""
    named = [point.value for point in entry_points(group="vibesurf_blocks.preload")]
    return [
        "prefect.flow_engine",
        "vibesurf_blocks.worker.child",
        *named,
        "vibesurf_blocks.worker.warm",
    ]


_LATE = timedelta(seconds=1)
"""How long after its event a run may become visible."""

_START = timedelta(seconds=0.5)
"""What a run takes from its claim to Running, as a rule."""


class VibesurfWorker(BaseWorker[VibesurfJobConfiguration, VibesurfVariables, VibesurfWorkerResult]):
    """Runs flow runs of its pool, each in a warm child process, within the pool's slots."""

    type = "vibesurf"
    job_configuration = VibesurfJobConfiguration
    job_configuration_variables = VibesurfVariables
    _description = "Run browser agents one at a time in warm processes, with pause and recovery."
    _display_name = "VibeSurf"

    def __init__(
        self,
        work_pool_name: str,
        work_queues: list[str] | None = None,
        name: str | None = None,
        prefetch_seconds: float | None = None,
        create_pool_if_not_found: bool = True,
        limit: int | None = None,
        heartbeat_interval_seconds: int | None = None,
        *,
        base_job_template: dict[str, Any] | None = None,
        forks: ForkServer | None = None,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        """Take Prefect's arguments; runs are not fetched early, as this worker has timers.

        With `forks` and `metrics` it works beside another worker in one process, and shares them.
        """
        super().__init__(
            work_pool_name,
            work_queues,
            name,
            0 if prefetch_seconds is None else prefetch_seconds,
            create_pool_if_not_found,
            limit,
            min(heartbeat_interval_seconds or HEARTBEAT_SECONDS, HEARTBEAT_SECONDS),
            base_job_template=base_job_template,
        )
        self._settings = Settings()
        self._serves = work_pool_name
        self._beside_another = forks is not None
        self._forks = forks or ForkServer(preloads(), env={**CHECKED, **os.environ})
        self._metrics = metrics or WorkerMetrics()
        self._metrics.serves(work_pool_name, lambda: len(self._running))
        self._sharing = contextlib.AsyncExitStack()
        self._beside: list[asyncio.Task[None]] = []
        # By process: one that ends its step may live beside the next one of the same run.
        self._running: dict[int, Running] = {}
        self._claiming = asyncio.Lock()
        self._claims: dict[UUID, object] = {}
        self._confirmed: dict[UUID, bool] = {}
        self._taking: set[UUID] = set()
        self._recovered = 0.0
        self._occurrences = Occurrences(
            work_pool_name, timedelta(seconds=self._settings.missed_seconds)
        )
        self._waker = Waker(
            self._look,
            poll_seconds=self._settings.poll_seconds,
            pool=work_pool_name,
        )
        self._fence = Fence(self._give_sign, self._is_at_risk, self._end_fenced)

    @cached_property
    def _recovery(self) -> Recovery:
        return Recovery(
            self.client,
            self.work_pool.name,
            self.name,
            loose_seconds=self._settings.silence_seconds,
            gap_seconds=self._settings.poll_seconds + _RECOVER_SECONDS,
            max_recoveries=self._most_recoveries,
            salvage=self._salvage,
            counted=lambda outcome: self._metrics.recovered(self._serves, outcome),
            loose=not self._beside_another,
        )

    @cached_property
    def _enforcement(self) -> Enforcement:
        return Enforcement(self.client, self._running, self._recovery, self._settings.workspace_dir)

    @property
    def _slots(self) -> Slots:
        settings = self._settings
        at_once = {settings.parents_pool: PARENTS_AT_ONCE, settings.alerts_pool: ALERTS_AT_ONCE}
        default = at_once.get(self._serves, settings.slots)
        return Slots(self.client, self.work_pool.name, default)

    async def setup(self) -> None:
        """Connect to Prefect and warm up; then watch for runs."""
        logs.guard()
        timezones.remember()
        warming = asyncio.create_task(self._forks.start())
        await asyncio.to_thread(sweep, self._settings.workspace_dir)
        if not self._beside_another and self._serves == self._settings.pool:
            _, *others = self._settings.pools
            self._beside = [asyncio.create_task(self._work_for(pool)) for pool in others]
        with contextlib.suppress(Exception):  # a new pool; or Prefect is not up yet
            async with connect() as client:
                await self._occurrences.before(client)
        await super().setup()
        await warming
        if not self._beside_another:
            await self._sharing.enter_async_context(
                shared(self._metrics.registry, "worker", self._settings)
            )
        self._waker.start()
        self._fence.start()

    async def teardown(self, *exc_info: object) -> None:
        """Stop watching and end the children; their runs are found by whoever works next."""
        await self._waker.stop()
        await self._fence.stop()
        await self._sharing.aclose()
        for working in self._beside:
            working.cancel()  # they end beside this one
        await asyncio.gather(*(self._give_up(running) for running in self._running.values()))
        await super().teardown(*exc_info)
        for working in self._beside:
            with contextlib.suppress(asyncio.CancelledError):
                await working
        if not self._beside_another:
            await self._forks.close()

    async def _work_for(self, pool: str) -> None:
        """Run what is in another pool as well: whoever starts one worker has a whole one."""
        while True:
            worker = VibesurfWorker(
                pool,
                name=self.name,
                forks=self._forks,
                metrics=self._metrics,
            )
            try:
                await worker.start(printer=lambda _: None)
            except Exception as error:  # noqa: BLE001 - agents are run all the same
                self._logger.warning("The worker of %s ended (%r); starting it again.", pool, error)
            await asyncio.sleep(self._settings.poll_seconds)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Claim due runs where a slot is free."""
        async with self._claiming:
            await self._occurrences.catch_up(self.client)
            claimed = await super().get_and_submit_flow_runs()
            before, self._taking = self._taking, {run.id for run in claimed}
            if self._taking <= before:
                await self._occurrences.queue(self.client, self._are_slots_taken, self._taking)
            return claimed

    async def _are_slots_taken(self) -> bool:
        return await self._slots.free(self.work_pool, self._taking) <= 0

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """What may be claimed now: nothing where no slot is free.

        Private to Prefect, whose own method knows nothing of slots.
        """
        free, due = await asyncio.gather(
            self._slots.free(self.work_pool), super()._get_scheduled_flow_runs()
        )
        return due if free > 0 else []

    async def run(
        self,
        flow_run: FlowRun,
        configuration: VibesurfJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> VibesurfWorkerResult:
        """Run a claimed flow run in a child and wait for its end.

        The result is 0 wherever the run's state already tells how it went, so that the base class
        marks only those runs as crashed whose process died for good.
        """
        claim = self._claims[flow_run.id] = object()
        flow_run.labels[WORKER] = self.name  # as it is in Prefect since the claim

        def is_newest() -> bool:
            return self._claims.get(flow_run.id) is claim

        try:
            with logs.about(flow_run.id):
                return await self._run(
                    flow_run, configuration, task_status or anyio.TASK_STATUS_IGNORED, is_newest
                )
        finally:
            if is_newest():
                del self._claims[flow_run.id]

    async def _run(
        self,
        flow_run: FlowRun,
        configuration: VibesurfJobConfiguration,
        started: anyio.abc.TaskStatus[int],
        is_newest: Callable[[], bool],
    ) -> VibesurfWorkerResult:
        if not self._confirmed.pop(flow_run.id):
            started.started(0)
            await self._hand_back(flow_run)
            return VibesurfWorkerResult(identifier="handed back", status_code=0)
        if (why := (await forsaken(self.client, [flow_run])).get(flow_run.id)) is not None:
            started.started(0)
            await self.client.set_flow_run_state(flow_run.id, Cancelled(message=why), force=True)
            return VibesurfWorkerResult(identifier="forsaken", status_code=0)
        with contextlib.ExitStack() as stack:
            folder = configuration.working_dir or stack.enter_context(
                starting_folder(self._settings.workspace_dir)
            )
            # The workspace has as many slots as the pool, so that its limit alone counts.
            slots = str(max(1, self._slots.limit(self.work_pool)))
            env = {key: value for key, value in configuration.env.items() if value is not None}
            # Set where it is another only: what the fork server has read is not read again.
            if env.get(_SLOTS, str(self._settings.slots)) != slots:
                env[_SLOTS] = slots
            child = await self._forks.spawn(
                "vibesurf_blocks.worker.child:run",
                {
                    "flow_run": flow_run.model_dump(mode="json"),
                    "command": configuration.own_command,
                    "module_path": configuration.module_path,
                    "stream_output": configuration.stream_output,
                },
                name="vibesurf:run",
                env=env,
                cwd=str(folder),
            )
            running = Running(child, flow_run, configuration.stop_grace_seconds)
            self._running[child.pid] = running
            due = flow_run.next_scheduled_start_time or flow_run.expected_start_time
            if due is not None:
                waited = (datetime.now(UTC) - due).total_seconds()
                self._metrics.started(self._serves, waited)
            started.started(child.pid)
            try:
                code = await child.wait()
                if not is_newest():
                    pass  # resumed before this process had ended: the next one goes on
                elif running.fenced:
                    await self._recovery.rejoin(flow_run)
                elif code != 0 and not running.given_up:
                    await self._recovery.see_to(flow_run, how_it_ended(code), had_process=True)
            finally:
                del self._running[child.pid]
                self._waker.now()
        return VibesurfWorkerResult(identifier=str(child.pid), status_code=0)

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Say on a claimed run who runs it, and confirm its slot meanwhile.

        Private to Prefect, which does this between claim and start.
        """
        _, self._confirmed[flow_run_id] = await asyncio.gather(
            super()._give_worker_labels_to_flow_run(flow_run_id),
            self._slots.confirm(flow_run_id, self.work_pool),
        )

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Leave out the state between claim and start: here that takes milliseconds.

        Private to Prefect, which would write and announce one more state for every run.
        """

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: VibesurfJobConfiguration,  # noqa: ARG002 - Prefect's signature
        grace_seconds: int = 30,
    ) -> None:
        """End the child with this process id; Prefect asks for it where a run never started."""
        for pid, running in self._running.items():
            if str(pid) == infrastructure_pid:
                await running.child.stop(grace_seconds)
                return
        msg = f"No process {infrastructure_pid} of this worker runs any more."
        raise InfrastructureNotFound(msg)

    async def _give_up(self, running: Running) -> None:
        """End a child because this worker ends, and leave its run to whoever works next."""
        running.given_up = True
        running.child.signal(signal.SIGKILL)
        try:
            async with asyncio.timeout(_GIVE_UP_SECONDS):
                await running.child.wait()
                await self._recovery.see_to(
                    running.run, "ended with its worker, which was told to end", charged=False
                )
        except Exception as error:  # noqa: BLE001 - found by the next worker all the same
            self._logger.warning("Run %s was left as it is: %r", running.run.id, error)

    async def _give_sign(self) -> None:
        """Say that this worker lives; Prefect's own loop pauses for a minute after a failure."""
        await self.client.send_worker_heartbeat(
            work_pool_name=self._serves,
            worker_name=self.name,
            heartbeat_interval_seconds=self.heartbeat_interval_seconds,
        )

    def _is_at_risk(self) -> bool:
        return bool(self._running) and self._recovery.has_fellows

    def _end_fenced(self) -> int:
        fenced = [one for one in self._running.values() if not one.fenced]
        for running in fenced:
            running.given_up = running.fenced = True
            running.child.signal(signal.SIGKILL)
        return len(fenced)

    async def _look(self) -> datetime | None:
        try:
            pool = self.work_pool
        except RuntimeError:  # not synchronised with Prefect yet
            return None
        begun = datetime.now(UTC)
        self._metrics.slots(self._serves, self._slots.limit(pool))
        before = self._taking
        await self.get_and_submit_flow_runs()
        if not self._taking <= before:
            # A run is about to start, and nothing competes with it that can wait.
            return begun + _START
        await self._enforcement.stops()
        await self._enforcement.deadlines()
        await self._recover()
        # What was due before has been seen: it is claimed, or waits for the end of another run,
        # which wakes. Only what an unfinished transaction may have hidden is looked for again.
        return await next_due(self.client, pool.name, after=begun - _LATE, but=self._taking)

    async def _hand_back(self, flow_run: FlowRun) -> None:
        found = await read_runs(self.client, [flow_run.id])
        if not found or found[0].state is None or not found[0].state.is_pending():
            return  # cancelled or deleted meanwhile: it must not come back to life
        run_logger = self.get_flow_run_logger(flow_run)
        run_logger.info("All slots of the pool are taken; handing the run back to the queue.")
        message = "Another run took the slot first."
        due = flow_run.expected_start_time  # it keeps its place in the queue
        back: State[None] = (
            # An occurrence that has passed no policy yet: that decides whether it may wait.
            Scheduled(message=message, scheduled_time=due)
            if is_undecided(flow_run)
            else AwaitingConcurrencySlot(message=message, scheduled_time=due)
        )
        # Not forced: one that is being stopped by now is left to be stopped.
        await self.client.set_flow_run_state(flow_run.id, back)

    async def _most_recoveries(self, flow_run: FlowRun) -> int:
        try:
            configuration = await self.job_configuration.resolve_for_flow_run(
                flow_run,
                client=self.client,
                work_pool=self.work_pool,
                worker_name=self.name,
                worker_id=self.backend_id,
            )
        except ObjectNotFound:  # its deployment is gone
            return 0
        return configuration.max_recoveries

    async def _salvage(self, flow_run: FlowRun) -> None:
        child = await self._forks.spawn(
            "vibesurf_blocks.run.salvage:salvage",
            {"flow_run": flow_run.model_dump(mode="json")},
        )
        try:
            await asyncio.wait_for(child.wait(), _SALVAGE_SECONDS)
        except TimeoutError:
            child.signal(signal.SIGKILL)

    async def _recover(self) -> None:
        now = monotonic()
        if now - self._recovered >= _RECOVER_SECONDS:
            self._recovered = now
            await self._recovery.orphans(self._mine)
            kept = await asyncio.to_thread(unfinished, self._settings.workspace_dir)
            await self._recovery.abandoned(kept, self._mine)

    def _mine(self) -> set[UUID]:
        return {running.run.id for running in self._running.values()} | self._claims.keys()
