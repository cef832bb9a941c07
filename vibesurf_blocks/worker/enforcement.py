"""Ends processes of a worker that were stopped or are past a limit, and work on all the same."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING

from vibesurf_blocks.prefect_api.children import cancel, forsaken
from vibesurf_blocks.prefect_api.runs import read_runs
from vibesurf_blocks.run.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from vibesurf_blocks.processes.client import Child
    from vibesurf_blocks.worker.recovery import Recovery

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Running:
    """A process of a worker.

    Attributes:
        run: The flow run it was started for.
        stop_grace: Seconds it has to end by itself.
        given_up: Ended by its worker, so that its end is no death to recover from.
        fenced: Ended because Prefect does not hear from its worker.
    """

    child: Child
    run: FlowRun
    stop_grace: float
    given_up: bool = False
    fenced: bool = False


class Enforcement:
    """Looks after the processes of one worker; each look is a call of `stops` and `deadlines`."""

    def __init__(
        self,
        client: PrefectClient,
        running: Mapping[int, Running],
        recovery: Recovery,
        workspace: Path,
    ) -> None:
        """Watch `running`, by process id; it changes as processes start and end."""
        self._client = client
        self._running = running
        self._recovery = recovery
        self._workspace = workspace
        self._stopping: dict[int, asyncio.Task[None]] = {}

    async def stops(self) -> None:
        """See that cancelled runs end, by force after their grace period."""
        watched = {
            pid: one.run.id for pid, one in self._running.items() if pid not in self._stopping
        }
        runs = await read_runs(self._client, list({*watched.values()}))
        # A batch that was stopped has its children end; where it died before, this does.
        for run_id, why in (await forsaken(self._client, runs)).items():
            run = next(one for one in runs if one.id == run_id)
            await cancel(self._client, run, why)
        # Prefect ends a suspended run without asking its process, and forgets one it is told to.
        wanted = {run.id for run in runs if not _is_stopped(run)}
        for pid, run_id in watched.items():
            running = self._running.get(pid)
            if running is not None and run_id not in wanted:
                self._stopping[pid] = asyncio.create_task(self._stop(running))

    async def deadlines(self) -> None:
        """End what works on past a limit of its run: it is stuck, and cannot heed it by itself."""
        for pid, running in list(self._running.items()):
            deadline = Deadline(self._workspace, str(running.run.id))
            due = await asyncio.to_thread(deadline.read)
            over = due is not None and time() > due.at + running.stop_grace
            if due is None or not over or due.pid != pid:
                continue
            if running.given_up or pid in self._stopping:
                continue
            logger.warning("Run %s works on past its limit; ending it.", running.run.id)
            running.given_up = True
            running.child.signal(signal.SIGKILL)
            await running.child.wait()
            await asyncio.to_thread(deadline.clear)
            await self._recovery.end(running.run, due.reason)

    async def _stop(self, running: Running) -> None:
        try:
            await asyncio.wait_for(running.child.wait(), running.stop_grace)
        except TimeoutError:
            running.child.signal(signal.SIGKILL)
        finally:
            self._stopping.pop(running.child.pid, None)


def _is_stopped(run: FlowRun) -> bool:
    return run.state is not None and (run.state.is_cancelling() or run.state.is_cancelled())
