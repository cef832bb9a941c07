"""Is everything right again? Seen from outside: Prefect, the file of the tables, the processes."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

import httpx
import psutil
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException

from tests.chaos.driver.rows import Rows
from vibesurf_blocks.prefect_api.states import holds_slot, is_suspended, status_of
from vibesurf_blocks.tasks import AGENT_FLOW

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from tests.support.stack import LiveStack

GRACE = timedelta(seconds=1)
"""A row may be that much behind its run."""

PROMISED_SECONDS = 30.0
"""All rows are right again so long after anything was killed."""

_PARTS = ("api", "mirror", "worker", "prefect")
_AGENT = "run"
_RECENT = 100
_LOOK_SECONDS = 0.25
_ANSWER_SECONDS = 5.0
_ERRORS = (httpx.HTTPError, PrefectException, TimeoutError, OSError, sqlite3.Error)


class Repair:
    """Looks whether a stack is whole.

    Attributes:
        mended: Rows that were seen to be wrong, and right later.
    """

    def __init__(self, stack: LiveStack, prefect: PrefectClient, rows: Rows) -> None:
        self._stack = stack
        self._prefect = prefect
        self._rows = rows
        self._wrong_rows: set[str] = set()
        self.mended = 0

    async def wrong(self) -> list[str]:
        """What is not as it should be, in words; empty where all is right."""
        pids = self._pids()
        found = [name for name in _PARTS if not pids[name]]
        if found:
            return [f"no process for {', '.join(found)}"]
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                async with self._stack.http() as api:
                    answer = await api.get("/tasks/status")
                if not answer.is_success:
                    return [f"GET /tasks/status -> {answer.status_code} {answer.text[:200]}"]
                runs = await self._recent()
                statuses = await asyncio.to_thread(self._rows.statuses)
        except _ERRORS as error:
            return [f"no answer: {error!r}"]
        return [*self._rows_wrong(runs, statuses), *self._without_process(runs, self._pids())]

    async def repaired(self, patience: float) -> tuple[float, list[str]]:
        """Wait until all is right; the seconds it took, and what is wrong still where it is not."""
        begun = monotonic()
        while True:
            wrong = await self.wrong()
            took = monotonic() - begun
            if not wrong or took > patience:
                return took, wrong
            await asyncio.sleep(_LOOK_SECONDS)

    async def _recent(self) -> list[FlowRun]:
        return await self._prefect.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[AGENT_FLOW])),
            flow_run_filter=FlowRunFilter(
                expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC))
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=_RECENT,
        )

    def _rows_wrong(self, runs: list[FlowRun], statuses: dict[str, str]) -> list[str]:
        wrong: dict[str, str] = {}
        settled = datetime.now(UTC) - GRACE
        for run in runs:
            due = run.expected_start_time
            since = max(run.state.timestamp, due) if run.state and due else due
            if since is None or since > settled:
                continue
            row, status = statuses.get(str(run.id)), status_of(run.state)
            if row != status:
                name = run.state.name if run.state else None
                wrong[str(run.id)] = f"row of {run.id} says {row}, Prefect {name} since {since}"
        now = set(wrong)
        self.mended += len(self._wrong_rows - now)
        self._wrong_rows = now
        return list(wrong.values())

    def _pids(self) -> dict[str, set[int]]:
        """The processes of each part and of agents; the machine's list is gone through once."""
        found: dict[str, set[int]] = {name: set() for name in (*_PARTS, _AGENT)}
        for one in self._stack.processes():
            with suppress(psutil.Error):
                # The kernel keeps fifteen characters of a name.
                said = one.name().removeprefix("vibesurf:")
                for name, those in found.items():
                    if said == name[:6]:
                        those.add(one.pid)
        return found

    def _without_process(self, runs: list[FlowRun], pids: dict[str, set[int]]) -> list[str]:
        """Runs that Prefect takes for running and that no process works on."""
        wrong = []
        for run in runs:
            state = run.state
            if state is None or state.is_pending() or not holds_slot(state):
                continue
            if run.work_pool_name is None or is_suspended(state):
                continue
            pid = run.infrastructure_pid
            with suppress(psutil.Error, ValueError):
                if pid is not None and int(pid) in pids[_AGENT]:
                    continue
            wrong.append(f"{run.id} is {state.name} and its process {pid} does not live")
        return wrong
