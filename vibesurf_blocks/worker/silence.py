"""Who has been silent for too long, by what this process has seen with its own clock.

Signs of life pass through the Prefect server. After an outage all of them are old, and who is read
first would be taken for dead; so only silence that was watched without a gap counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic


class Silence:
    """Watches signs of life."""

    def __init__(self, seconds: float, *, gap: float) -> None:
        """Take for dead what gives no new sign for so many seconds.

        Args:
            seconds: Seconds of silence that are too long.
            gap: Seconds between two looks after which the watch begins anew.
        """
        self._seconds = seconds
        self._gap = gap
        self._looked = 0.0
        self._seen: dict[str, tuple[object, float]] = {}

    def watch(self, signs: Mapping[str, object]) -> set[str]:
        """Take in the last sign of each, by name; the names of those that are silent."""
        now = monotonic()
        known = self._seen if now - self._looked <= self._gap else {}
        self._looked = now
        self._seen = {
            name: known[name] if name in known and known[name][0] == sign else (sign, now)
            for name, sign in signs.items()
        }
        return {name for name, (_, since) in self._seen.items() if now - since > self._seconds}
