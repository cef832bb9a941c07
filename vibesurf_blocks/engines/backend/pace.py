"""How often a backend is looked at within one step, and when the step has to end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Final

_GROWTH: Final = 1.5
_SLOWEST: Final = 5.0
"""Times the first pause that the longest takes."""


class Pace:
    """Pauses between looks, each a bit longer, cut short where somebody waits.

    Args:
        first: Seconds of the first pause.
        quiet: Seconds the step may take.
        hurried: Set where the step is to end soon.
    """

    def __init__(self, first: float, quiet: float, hurried: asyncio.Event) -> None:
        self._pause = first
        self._longest = first * _SLOWEST
        self._until = monotonic() + quiet
        self._hurried = hurried

    @property
    def over(self) -> bool:
        """Whether the step has to end with what is known."""
        return self._hurried.is_set() or monotonic() >= self._until

    async def pause(self) -> float:
        """Wait for the next look; the seconds that it took."""
        begun = monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), self._pause)
        self._pause = min(self._longest, self._pause * _GROWTH)
        return monotonic() - begun
