"""One chaos run: work, break, repair, count."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic

import httpx
import psutil
from prefect.exceptions import PrefectException

from tests.chaos.driver import book, invariants
from tests.chaos.driver.arena import Arena
from tests.chaos.driver.faults import Faults
from tests.chaos.driver.ledger import Violation
from tests.chaos.driver.plan import Planned
from tests.chaos.driver.repair import PROMISED_SECONDS, Repair
from tests.chaos.driver.rows import Rows
from tests.chaos.driver.table import Outcome
from tests.chaos.driver.workload import ACTIONS, Workload
from tests.support.eventually import eventually
from tests.support.tasks import unfinished
from vibesurf_blocks.prefect_api.labels import RECOVERIES
from vibesurf_blocks.tasks import Status

_PATIENCE_SECONDS = 90.0
_SETTLE_SECONDS = 180.0
_END_SECONDS = 10.0
_CALM_RUNS = 2
_CALM_SECONDS = 8.0
"""What is broken is to be at work: so many runs end between two bursts, in so long at the most."""

Say = Callable[[str], None]


class Run:
    """A run over one arena, whose stack is started."""

    def __init__(
        self,
        arena: Arena,
        outcome: Outcome,
        say: Say,
        *,
        promised: float = PROMISED_SECONDS,
        actions: Collection[str] | None = None,
    ) -> None:
        """Break a stack; a repair that takes longer than `promised` seconds is a violation.

        Meanwhile all `ACTIONS` are done, or those named.
        """
        self._actions = ACTIONS.keys() if actions is None else actions
        self._promised = promised
        self._arena = arena
        self._outcome = outcome
        self._say = say
        self._faults = Faults(arena)
        self._rows = Rows(arena.stack.home)
        self._lines: set[str] = set()
        self._begun = monotonic()

    async def run(
        self,
        plan: Iterable[list[Planned]],
        kills: int | None = None,
        minutes: float | None = None,
    ) -> None:
        """Break the stack until the plan is over, there were so many kills, or so much time."""
        self._rows.watch()
        async with Workload(self._arena, self._outcome.seed, self._actions) as work:
            repair = Repair(self._arena.stack, work.prefect, self._rows)
            await work.schedule()
            over = asyncio.Event()
            working = asyncio.create_task(work.run(over))
            try:
                await self._break(plan, kills, minutes, repair, work)
            finally:
                over.set()
                end = await work.stop_schedules()
                await working
            await self._settle(work)
            took, wrong = await repair.repaired(max(_PATIENCE_SECONDS, self._promised))
            if wrong:
                work.ledger.wrong(2, f"wrong {took:.0f} s after the last fault: {wrong}")
            self._outcome.minutes = (monotonic() - self._begun) / 60
            self._outcome.mended = repair.mended
            await self._count(work, end)
            self._outcome.take(work.ledger)
        await self._end()

    async def _break(
        self,
        plan: Iterable[list[Planned]],
        kills: int | None,
        minutes: float | None,
        repair: Repair,
        work: Workload,
    ) -> None:
        for burst in plan:
            if minutes is not None and monotonic() - self._begun > minutes * 60:
                break
            if kills is not None and self._outcome.kills >= kills:
                break
            await self._burst(burst)
            took, wrong = await repair.repaired(max(_PATIENCE_SECONDS, self._promised))
            self._outcome.repairs.append(took)
            self._look_at_processes()
            told = " ".join(fault.name for fault in burst)
            if took > self._promised:
                work.ledger.wrong(2, f"{took:.1f} s after {told} still wrong: {wrong or 'no more'}")
            seconds = monotonic() - self._begun
            self._say(
                f"{seconds / 60:5.1f} min {self._outcome.kills:4d} kills"
                f" {len(work.ledger.accepted):4d} accepted {len(work.ledger.violations):2d} wrong"
                f" | {took:4.1f} s after {told}{f': {wrong[0][:150]}' if wrong else ''}"
            )
            await self._work_goes_on()

    async def _work_goes_on(self) -> None:
        """Let agents work on a whole stack, so that the next burst meets them at work."""
        before = await self._ended()

        async def worked() -> bool:
            return await self._ended() >= before + _CALM_RUNS

        with suppress(TimeoutError):
            await eventually(worked, timeout=_CALM_SECONDS, pause=0.25)

    async def _ended(self) -> int:
        statuses = await asyncio.to_thread(self._rows.statuses)
        return sum(Status(status).terminal for status in statuses.values())

    async def _burst(self, burst: list[Planned]) -> None:
        lasting = []
        for fault in burst:
            await asyncio.sleep(fault.after)
            doing = asyncio.create_task(self._one(fault))
            if fault.is_kill:
                await doing
            else:
                lasting.append(doing)
        await asyncio.gather(*lasting)

    async def _one(self, fault: Planned) -> None:
        met = await self._faults.do(fault)
        (self._outcome.faults if met else self._outcome.missed)[fault.name] += 1

    def _look_at_processes(self) -> None:
        for one in self._arena.stack.processes():
            with suppress(psutil.Error):
                self._lines.add(" ".join(one.cmdline()))

    async def _settle(self, work: Workload) -> None:
        """Let everything that was begun come to its end."""
        deadline = monotonic() + _SETTLE_SECONDS
        left: list[str] = []
        while monotonic() < deadline:
            try:
                await work.resume_all()
                left = [f"{run.id} {run.state_name}" for run in await unfinished(work.prefect)]
                if not left:
                    return
            except (httpx.HTTPError, PrefectException) as error:
                left = [repr(error)]
            await asyncio.sleep(0.5)
        work.ledger.wrong(3, f"not ended {_SETTLE_SECONDS:.0f} s after all was over: {left}")

    async def _count(self, work: Workload, end: datetime) -> None:
        prefect, ledger, arena = work.prefect, work.ledger, self._arena
        settings = arena.stack.settings
        facts = await invariants.read_facts(prefect, settings.pools, datetime.now(UTC))
        statuses, details, changes = (
            self._rows.statuses(),
            self._rows.details(),
            self._rows.changes(),
        )
        found = [
            *invariants.double_slots(book.read(arena.book)),
            *await invariants.double_accepts(facts, prefect),
            *invariants.rows_differ(facts, statuses),
            *invariants.rows_without_run(facts, statuses),
            *invariants.forgotten(ledger, facts, details),
            *invariants.batches_wrong(ledger, facts),
            *invariants.occurrences_wrong(ledger, facts, end),
            *await invariants.terminal_left(changes, prefect, facts, ledger.suspended),
            *await invariants.secrets_told(ledger, arena.folder, prefect, facts, self._lines),
        ]
        self._outcome.violations += found
        self._outcome.runs = Counter(statuses.values())
        self._outcome.recoveries = sum(
            int(str(run.labels.get(RECOVERIES, 0))) for run in facts.runs.values()
        )
        self._outcome.occurrences = sum(bool(run.auto_scheduled) for run in facts.runs.values())

    async def _end(self) -> None:
        try:
            self._outcome.ended = await asyncio.to_thread(self._arena.stack.stop)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a violation
            self._outcome.violations.append(Violation(9, f"on SIGTERM: {error!r}"[:600]))
        if self._outcome.ended > _END_SECONDS:
            took = f"{self._outcome.ended:.1f} s"
            self._outcome.violations.append(Violation(9, f"SIGTERM took {took}"))
        arena = self._arena
        self._outcome.violations += invariants.outside(arena.user, arena.temporary, arena.folder)
