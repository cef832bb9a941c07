"""What wakes a worker: the runs of its own pool, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.support.eventually import eventually
from tests.support.site import Site
from tests.support.stack import LiveStack
from tests.support.tasks import completes, submit
from vibesurf_blocks.worker.wake import Waker

WAIT_SECONDS = 20.0
_NEVER_SECONDS = 10_000.0


@asynccontextmanager
async def waking(pool: str) -> AsyncIterator[Callable[[], int]]:
    """Looks of a connected waker of a pool, the one at its start and the one at the connection
    left out.
    """
    looks = -2

    async def look() -> datetime | None:
        nonlocal looks
        looks += 1
        return None

    waker = Waker(look, poll_seconds=_NEVER_SECONDS, pool=pool)
    waker.start()
    try:
        await eventually(_true(lambda: looks >= 0), timeout=WAIT_SECONDS)
        yield lambda: looks
    finally:
        await waker.stop()


def _true(check: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return check()

    return asked


async def test_runs_of_another_pool_wake_no_worker(
    live_stack: LiveStack, api: httpx.AsyncClient, site: Site
) -> None:
    with temporary_settings({PREFECT_API_URL: live_stack.prefect_api}):
        async with waking("vibesurf") as ours, waking("vibesurf-alerts") as others:
            await completes(api, await submit(api, f"Read {site.html('/short', '<p>Short.</p>')}"))
            # It was scheduled, and it ended.
            await eventually(_true(lambda: ours() >= 2), timeout=WAIT_SECONDS)
            assert others() == 0
