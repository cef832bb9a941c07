"""What becomes of a run whose process is gone: run again, ended as stopped, or failed.

It is the same whether a child died beside its worker, the worker died with its children, or a run
was started without a worker at all; only how the death is noticed differs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import AwaitingRetry, Cancelled, Failed

from vibesurf_blocks.prefect_api.labels import (
    ALIVE,
    ATTEMPT,
    RECOVERED_FROM,
    RECOVERIES,
    TROUBLE,
    WORKER,
    count_of,
)
from vibesurf_blocks.prefect_api.runs import loose_holders, read_runs, slot_holders
from vibesurf_blocks.prefect_api.states import is_suspended, pause_is_over
from vibesurf_blocks.worker.silence import Silence

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State

logger = logging.getLogger(__name__)

WORKER_SILENCE = 15.0
"""Seconds without a heartbeat after which a worker is taken for dead."""

_CLAIM_SECONDS = 15.0
_REJOIN_SECONDS = 1.0
_LIVELY = timedelta(seconds=30)


class Recovery:
    """Finds runs that nobody works on, and decides what becomes of them."""

    def __init__(
        self,
        client: PrefectClient,
        pool: str,
        worker: str,
        *,
        loose_seconds: float,
        gap_seconds: float,
        max_recoveries: Callable[[FlowRun], Awaitable[int]],
        salvage: Callable[[FlowRun], Awaitable[None]],
        counted: Callable[[str], None] = lambda _: None,
        loose: bool = True,
    ) -> None:
        """Recover runs of a pool for the worker of this name.

        Args:
            client: Prefect.
            pool: The work pool.
            worker: This worker's name.
            loose_seconds: Seconds of silence after which a run without a worker is dead.
            gap_seconds: Seconds between two calls of `orphans` after which it watches anew.
            max_recoveries: Says how often a run may be started again.
            salvage: Publishes what a run that will not be started again had found.
            counted: Told what became of each: `started-again`, `stopped` or `failed`.
            loose: Whether to see to runs without a worker as well.
        """
        self._client = client
        self._pool = pool
        self._worker = worker
        self._max_recoveries = max_recoveries
        self._salvage = salvage
        self._counted = counted
        self._workers = Silence(WORKER_SILENCE, gap=gap_seconds)
        self._sees_to_loose = loose
        self._loose = Silence(loose_seconds, gap=gap_seconds)
        self.has_fellows = False
        """Whether, when last seen, another worker of the pool lived that could see to runs."""

    async def orphans(self, mine: Callable[[], Collection[UUID]]) -> None:
        """Find the runs of the pool that nobody works on, and see to each.

        Args:
            mine: Says which runs this worker works on now.
        """
        suspects = [
            run
            for run in await slot_holders(self._client, self._pool)
            if run.id not in mine() and run.state is not None
        ]
        beats = await self._heartbeats()
        self.has_fellows = _any_lives(beats, but=self._worker)
        owners = {str(run.labels[WORKER]) for run in suspects if WORKER in run.labels}
        dead = self._workers.watch({name: beats.get(name) for name in {*beats, *owners}})
        loose = await loose_holders(self._client) if self._sees_to_loose else []
        silent = self._loose.watch({str(run.id): _sign(run) for run in loose})
        # Of several workers one sees to the dead, so that no run is started again twice.
        first = min(beats.keys() - dead, default=self._worker) == self._worker
        for run in suspects:
            how = self._how_orphaned(run, dead if first else set())
            if how is not None and run.id not in mine():
                await self.see_to(run, how)
        for run in loose:
            if first and str(run.id) in silent:
                how = "was not run by a worker and gives no sign of life"
                await self.see_to(run, how, again=False)

    async def abandoned(self, kept: Collection[UUID], mine: Callable[[], Collection[UUID]]) -> None:
        """See to the runs that were cancelled while they had no process, such as suspended ones.

        Args:
            kept: Runs that nobody saw to their end; who ends a stopped run forgets it before.
            mine: Says which runs this worker works on now.
        """
        for run in await read_runs(self._client, [one for one in kept if one not in mine()]):
            pool = run.work_pool_name
            ours = pool == self._pool or (pool is None and self._sees_to_loose)
            cancelled = run.state is not None and run.state.is_cancelled()
            if ours and cancelled and run.id not in mine():
                await self._salvage(run)

    async def see_to(
        self,
        run: FlowRun,
        how: str,
        *,
        charged: bool = True,
        again: bool = True,
        had_process: bool = False,
    ) -> None:
        """Decide what becomes of a run whose process is gone.

        Args:
            run: The run; it is read again first.
            how: How its process went, to follow "The run's process".
            charged: Whether starting it again counts towards the most that is allowed.
            again: Whether it may be started again at all.
            had_process: Whether a process is known to have been started for it. One that cannot
                even load its flow ends before the run is Running, and would do so for ever.
        """
        found = await read_runs(self._client, [run.id])
        state = found[0].state if found else None
        if found and _is_with_another(found[0], than=run):
            return
        if state is None or state.is_final() or state.is_scheduled() or is_suspended(state):
            return
        run = found[0]
        if state.is_cancelling():
            await self._salvage(run)
            now = await self._unended(run)
            if now is not None:
                reason = _with_trouble(state.message or "Stopped on request.", now)
                stopped: State[None] = Cancelled(message=reason)
                await self._client.set_flow_run_state(run.id, stopped, force=True)
            self._counted("stopped")
            return
        if not again:
            await self.end(run, f"The run's process {how}.")
            return
        recoveries = count_of(run.labels, RECOVERIES)
        most = await self._max_recoveries(run)
        # A claim that never became a process costs nothing to repeat.
        begun = charged and (
            had_process or state.type is not StateType.PENDING or run.start_time is not None
        )
        if begun and recoveries >= most:
            times = f", after it was started again {recoveries} times" if recoveries else ""
            await self.end(run, f"The run's process {how}{times}.")
            return
        logger.warning(
            "The process of run %s %s; starting it again (%d of %d).",
            run.id,
            how,
            recoveries + begun,
            most,
        )
        labels: dict[str, int | str] = {
            RECOVERED_FROM: state.name or state.type.value,
            ATTEMPT: count_of(run.labels, ATTEMPT) + 1,
        }
        if begun:
            labels[RECOVERIES] = recoveries + 1
        await self._client.update_flow_run_labels(run.id, {**labels})
        if await self._unended(run) is None:
            return
        retry: State[None] = AwaitingRetry(
            message=f"The run's process {how}.",
            scheduled_time=run.expected_start_time,  # before all that were asked for later
        )
        # Not forced: a stop that was asked for since the run was read is not to be overwritten.
        answer = await self._client.set_flow_run_state(run.id, retry, force=pause_is_over(state))
        if answer.status is SetStateStatus.ACCEPT:
            self._counted("started-again")
            return
        for latest in await read_runs(self._client, [run.id]):
            if latest.state is not None and latest.state.is_cancelling():
                await self.see_to(latest, how)

    async def rejoin(self, run: FlowRun) -> None:
        """See to a run that was ended here for want of Prefect, once Prefect can be reached.

        Where another worker has taken it over by then, it is left alone.
        """
        while True:
            try:
                how = "was ended because its worker could not reach Prefect"
                await self.see_to(run, how, charged=False)
                return
            except Exception as error:  # noqa: BLE001 - still out of reach
                logger.debug("Run %s cannot be seen to yet: %r", run.id, error)
                await asyncio.sleep(_REJOIN_SECONDS)

    async def end(self, run: FlowRun, reason: str) -> None:
        """End a run as failed, with what it had found and a sentence that says why."""
        await self._salvage(run)
        now = await self._unended(run)
        if now is not None:
            failed: State[None] = Failed(message=_with_trouble(reason, now))
            await self._client.set_flow_run_state(run.id, failed, force=True)
            self._counted("failed")

    async def _unended(self, run: FlowRun) -> FlowRun | None:
        """A run as it is now, None where Prefect knows an end of it by now.

        The last thing its process said may have reached Prefect before it died, and waited there,
        and Prefect would accept a retry of a run that has ended.
        """
        found = await read_runs(self._client, [run.id])
        now = found[0] if found else run
        return None if now.state is not None and now.state.is_final() else now

    def _how_orphaned(self, run: FlowRun, dead: Collection[str]) -> str | None:
        assert run.state is not None  # noqa: S101 - suspects have one
        age = (datetime.now(UTC) - run.state.timestamp).total_seconds()
        owner = run.labels.get(WORKER)
        pending = run.state.type is StateType.PENDING
        if pending and age < _CLAIM_SECONDS:
            return None  # being started this moment
        if owner is None:
            # Stopped between its claim and its start, it is Cancelling and has no process either.
            stopped = run.state.is_cancelling() and run.start_time is None
            return "was never started" if pending or (stopped and age >= _CLAIM_SECONDS) else None
        if owner == self._worker:
            return "ended with an earlier worker of this name"
        if str(owner) in dead:
            return f"ended with its worker {owner!r}"
        return None

    async def _heartbeats(self) -> dict[str, datetime | None]:
        workers = await self._client.read_workers_for_work_pool(self._pool)
        return {worker.name: worker.last_heartbeat_time for worker in workers}


def _with_trouble(reason: str, run: FlowRun) -> str:
    """Why a run ended, and what is to be known of what it leaves behind."""
    return f"{reason} {run.labels.get(TROUBLE, '')}".rstrip()


def _is_with_another(run: FlowRun, *, than: FlowRun) -> bool:
    """Whether a run was given to another process, or claimed by another worker, since then."""
    owner = run.labels.get(WORKER)
    return run.labels.get(ATTEMPT) != than.labels.get(ATTEMPT) or (
        owner is not None and owner != than.labels.get(WORKER)
    )


def _any_lives(beats: Mapping[str, datetime | None], *, but: str) -> bool:
    """Whether a worker gave a sign of life about as late as any, by Prefect's clock alone."""
    newest = max((beat for beat in beats.values() if beat is not None), default=None)
    return newest is not None and any(
        beat is not None and newest - beat < _LIVELY for name, beat in beats.items() if name != but
    )


def _sign(run: FlowRun) -> tuple[object, object]:
    """What changes while a process works on a run that no worker watches."""
    return run.labels.get(ALIVE), run.state.timestamp if run.state else None
