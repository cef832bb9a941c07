"""What a run has to see to where its agent works elsewhere: for other engines, nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from vibesurf_blocks.engines.protocol import Engine, Remote
from vibesurf_blocks.errors import EngineError

if TYPE_CHECKING:
    from vibesurf_blocks.run.control import Control

logger = logging.getLogger(__name__)

_LEAVE_SECONDS = 10.0


class Elsewhere:
    """The agent of a run as far as it works on another machine."""

    def __init__(self, engine: Engine, control: Control) -> None:
        self._remote = engine if isinstance(engine, Remote) else None
        self._control = control

    async def rest(self, reason: str | None) -> None:
        """Bring it to rest.

        Raises:
            EngineError: It does not rest.
        """
        if self._remote is not None:
            await self._remote.rest(reason)

    async def wake(self) -> None:
        """Let it go on.

        Raises:
            EngineError: It does not go on.
        """
        if self._remote is not None:
            await self._remote.wake()

    async def leave(self) -> None:
        """Bring it to rest because this process ends, as well as can be."""
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self.rest("The run was suspended.")
        except (EngineError, TimeoutError) as error:
            logger.warning("The agent goes on elsewhere while its run is suspended: %s", error)

    async def end(self) -> str | None:
        """End it with its run; why it may go on all the same, None where it does not."""
        if self._remote is not None:
            try:
                await self._remote.end()
            except EngineError as error:
                return error.message
        return None

    @property
    def is_remote(self) -> bool:
        """Whether it works elsewhere at all."""
        return self._remote is not None

    @asynccontextmanager
    async def hurried(self) -> AsyncIterator[None]:
        """Let a step of it end soon once somebody waits to be heeded between steps."""
        if self._remote is None:
            yield
            return
        watching = asyncio.create_task(self._hurry(self._remote), name="hurry")
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _hurry(self, remote: Remote) -> None:
        control = self._control
        while not (control.commands or control.suspended):
            control.changed.clear()
            await control.changed.wait()
        remote.hurry()
