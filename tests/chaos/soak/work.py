"""Ordinary work for one host: task after task, some of them paused, told more or stopped."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, suppress
from itertools import count
from time import monotonic
from typing import Self

import httpx

from tests.support.control import ask
from tests.support.model_server import ModelServer
from tests.support.model_server import running as model_running
from tests.support.profiles import profile
from tests.support.schedules import create
from tests.support.site import Site
from tests.support.site import running as site_running
from tests.support.sse import everything
from tests.support.stack import LiveStack
from tests.support.steady_model import reads_table
from tests.support.tasks import body, ends
from tests.support.web import Web, pages
from vibesurf_blocks.tasks import Status

SESSIONS = 3
BROWSER_EVERY = 10
CONTROL_EVERY = 4
STOP_EVERY = 20
PAGES = 3
_TASK_SECONDS = 120.0
_BUSY_SECONDS = 0.25
_PROFILE = "soak"


class Work:
    """Submits one task after another for as long as it is asked to.

    Attributes:
        ended: How many ended how; a schedule's own runs are not among them.
        refused: Submits that were refused because a scheduled task had the slot.
        wrong: What went otherwise than it should have.
    """

    def __init__(self, stack: LiveStack) -> None:
        self._stack = stack
        self._opened = AsyncExitStack()
        self._numbers = count(1)
        self.ended: Counter[str] = Counter()
        self.refused = 0
        self.wrong: list[str] = []

    async def __aenter__(self) -> Self:
        enter = self._opened.enter_async_context
        self._api = await enter(self._stack.http())
        self._prefect = await enter(self._stack.prefect())
        self._site: Site = self._opened.enter_context(site_running())
        self._model: ModelServer = self._opened.enter_context(model_running())
        self._web: Web = pages(self._site)
        self._model.otherwise = reads_table(self._web)
        self._reader = "Read " + " ".join(
            self._site.html(f"/soak-{page}", f"<p>Text of page {page}.</p>")
            for page in range(1, PAGES + 1)
        )
        await enter(profile(self._prefect, _PROFILE, base_url=self._model.url))
        scheduled = {**body(self._reader), "session_id": "soak-scheduled"}
        await create(self._api, "soak", cron_expression="* * * * *", task=scheduled)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def until(self, end: float) -> None:
        """Work until the monotonic clock shows a time."""
        while monotonic() < end:
            number = next(self._numbers)
            try:
                await self._one(number)
            except (AssertionError, TimeoutError, httpx.HTTPError) as error:
                self.wrong.append(f"task {number}: {error!r}"[:1_000])
                print(self.wrong[-1], flush=True)
                # A pause that was obeyed after its 504 would hold the slot for good.
                with suppress(httpx.HTTPError):
                    await ask(self._api, "stop", None, "went wrong")
                await asyncio.sleep(_BUSY_SECONDS)

    async def _one(self, number: int) -> None:
        browser = number % BROWSER_EVERY == 0
        asked = body(
            "Read the prices" if browser else self._reader,
            session_id=f"soak-{number % SESSIONS}",
            llm_profile_name=_PROFILE if browser else "builtin",
        )
        answer = await self._api.post("/tasks/submit", json=asked, timeout=60)
        said = answer.raise_for_status().json()
        if not said["success"]:
            # The minute's scheduled task has the slot.
            assert "active_task" in said, said
            self.refused += 1
            await asyncio.sleep(_BUSY_SECONDS)
            return
        task_id = str(said["task_id"])
        following = asyncio.create_task(everything(self._stack.api, task_id))
        if number % STOP_EVERY == 0:
            await ask(self._api, "stop", task_id, "enough")
        elif number % CONTROL_EVERY == 0:
            # Any of them may come too late for a task this short; what counts is what stays.
            for operation, text in (("pause", "wait"), ("resume", None), ("add-new-task", "Mind.")):
                await ask(self._api, operation, task_id, text)
        row = await ends(self._api, task_id, _TASK_SECONDS)
        told = await following
        assert told[-1].kind == "end", told
        self.ended[row["status"]] += 1
        self._model.requests.clear()  # the driver's own memory
        assert row["status"] in {Status.COMPLETED, Status.STOPPED}, row
