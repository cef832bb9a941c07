"""Whether a profile's model answers: asked once for all who wait, and not again for minutes.

Of a profile that names a VibeSurf backend the backend is asked, for every submit: it costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.models.backends import check_backend, is_backend
from vibesurf_blocks.models.check import check_model
from vibesurf_blocks.models.profiles import Found, find_profile, usable

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from vibesurf_blocks.settings import Settings

logger = logging.getLogger(__name__)

_READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check.

    Attributes:
        problem: Why the profile cannot be used, None where it can.
        asked: Whether the model was asked now; it may have taken seconds.
    """

    problem: str | None
    asked: bool


class ModelCheck:
    """Checks profiles for submits; a good answer counts until the block is saved again."""

    def __init__(self, client: PrefectClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._good: dict[UUID, tuple[datetime, float]] = {}
        self._asking: dict[tuple[UUID, datetime], asyncio.Task[str | None]] = {}

    async def __call__(self, name: str) -> Checked:
        """Check the profile of this name.

        Raises:
            TimeoutError: Prefect did not answer.
        """
        try:
            async with asyncio.timeout(_READ_SECONDS):
                found = usable(name, await find_profile(self._client, name))
        except ModelError as error:
            return Checked(error.message, asked=False)
        if self._answered(found):
            return Checked(None, asked=False)
        key = (found.id, found.changed)
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(found), name=f"check {name}")
            self._asking[key].add_done_callback(lambda _: self._asking.pop(key))
        # One who gives up waiting does not end it for the others.
        return Checked(await asyncio.shield(self._asking[key]), asked=True)

    def _answered(self, found: Found) -> bool:
        changed, at = self._good.get(found.id, (None, 0.0))
        fresh = time.monotonic() - at < self._settings.model_check_keep_seconds
        return changed == found.changed and fresh

    async def _ask(self, found: Found) -> str | None:
        begun = time.monotonic()
        try:
            if is_backend(found.profile):
                await check_backend(self._client, found.profile, self._settings)
            else:
                await check_model(found.profile, self._settings)
        except ModelError as error:
            self._good.pop(found.id, None)
            logger.warning("LLM profile %r cannot be used: %s", found.name, error)
            return f"LLM profile {found.name!r} cannot be used. {error}"
        logger.info("LLM profile %r answered in %.1f s.", found.name, time.monotonic() - begun)
        if not is_backend(found.profile):
            self._good[found.id] = (found.changed, time.monotonic())
        return None
