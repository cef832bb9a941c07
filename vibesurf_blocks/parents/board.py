"""Shows a parent's parts as one table that fills in, never more often than is useful."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import UUID

from vibesurf_blocks.prefect_api import parent_artifacts

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger(__name__)

_LEAST_SECONDS: Final = 1.0
_SHARE: Final = 20
"""How many times longer than a write the pause after it is at the least: long tables cost more."""


class Board:
    """The table artifact of one run, written in the background: nothing waits for it."""

    def __init__(self, client: PrefectClient, run_id: UUID, table: Callable[[], str]) -> None:
        """Show what `table` returns: rows as JSON."""
        self._client = client
        self._run_id = run_id
        self._table = table
        self._artifact: UUID | None = None
        self._shown: str | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to show; returns at once."""
        self._task = asyncio.create_task(self._keep(), name="show-table")
        self._wake.set()

    def changed(self) -> None:
        """Show what has changed, as soon as may be."""
        self._wake.set()

    async def close(self) -> None:
        """Show the last of it and stop."""
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self._show()

    async def _keep(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            begun = time.monotonic()
            await self._show()
            await asyncio.sleep(max(_LEAST_SECONDS, _SHARE * (time.monotonic() - begun)))

    async def _show(self) -> None:
        data = self._table()
        if data == self._shown:
            return
        try:
            if self._artifact is None:
                self._artifact = await parent_artifacts.put_table(self._client, self._run_id, data)
            else:
                await parent_artifacts.update(self._client, self._artifact, data)
            self._shown = data
        except Exception as error:  # noqa: BLE001 - a table is not worth a run
            logger.warning("The table of run %s could not be shown: %r", self._run_id, error)
