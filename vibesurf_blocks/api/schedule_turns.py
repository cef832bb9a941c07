"""One edit of a deployment's schedules after the other, whoever makes it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from uuid import UUID
from zlib import crc32

from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.prefect_api import deployments as prefect_deployments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vibesurf_blocks.api.context import Context

_EDIT_SECONDS: Final = 30.0
_LOCKS: Final = 32


@asynccontextmanager
async def editing(context: Context, flow_id: str) -> AsyncIterator[None]:
    """Have one edit of a flow's schedule after the other, and few at once altogether.

    Prefect makes a deployment or overwrites the one of that name: of two creates, the one that is
    refused would leave its task in the deployment of the other. So other processes wait too.

    Raises:
        Unavailable: Prefect takes too long.
    """
    async with context.schedule_locks.of(flow_id), context.schedule_edits:
        try:
            async with asyncio.timeout(_EDIT_SECONDS):
                lock = await _lock_name(context, flow_id)
                async with context.database_locks.held(lock, wait=_EDIT_SECONDS):
                    yield
        except TimeoutError:
            msg = (
                f"Prefect did not finish within {_EDIT_SECONDS:g} s; GET /schedule shows what came "
                "of it"
            )
            raise Unavailable(msg) from None


async def _lock_name(context: Context, flow_id: str) -> str:
    """The lock for edits of a deployment, the same for each spelling of its name."""
    name = flow_id.rpartition("/")[2].partition("#")[0]
    with suppress(ValueError):
        UUID(flow_id)
        found = await prefect_deployments.find(context.client, flow_id)
        name = found[0].deployment.name if found else name
    # Few enough locks for each to be a file; two names that share one only wait.
    return f"schedule-{crc32(name.encode(errors='replace')) % _LOCKS}"
