"""One feed of events for each followed task, however many clients follow it.

A feed reads Prefect when an event says that something happened, and now and then regardless. All
feeds of a process share one stream of Prefect's events. A feed is there for as long as it has
clients; nothing is kept for one that is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from uuid import UUID

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from prefect.exceptions import ObjectNotFound

from vibesurf_blocks.api.event_log import Cursor, EndEvent, EventLog
from vibesurf_blocks.prefect_api.artifacts import read_history
from vibesurf_blocks.prefect_api.hints import hints
from vibesurf_blocks.prefect_api.step_journal import StepJournal
from vibesurf_blocks.run.events import EVENT_PREFIX, STEP_EVENT

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from vibesurf_blocks.mirror.sync import Sync
    from vibesurf_blocks.tables.tasks import TaskStore

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 15.0
"""Seconds of silence after which a client is sent a comment."""

_PREFIXES: Final = ("prefect.flow-run.", EVENT_PREFIX)
# A step is told before it can be read; `published` follows.
_IGNORED: Final = frozenset({"prefect.flow-run.heartbeat", STEP_EVENT})
_LOOK_SECONDS = 5.0
_PACE_SECONDS = 0.2
_READ_SECONDS = 10.0
_RETRY_SECONDS = 0.5
_RECONNECT_MS = 1_000
_READS_AT_ONCE = 4


class Feed:
    """The events of one task, as far as they are known.

    Attributes:
        log: What is known.
        news: Set when more is known; then another event takes its place.
        closed: Whether nothing more will come because the API ends.
        clients: How many follow.
    """

    def __init__(
        self,
        task_id: str,
        client: PrefectClient,
        store: TaskStore,
        sync: Sync,
        reads: asyncio.Semaphore,
    ) -> None:
        self._task_id = task_id
        self._run_id = UUID(task_id)
        self._client = client
        self._store = store
        self._sync = sync
        self._reads = reads
        self._journal = StepJournal(client, self._run_id)
        self._state_id: UUID | None = None
        self._nudge = asyncio.Event()
        self._known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._follow(), name=f"feed-{task_id}")
        self.log = EventLog()
        self.news = asyncio.Event()
        self.closed = False
        self.clients = 0

    async def known(self) -> None:
        """Wait until the task was read for the first time.

        Raises:
            Exception: It could not be read.
        """
        await asyncio.shield(self._known)

    def nudge(self) -> None:
        """Have it look at once."""
        self._nudge.set()

    def close(self) -> None:
        """Let the clients go."""
        self.closed = True
        self._tell()

    async def stop(self) -> None:
        """Stop reading."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()

    async def _follow(self) -> None:
        while True:
            self._nudge.clear()
            wait = _LOOK_SECONDS
            try:
                async with self._reads, asyncio.timeout(_READ_SECONDS):
                    await self._read()
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                logger.debug(
                    "Task %s could not be read for its followers: %r", self._task_id, error
                )
                wait = _RETRY_SECONDS
                if not self._known.done():
                    self._known.set_exception(error)
                    self._known.exception()  # seen, even where nobody waits any more
            else:
                if not self._known.done():
                    self._known.set_result(None)
                self._tell()
            await asyncio.sleep(_PACE_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._nudge.wait(), wait)

    async def _read(self) -> None:
        """Read what happened; the state first, so that all that came before an end is seen."""
        log = self.log
        run = await self._run()
        state = run.state if run is not None else None
        moved = state is not None and state.id != self._state_id
        if run is not None and state is not None:
            if moved:
                states = await self._client.read_flow_run_states(self._run_id)
            if run.start_time is not None:  # before there is nothing else
                _, acks = await asyncio.gather(
                    self._journal.read(), read_history(self._client, self._run_id)
                )
                log.steps, log.acks = self._journal.notes, acks
            if moved:
                log.saw_states(states)
                self._state_id = state.id
        ended = state is None or state.is_final()
        if moved or not ended:
            log.end = None  # a run that Prefect retried may end again
        if ended and log.end is None:
            log.end = await self._end()

    async def _run(self) -> FlowRun | None:
        try:
            return await self._client.read_flow_run(self._run_id)
        except ObjectNotFound:
            return None

    async def _end(self) -> EndEvent | None:
        """How the task ended, after its row was written."""
        await self._sync.ids([self._run_id])
        row = await self._store.get(self._task_id)
        if row is None or not row.status.terminal:
            return None
        return EndEvent(
            status=row.status,
            error_message=row.error_message,
            report_path=row.report_path,
            at=row.completed_at or row.updated_at,
        )


class Feeds:
    """The feeds of this process."""

    def __init__(self, client: PrefectClient, store: TaskStore, sync: Sync) -> None:
        self._client = client
        self._store = store
        self._sync = sync
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)
        self._feeds: dict[str, Feed] = {}
        self._listener: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def clients(self) -> int:
        """How many follow any task."""
        return sum(feed.clients for feed in self._feeds.values())

    @asynccontextmanager
    async def follow(self, task_id: str) -> AsyncIterator[Feed]:
        """The feed of a task, for as long as the block runs."""
        feed = self._feeds.get(task_id)
        if feed is None:
            feed = Feed(task_id, self._client, self._store, self._sync, self._reads)
            self._feeds[task_id] = feed
            if self._closed:
                feed.close()
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="feeds-hints")
        feed.clients += 1
        try:
            yield feed
        finally:
            feed.clients -= 1
            if not feed.clients:
                del self._feeds[task_id]
                await feed.stop()
            if not self._feeds and self._listener is not None:
                listener, self._listener = self._listener, None
                listener.cancel()
                with suppress(asyncio.CancelledError):
                    await listener

    def close(self) -> None:
        """Let all clients go, because the API ends; safe to call twice."""
        self._closed = True
        for feed in self._feeds.values():
            feed.close()

    async def _listen(self) -> None:
        async for hint in hints(prefixes=_PREFIXES):
            if hint.run_id is None:
                for feed in self._feeds.values():
                    feed.nudge()
            elif hint.name not in _IGNORED and (found := self._feeds.get(str(hint.run_id))):
                found.nudge()


async def stream(feed: Feed, cursor: Cursor) -> AsyncIterator[bytes]:
    """What a client at this cursor is sent, until the task has ended."""
    yield format_sse_event(retry=_RECONNECT_MS)
    while True:
        news = feed.news
        for event in feed.log.after(cursor):
            cursor = event.cursor
            # ASCII: some clients take other characters for the end of a line.
            data = json.dumps(event.data.model_dump(mode="json"))
            yield format_sse_event(event=event.kind, data_str=data, id=str(cursor))
        if feed.closed or feed.log.complete(cursor):
            return
        try:
            await asyncio.wait_for(news.wait(), HEARTBEAT_SECONDS)
        except TimeoutError:
            yield KEEPALIVE_COMMENT
