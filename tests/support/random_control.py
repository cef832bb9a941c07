"""Random control commands to one run after another; what must hold is checked all the time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import httpx
import psutil
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelling, Suspended

from tests.support.book import Book
from tests.support.control import ask, pid_of, queue, run_of
from tests.support.eventually import eventually
from tests.support.site import Site
from tests.support.stack import LiveStack
from tests.support.tasks import Json, end_all, ends, row_of, submit
from vibesurf_blocks.prefect_api.runs import in_states
from vibesurf_blocks.prefect_api.states import SLOT_STATES, holds_slot, status_of
from vibesurf_blocks.tasks import Status

T = TypeVar("T")

PAGES = 5
_AGREE_SECONDS = 10.0  # 1 s where nothing else uses the machine
WHAT = [
    "let_go",
    *["pause"] * 3,
    *["resume"] * 3,
    *["instruct"] * 4,
    "press_pause_in_the_ui",
    *["press_resume_in_the_ui"] * 2,
    "kill",
    "queue_another",
    "cancel_what_waits",
    "stop",
]
_sentences = itertools.count(1)


class RandomControl(RuleBasedStateMachine):
    """One run of five pages, asked for this and that; a second one may wait for the slot.

    A test makes a subclass with these set.

    Attributes:
        stack: The stack to work on.
        site: Where the pages are.
        runner: Runs what is asynchronous.
        api: Client of the REST API, opened in the runner's loop.
        prefect: Client of Prefect, likewise.
        ended: Rows of the runs that have ended.
        asked: How many commands were given.
    """

    stack: ClassVar[LiveStack]
    site: ClassVar[Site]
    runner: ClassVar[asyncio.Runner]
    api: ClassVar[httpx.AsyncClient]
    prefect: ClassVar[PrefectClient]
    ended: ClassVar[dict[str, Json]]
    asked: ClassVar[list[str]]

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(self.site, PAGES)
        self.other = Book(self.site, 1)
        self.other.let_all()
        self.task_id = ""
        self.second: str | None = None
        self.seen: list[str] = []
        self.kept: list[str] = []
        self.kills = 0

    @initialize(early=st.booleans())
    def begin(self, early: bool) -> None:
        """Submit; where it is early, the first command comes before the first step."""
        self.task_id = self._do(submit(self.api, self.book.task))
        if not early:
            self._do(self.book.until_asked(1))

    @rule(what=st.sampled_from(WHAT))
    def give(self, what: str) -> None:
        """Do one thing; one rule for all, so that none is left out of a run."""
        getattr(self, what)()

    def let_go(self) -> None:
        """Answer the page that is held, and with it the next step begins."""
        self.book.let(*range(1, 1 + min(PAGES, sum(map(bool, self.book.asked)))))

    def pause(self) -> None:
        self._ask("pause", "Wait")

    def resume(self) -> None:
        self._ask("resume", None)

    def instruct(self) -> None:
        sentence = f"Mind the sentence number {next(_sentences)}."
        answer = self._ask("add-new-task", sentence)
        if answer.status_code == httpx.codes.OK:
            kept = "kept" in answer.json()["message"]
            (self.kept if kept else self.seen).append(sentence)

    def press_pause_in_the_ui(self) -> None:
        async def press() -> None:
            state = (await run_of(self.prefect, self.task_id)).state
            if state is not None and state.is_running():
                suspended: State[Any] = Suspended(timeout_seconds=300)
                await self.prefect.set_flow_run_state(UUID(self.task_id), suspended, force=True)

        self._do(press())
        self.asked.append("UI pause")

    def press_resume_in_the_ui(self) -> None:
        async def press() -> None:
            state = (await run_of(self.prefect, self.task_id)).state
            if state is not None and state.is_paused():
                await self.prefect.resume_flow_run(UUID(self.task_id))

        self._do(press())
        self.asked.append("UI resume")

    def kill(self) -> None:
        async def kill() -> bool:
            run = await run_of(self.prefect, self.task_id)
            # What happened so far must not choose the rules, or hypothesis cannot repeat them.
            if (
                self.kills == 2
                or run.state is None
                or not holds_slot(run.state)
                or run.state.is_pending()
            ):
                return False
            try:
                psutil.Process(await pid_of(self.prefect, self.task_id)).kill()
            except psutil.NoSuchProcess:
                return False
            return True

        self.kills += self._do(kill())
        self.asked.append("SIGKILL")

    def queue_another(self) -> None:
        if self.second is None:
            self.second = self._do(queue(self.prefect, self.other.task, "s-second"))
        self.asked.append("queue")

    def stop(self) -> None:
        if len(self.seen) + len(self.kept) > 1:
            self._ask("stop", "Enough")

    def cancel_what_waits(self) -> None:
        async def cancel() -> None:
            if self.second is not None:
                state: State[Any] = Cancelling(message="Not today")
                await self.prefect.set_flow_run_state(UUID(self.second), state)

        self._do(cancel())
        self.asked.append("UI cancel")

    @invariant()
    def never_two_agents_at_once(self) -> None:
        async def holders() -> int:
            runs = await self.prefect.read_flow_runs(flow_run_filter=in_states(SLOT_STATES))
            return sum(
                holds_slot(run.state) for run in runs if run.state_type is not StateType.PENDING
            )

        assert self._do(holders()) <= 1

    @invariant()
    def the_row_says_what_prefect_says(self) -> None:
        async def agreed() -> bool:
            run, row = await asyncio.gather(
                run_of(self.prefect, self.task_id), row_of(self.api, self.task_id)
            )
            return row is not None and row["status"] == status_of(run.state)

        if self.task_id:
            self._do(eventually(agreed, timeout=_AGREE_SECONDS))

    @invariant()
    def no_page_is_read_twice(self) -> None:
        # Who is killed has one page in its hands, which is asked for again.
        assert sum(max(0, times - 1) for times in self.book.asked) <= self.kills

    @invariant()
    def what_ended_stays(self) -> None:
        async def same() -> None:
            for task_id, row in list(self.ended.items())[-2:]:
                assert await row_of(self.api, task_id) == row

        self._do(same())

    def teardown(self) -> None:
        """Bring the run to its end and look at what it has to show."""
        if self.task_id:
            self._do(self._finish())

    async def _finish(self) -> None:
        self.book.let_all()

        async def over() -> bool:
            state = (await run_of(self.prefect, self.task_id)).state
            if state is not None and state.is_paused():
                await ask(self.api, "resume", self.task_id)
            return state is not None and state.is_final()

        await eventually(over, timeout=60)
        row = await ends(self.api, self.task_id)
        said = row["task_result"] or ""
        assert row["status"] in {Status.COMPLETED, Status.STOPPED}, row
        assert all(said.count(sentence) == 1 for sentence in self.seen), (self.seen, said)
        if row["status"] == Status.COMPLETED:
            assert all(times for times in self.book.asked)
            assert all(said.count(sentence) == 1 for sentence in self.kept), (self.kept, said)
        self.no_page_is_read_twice()
        if self.second is not None:
            self.ended[self.second] = await ends(self.api, self.second)
        await end_all(self.stack)
        self.ended[self.task_id] = await ends(self.api, self.task_id)

    def _ask(self, operation: str, text: str | None) -> httpx.Response:
        """Ask; the pages that the agent waits for meanwhile are answered, so that it can heed."""

        async def asked() -> httpx.Response:
            asking = asyncio.create_task(ask(self.api, operation, self.task_id, text))

            async def answered() -> bool:
                self.book.let(*(page for page, times in enumerate(self.book.asked, 1) if times))
                return asking.done()

            await eventually(answered, timeout=60)
            return asking.result()

        answer = self._do(asked())
        assert answer.status_code in {200, 400, 504}, answer.text
        self.asked.append(f"{operation} {answer.status_code}")
        return answer

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)


def drive(stack: LiveStack, site: Site, *, runs: int, commands: int) -> list[str]:
    """Give random commands to so many runs; what was asked."""
    with asyncio.Runner() as runner:
        api, prefect = stack.http(), stack.prefect()
        runner.run(prefect.__aenter__())
        asked: list[str] = []
        machine = type(
            "Driven",
            (RandomControl,),
            {
                "stack": stack,
                "site": site,
                "runner": runner,
                "api": api,
                "prefect": prefect,
                "ended": {},
                "asked": asked,
            },
        )
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=runs,
                    stateful_step_count=commands,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(end_all(stack))
            runner.run(api.aclose())
            runner.run(prefect.__aexit__(None, None, None))
    return asked
