"""Wait for a condition, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

_LOOPS = 500_000
_USUAL_SECONDS = 0.012
"""What as many rounds of an empty loop take on the machine that the deadlines are meant for."""


@cache
def slowness() -> float:
    """How many times slower than that this machine is, 1 at the least: deadlines are as far off."""
    best = float("inf")
    for _ in range(5):
        begun = perf_counter()
        for _ in range(_LOOPS):
            pass
        best = min(best, perf_counter() - begun)
    return max(1.0, best / _USUAL_SECONDS)


async def eventually(ask: Callable[[], Awaitable[T]], *, timeout: float, pause: float = 0.05) -> T:
    """Ask until the answer is true-ish; that answer, or TimeoutError after `timeout` seconds.

    On a slow machine they are as many more.
    """
    async with asyncio.timeout(timeout * slowness()):
        while not (answer := await ask()):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(pause)
    return answer
