"""Ends what a worker runs while Prefect does not hear from it, before others run it again.

A worker that was silent for `recovery.WORKER_SILENCE` is taken for dead, and its runs are started
elsewhere. It may be alive all the same, on a host whose network is cut or that stood still. So
while it runs something that another worker could run, it gives further signs of life, and once none
has arrived for `FENCE_SECONDS` it ends its processes. A single worker's processes go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Final

logger = logging.getLogger(__name__)

FENCE_SECONDS: Final = 9.5
"""Seconds without a sign of life that arrived after which a worker's processes are ended."""

_SIGN_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 4.0


class Fence:
    """Watches one worker's line to Prefect."""

    def __init__(
        self,
        sign: Callable[[], Awaitable[None]],
        at_risk: Callable[[], bool],
        end: Callable[[], int],
    ) -> None:
        """Watch from `start` on.

        Args:
            sign: Gives a sign of life; raises where it does not arrive.
            at_risk: Whether this worker runs something, and another could.
            end: Ends the processes; how many there were.
        """
        self._sign = sign
        self._at_risk = at_risk
        self._end = end
        self._heard = monotonic()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch; returns at once."""
        self._heard = monotonic()
        self._task = asyncio.create_task(self._watch(), name="worker-fence")

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            if self._at_risk():
                await self._look()
            else:
                self._heard = monotonic()
            await asyncio.sleep(_SIGN_SECONDS)

    async def _look(self) -> None:
        # First, as this host may just have stood still: each moment counts then.
        silent = monotonic() - self._heard
        if silent > FENCE_SECONDS and (ended := self._end()):
            logger.warning(
                "Prefect has not heard of this worker for %.0f s; ended %d runs here, as another "
                "worker may run them by now.",
                silent,
                ended,
            )
        begun = monotonic()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._sign()
        except Exception as error:  # noqa: BLE001 - whatever it is, it did not arrive
            logger.debug("A sign of life did not arrive: %r", error)
        else:
            self._heard = begun
