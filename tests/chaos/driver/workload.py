"""Work that goes on whatever is broken: by a seed, an action every second or so."""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from time import monotonic
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectException
from prefect.states import Cancelling, Suspended

from tests.chaos.driver.arena import Arena
from tests.chaos.driver.caller import Caller
from tests.chaos.driver.invariants import BROWSER_PROFILE
from tests.chaos.driver.ledger import Instruction, Ledger
from tests.support.control import queue
from tests.support.model_server import Answer, Exchange
from tests.support.model_server import running as model_running
from tests.support.profiles import profile
from tests.support.schedules import copy_agent, fire_every
from tests.support.site import Visit
from tests.support.site import running as site_running
from tests.support.sse import Sent, events
from tests.support.steady_model import reads_table
from tests.support.tasks import body, unfinished
from tests.support.web import pages
from vibesurf_blocks.prefect_api.states import is_suspended

ACTIONS = {
    "submit": 8,
    "race": 3,
    "enqueue": 8,
    "custom_run": 2,
    "pause": 3,
    "resume": 3,
    "instruct": 10,
    "stop": 1,
    "cancel": 1,
    "suspend": 1,
    "resume_in_the_ui": 1,
    "batch": 1,
    "follow": 3,
    "bad_input": 3,
    "traverse": 1,
    "browse": 1,
    "loose": 0.4,
}
"""What is done, by how often."""

SECRET = "chaos-secret-9f3a77-told-to-nobody"
"""In the key of a profile and in the environment of tools."""

_PAUSE_SECONDS = (0.1, 0.6)
_PAGE_SECONDS = 0.15
_AT_ONCE = 12
_WAITING = 6
_RESUME_SECONDS = 3.0
_EVERY_SECONDS = 40.0
_FOLLOW_SECONDS = 150.0
_SENTENCE = "Mind the sentence number {} of {}."
_SENTENCES = re.compile(r"Mind the sentence number \d+ of \d+\.")
_ERRORS = (httpx.HTTPError, PrefectException, TimeoutError, OSError)

BAD: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/tasks/submit", {}),
    ("POST", "/tasks/submit", body("x") | {"session_id": "../x"}),
    ("POST", "/tasks/submit", body("x") | {"agent_mode": "clever"}),
    ("POST", "/tasks/submit", body("x") | {"mcp_server_config": "no object"}),
    ("POST", "/tasks/add-new-task", {"reason": "  "}),
    ("GET", "/tasks?limit=0", None),
    ("GET", "/tasks?cursor=none-of-ours", None),
    ("GET", "/tasks/none-of-ours", None),
    ("POST", "/schedule", {"flow_id": "agent", "cron_expression": "0 0 30 2 *"}),
    ("POST", "/schedule", {"flow_id": "nothing-here", "cron_expression": "* * * * *"}),
    ("POST", "/tasks/batch", {"session_id": "s", "items": []}),
    ("GET", "/no/such/route", None),
)
"""What is to be refused with a 4xx and a sentence."""


class Workload:
    """The work. Begin and end it as a context; `run` in between.

    Attributes:
        ledger: What was asked and answered.
    """

    def __init__(self, arena: Arena, seed: int, actions: Collection[str]) -> None:
        self.ledger = Ledger(secrets=[SECRET])
        self._arena = arena
        self._stack = arena.stack
        self._seed = seed
        self._chance = random.Random(f"work {seed}")
        self._weights = {name: often for name, often in ACTIONS.items() if name in actions}
        self._numbers = count(1)
        self._opened = AsyncExitStack()
        self._doing: set[asyncio.Task[None]] = set()
        self._paused_at: dict[str, float] = {}
        self._schedules: list[tuple[UUID, UUID]] = []

    async def __aenter__(self) -> Self:
        enter = self._opened.enter_async_context
        self._http = await enter(self._stack.http())
        self.api = Caller(self._http, self.ledger)
        self.prefect: PrefectClient = await enter(self._stack.prefect())
        self._site = self._opened.enter_context(site_running())
        model = self._opened.enter_context(model_running())
        model.otherwise = self._noting(reads_table(pages(self._site)))
        model.checks = False
        await enter(profile(self.prefect, BROWSER_PROFILE, base_url=model.url, api_key=SECRET))
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self._doing:
            one.cancel()
        await asyncio.gather(*self._doing, return_exceptions=True)
        with suppress(*_ERRORS):  # its profile went with the database, where that is gone
            await self._opened.aclose()

    async def schedule(self) -> None:
        """Give two deployments a schedule: an interval in Prefect, a cron through the API."""
        deployment = await copy_agent(self.prefect, "chaos-interval", self._task(1))
        first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=20)
        made = await fire_every(self.prefect, deployment, _EVERY_SECONDS, first, "chaos")
        self._schedules.append((deployment, made.id))
        self.ledger.schedules["chaos-interval"] = (deployment, first, _EVERY_SECONDS)
        asked = {
            "flow_id": "chaos-cron",
            "cron_expression": "* * * * *",
            "timezone": "UTC",
            "task": body(self._task(1), session_id="chaos-cron"),
        }
        answer = await self.api.surely("POST", "/schedule", asked)
        assert answer is not None
        assert answer.is_success, answer.text
        minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        found = await self.prefect.read_deployment_by_name("agent-run/chaos-cron")
        self._schedules += [(found.id, one.id) for one in found.schedules]
        self.ledger.schedules["chaos-cron"] = (found.id, minute, 60.0)

    async def run(self, until: asyncio.Event) -> None:
        """Act until told to end; what was begun is brought to an end."""
        resuming = asyncio.create_task(self._resume_what_rests(until))
        while not until.is_set():
            name = self._chance.choices(list(self._weights), list(self._weights.values()))[0]
            number, pause = next(self._numbers), self._chance.uniform(*_PAUSE_SECONDS)
            chance = random.Random(f"{name} {self._seed} {number}")
            if len(self._doing) < _AT_ONCE:
                self._start(name, number, chance)
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), pause)
        await resuming
        if self._doing:
            await asyncio.wait(self._doing, timeout=90)

    async def stop_schedules(self) -> datetime:
        """Let the schedules fire no more; the moment from which nothing is expected of them."""
        for deployment, schedule in self._schedules:
            while True:
                with suppress(*_ERRORS):
                    await self.prefect.update_deployment_schedule(
                        deployment, schedule, active=False
                    )
                    break
                await asyncio.sleep(0.5)
        return datetime.now(UTC)

    async def resume_all(self) -> None:
        """Let everything that rests go on, so that it can end."""
        for run in await unfinished(self.prefect):
            if run.state is not None and run.state.is_paused():
                await self.prefect.resume_flow_run(run.id)

    def _start(self, name: str, number: int, chance: random.Random) -> None:
        act: Callable[[int, random.Random], Awaitable[None]] = getattr(self, f"_{name}")
        self.ledger.actions[name] += 1

        async def done() -> None:
            try:
                await act(number, chance)
            except _ERRORS as error:
                self.ledger.actions[f"lost: {type(error).__name__}"] += 1

        task = asyncio.create_task(done(), name=f"{name}-{number}")
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    # ------------------------------------------------------------------ what is to be read

    def _task(self, size: int, held: float = _PAGE_SECONDS) -> str:
        """A task that reads so many new pages, each answered after a moment."""
        number = next(self._numbers)
        return "Read " + " ".join(self._page(f"/w{number}-{page}", held) for page in range(size))

    def _page(self, path: str, held: float) -> str:
        text = f"<html><title>{path}</title><body><p>Text of {path}.</p></body></html>".encode()

        def answer(visit: Visit) -> None:
            self._site.closing.wait(held)
            visit.answer(text)

        self._site.pages[path] = answer
        return self._site.url(path)

    def _noting(self, answer: Answer) -> Answer:
        """Note which instructions the model is shown."""

        def noting(exchange: Exchange) -> None:
            self.ledger.shown.update(_SENTENCES.findall(exchange.asked.text))
            answer(exchange)

        return noting

    # ------------------------------------------------------------------ actions

    async def _ask_for(self, number: int, task: str, index: int = 0, **more: Any) -> str | None:
        """Submit with a key, as often as it takes; the id where it was accepted."""
        key = f"{self._seed}-{number}-{index}"
        asked = body(task, **{"session_id": f"chaos-{number % 4}", **more})
        answer = await self.api.surely("POST", "/tasks/submit", asked, **{"Idempotency-Key": key})
        if answer is None or not answer.is_success:
            return None
        said = answer.json()
        if not said["success"]:
            self.ledger.actions[said.get("error", "slot taken")] += 1
            return None
        self.ledger.accepted[key] = str(said["task_id"])
        return str(said["task_id"])

    async def _submit(self, number: int, chance: random.Random) -> None:
        await self._ask_for(number, self._task(chance.randint(1, 6)))

    async def _race(self, number: int, chance: random.Random) -> None:
        tasks = [self._task(1, held=1.0) for _ in range(chance.randint(2, 5))]
        await asyncio.gather(*(self._ask_for(number, one, at) for at, one in enumerate(tasks)))

    async def _enqueue(self, number: int, chance: random.Random) -> None:
        if await self._waiting() < _WAITING:
            priority = chance.choice(["high", "normal", "low"])
            task = self._task(chance.randint(1, 6))
            await self._ask_for(number, task, on_busy="enqueue", priority=priority)

    async def _custom_run(self, number: int, chance: random.Random) -> None:
        if await self._waiting() < _WAITING:
            task_id = await queue(self.prefect, self._task(1), f"chaos-{number % 4}")
            self.ledger.accepted[f"ui-{number}"] = task_id

    async def _browse(self, number: int, chance: random.Random) -> None:
        if await self._waiting() < _WAITING:
            more: dict[str, Any] = {"llm_profile_name": BROWSER_PROFILE, "on_busy": "enqueue"}
            await self._ask_for(number, "Read the prices", session_id="chaos-browser", **more)

    async def _batch(self, number: int, chance: random.Random) -> None:
        if await self._waiting() >= _WAITING:
            return
        items = [self._task(1) for _ in range(chance.randint(2, 3))]
        asked = {"session_id": "chaos-batch", "items": items}
        key = f"{self._seed}-batch-{number}"
        answer = await self.api.surely("POST", "/tasks/batch", asked, **{"Idempotency-Key": key})
        if answer is not None and answer.is_success and answer.json()["success"]:
            self.ledger.batches[answer.json()["batch_id"]] = len(items)

    async def _pause(self, number: int, chance: random.Random) -> None:
        await self.api.once("POST", "/tasks/pause", {"reason": f"lunch {number}"})

    async def _resume(self, number: int, chance: random.Random) -> None:
        await self.api.once("POST", "/tasks/resume")

    async def _instruct(self, number: int, chance: random.Random) -> None:
        task_id = await self._active()
        if task_id is None:
            return
        sentence = _SENTENCE.format(number, self._seed)
        path = f"/tasks/{task_id}/add-new-task"
        answer = await self.api.once("POST", path, {"reason": sentence})
        if answer is not None and answer.is_success:
            kept = "kept" in answer.json()["message"]
            self.ledger.instructions.append(Instruction(task_id, sentence, kept))

    async def _stop(self, number: int, chance: random.Random) -> None:
        task_id = await self._active()
        if task_id is not None:
            self.ledger.stopped.add(task_id)
            await self.api.once("POST", f"/tasks/{task_id}/stop", {"reason": f"enough {number}"})

    async def _cancel(self, number: int, chance: random.Random) -> None:
        run = self._any(await unfinished(self.prefect), chance)
        if run is not None:
            self.ledger.stopped.add(str(run.id))
            await self.prefect.set_flow_run_state(run.id, Cancelling(message="Cancelled by hand"))

    async def _suspend(self, number: int, chance: random.Random) -> None:
        running = [
            run
            for run in await unfinished(self.prefect)
            if run.state is not None and run.state.is_running() and run.work_pool_name is not None
        ]
        run = self._any(running, chance)
        if run is not None:
            self.ledger.suspended.add(str(run.id))
            suspended: State[Any] = Suspended(timeout_seconds=600)
            await self.prefect.set_flow_run_state(run.id, suspended, force=True)

    async def _resume_in_the_ui(self, number: int, chance: random.Random) -> None:
        resting = [
            run
            for run in await unfinished(self.prefect)
            if run.state is not None and run.state.is_paused()
        ]
        run = self._any(resting, chance)
        if run is not None:
            await self.prefect.resume_flow_run(run.id)

    async def _loose(self, number: int, chance: random.Random) -> None:
        """A run in plain Python, which no worker started."""
        program = [sys.executable, "-m", "tests.support.loose_run", self._task(4, held=0.5)]
        process = self._stack.open(*program)
        with suppress(TimeoutError):
            async with asyncio.timeout(120):
                await asyncio.to_thread(process.wait)

    async def _bad_input(self, number: int, chance: random.Random) -> None:
        method, path, asked = chance.choice(BAD)
        answer = await self.api.once(method, path, asked)
        if answer is None or answer.status_code in {503, 504}:
            return
        fine = 400 <= answer.status_code < 500 and bool(answer.json().get("detail"))
        if not fine:
            self.ledger.wrong(8, f"{method} {path} {asked} -> {answer.status_code} {answer.text}")

    async def _traverse(self, number: int, chance: random.Random) -> None:
        """Ask for a file outside the workspace, which lies beside the home for that."""
        planted = self._arena.folder / "planted"
        planted.write_text(SECRET)
        path = chance.choice([str(planted), "../../../../planted", f"uploads/../../../../{number}"])
        asked = body(self._task(1), upload_files_path=path, on_busy="enqueue")
        answer = await self.api.once("POST", "/tasks/submit", asked)
        if answer is not None and answer.is_success and answer.json()["success"]:
            self.ledger.wrong(7, f"upload_files_path {path} was accepted: {answer.text}")

    async def _follow(self, number: int, chance: random.Random) -> None:
        """Follow a task to its end, however often the stream is cut."""
        task_id = await self._active()
        if task_id is None:
            return
        got: list[Sent] = []
        end = monotonic() + _FOLLOW_SECONDS
        while monotonic() < end and not (got and got[-1].kind == "end"):
            try:
                last = got[-1].id if got else None
                async for one in events(self._stack.api, task_id, last):
                    got.append(one)
                    for secret in self.ledger.secrets:
                        if secret in str(one.data):
                            self.ledger.wrong(6, f"an event of {task_id} tells a secret")
            except (AssertionError, *_ERRORS):
                await asyncio.sleep(0.5)
        ids = [one.id for one in got]
        steps = [one.data["number"] for one in got if one.kind == "step"]
        if len(ids) != len(set(ids)) or steps != sorted(set(steps)):
            self.ledger.wrong(3, f"events of {task_id} came twice or not in order: {ids} {steps}")
        if got and got[-1].kind == "end":
            self.ledger.follows += 1
            if steps and steps != list(range(1, len(steps) + 1)):
                self.ledger.wrong(3, f"steps of {task_id} are missing: {steps}")

    # ------------------------------------------------------------------ what there is

    async def _active(self) -> str | None:
        answer = await self.api.once("GET", "/tasks/status")
        if answer is None or not answer.is_success:
            return None
        active = answer.json()["active_task"]
        return str(active["task_id"]) if active else None

    async def _waiting(self) -> int:
        return len(await unfinished(self.prefect))

    def _any(self, runs: list[FlowRun], chance: random.Random) -> FlowRun | None:
        runs = sorted(runs, key=lambda run: str(run.expected_start_time))
        return chance.choice(runs) if runs else None

    async def _resume_what_rests(self, until: asyncio.Event) -> None:
        """Nothing rests for long, or the work would stand still."""
        while not until.is_set():
            with suppress(*_ERRORS):
                await self._resume_the_tired()
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), 1.0)

    async def _resume_the_tired(self) -> None:
        now = monotonic()
        resting = {
            str(run.id): run
            for run in await unfinished(self.prefect)
            if run.state is not None and run.state.is_paused()
        }
        self._paused_at = {one: self._paused_at.get(one, now) for one in resting}
        for task_id, since in self._paused_at.items():
            if now - since > _RESUME_SECONDS:
                if is_suspended(resting[task_id].state):
                    await self.prefect.resume_flow_run(UUID(task_id))
                else:
                    await self.api.once("POST", f"/tasks/{task_id}/resume")
