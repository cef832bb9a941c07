"""Wakes the worker: on events of its runs, at known due times, and now and then regardless."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from vibesurf_blocks.prefect_api.deployments import CHANGED_EVENT
from vibesurf_blocks.prefect_api.hints import hints

logger = logging.getLogger(__name__)

# Runs fall due under several names, and a slot comes free under several more.
_STATES = tuple(
    f"prefect.flow-run.{state}"
    for state in (
        "Scheduled",
        "AwaitingRetry",
        "AwaitingConcurrencySlot",
        "Resuming",
        "Late",
        "Cancelling",
        "Completed",
        "Failed",
        "TimedOut",
        "Crashed",
        "Cancelled",
        "Suspended",
    )
)
_NAMES = (*_STATES, CHANGED_EVENT)

_LEAST_SECONDS = 0.05
"""Between two looks that nothing but a run past its time asks for."""


class Waker:
    """Calls a function whenever there may be something to do.

    The function says when the next run falls due (UTC), or None where none is known.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[datetime | None]],
        *,
        poll_seconds: float,
        pool: str,
    ) -> None:
        """Wake at the latest after `poll_seconds`, and not for runs of other pools than `pool`."""
        self._look = look
        self._poll_seconds = poll_seconds
        self._pool = pool
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to watch; returns at once."""
        self._tasks = [
            asyncio.create_task(self._listen(), name="worker-hints"),
            asyncio.create_task(self._loop(), name="worker-looks"),
        ]

    def now(self) -> None:
        """Look as soon as possible."""
        self._wake.set()

    async def stop(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _listen(self) -> None:
        async for hint in hints(names=_NAMES):
            # Without a pool: events may have been missed, schedules changed, or a run outside of
            # all pools has left the workspace.
            if hint.pool in {None, self._pool}:
                self._wake.set()

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            due: datetime | None = None
            try:
                due = await self._look()
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                logger.warning("Looking for runs failed (%r); trying again.", error)
            wait = self._poll_seconds
            if due is not None:
                wait = min(wait, max(0.0, (due - datetime.now(UTC)).total_seconds()))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(wait, _LEAST_SECONDS))
