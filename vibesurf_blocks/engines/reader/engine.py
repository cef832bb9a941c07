"""The reader engine: reads the pages a task names, one a step, with neither model nor key."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError

from vibesurf_blocks.engines.protocol import Checkpoint, EngineContext, Outcome, Step
from vibesurf_blocks.engines.reader import digest
from vibesurf_blocks.engines.reader.extract import NothingToReadError, extract
from vibesurf_blocks.engines.reader.fetch import Fetched, Fetcher, FetchError, RedirectDeclinedError
from vibesurf_blocks.engines.reader.limits import PAGES_CAP
from vibesurf_blocks.engines.reader.page import Page
from vibesurf_blocks.engines.reader.report import report
from vibesurf_blocks.engines.reader.state import State
from vibesurf_blocks.engines.reader.text import clean, short_url, shorten
from vibesurf_blocks.engines.reader.urls import find, stays_on_site
from vibesurf_blocks.errors import EngineError

_NAME = 120
_NAME_URL = 70


class ReaderEngine:
    """Reads the http and https pages named in the task, and links on the same site if asked to.

    'up to N pages' (or 'at most N pages', 'N pages') makes it follow links, breadth-first and in
    the order of the page, until N pages were come to; 'follow links' means
    `limits.FOLLOW_DEFAULT`. Never more than `limits.PAGES_CAP` and `Settings.max_steps`. Given the
    same pages, a run that was interrupted and restored has the result of one that was not.

    Args:
        context: The task, and the settings with its limits.
    """

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._state = State(most=min(PAGES_CAP, context.settings.max_steps))
        self._restored = False
        self._fetcher: Fetcher | None = None

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where the checkpoint was taken.

        Raises:
            EngineError: It is none of this engine's.
        """
        try:
            self._state = State.model_validate(checkpoint)
        except ValidationError as error:
            msg = "The checkpoint was not made by this version of the reader; run the task anew."
            raise EngineError(msg) from error
        self._restored = True

    async def open(self) -> None:
        """Find out what the task asks for.

        Raises:
            EngineError: It names no URL.
        """
        task = self._context.task.task_description
        if not self._restored and not self._state.begin(task):
            msg = (
                "The task names no page to read. Write the addresses out in full, for example: "
                "'Read https://example.org/ and follow links, up to 5 pages.'"
            )
            raise EngineError(msg)

    async def step(self) -> Step:
        """Read the next page."""
        state = self._state
        following = state.peek()
        if following is None:
            return Step(name="Nothing left to read", progress=1.0, done=True)
        url, named = following
        visited: tuple[str, ...] = ()
        onward: list[str] = []
        try:
            fetched = await self._fetch(url, named=named)
            visited = fetched.visited
            extracted = await asyncio.to_thread(extract, url, fetched)
            page, onward = extracted.page, extracted.onward
        except RedirectDeclinedError as declined:
            page = Page(url=url, outcome="skipped", reason=declined.reason)
        except FetchError as failed:
            page = Page(url=url, outcome="failed", reason=failed.reason, status=failed.status)
        except NothingToReadError as nothing:
            page = Page(url=url, outcome="failed", reason=str(nothing), status=fetched.status)
        # From here on nothing is awaited: a step counts wholly or not at all.
        kept = state.add(page, visited, onward)
        return Step(
            name=step_name(kept),
            progress=state.progress,
            done=state.peek() is None,
            ok=kept.outcome != "failed",
        )

    async def _fetch(self, url: str, *, named: bool) -> Fetched:
        if self._fetcher is None:
            # Credentials are taken from the task, which is at hand on a restart, and never kept.
            credentials = find(self._context.task.task_description).credentials
            self._fetcher = Fetcher(self._context.settings, credentials)

        def decline(target: str) -> str | None:
            shown = short_url(target, 120)
            if self._state.knows(target):
                return f"leads to {shown}, which this run came to before"
            if not named and not stays_on_site(url, target):
                return f"leads to another site, {shown}"
            return None

        return await self._fetcher.get(url, decline)

    async def instruct(self, instruction: str) -> None:
        """Take in URLs and a number of pages from an instruction; it is noted in the result."""
        self._state.instruct(instruction)

    def checkpoint(self) -> Checkpoint:
        """The state after the last finished step, without any credentials."""
        return self._state.model_dump(mode="json")

    def outcome(self) -> Outcome:
        """The digest and the report so far."""
        return Outcome(
            result=digest.digest(self._state),
            report=report(self._context, self._state),
            error=digest.error(self._state),
        )

    async def close(self) -> None:
        """Close all connections."""
        fetcher, self._fetcher = self._fetcher, None
        if fetcher is not None:
            await fetcher.aclose()


def step_name(page: Page) -> str:
    """What a step did, as the heading of the timeline."""
    shown = short_url(page.url, _NAME_URL)
    if page.outcome == "failed":
        return clean(f"Failed {shown}: {page.reason}", _NAME)
    if page.outcome == "skipped":
        return clean(f"Skipped {shown}: {page.reason}", _NAME)
    if page.kind == "text":
        found = digest.count(page.words, "word")
    else:
        found = digest.count(page.link_count, "link")
    room = _NAME - len(f"Read {shown}: '', {found}")
    return f"Read {shown}: '{shorten(page.title, room)}', {found}"
