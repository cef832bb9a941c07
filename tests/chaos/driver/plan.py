"""What is broken when, by a seed: the same seed gives the same faults in the same order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

KILLS = {
    "kill-child": 24,
    "kill-worker": 14,
    "kill-mirror": 14,
    "kill-api": 12,
    "kill-prefect": 8,
    "kill-database": 5,
    "kill-browser": 6,
    "kill-forks": 2,
    "kill-stack": 1,
}
"""Faults that count as kills, by how often they come."""

OTHERS = {
    "freeze-child": 4,
    "freeze-worker": 4,
    "freeze-mirror": 4,
    "freeze-api": 3,
    "freeze-prefect": 3,
    "freeze-database": 2,
    "cut-prefect": 4,
    "stall-prefect": 2,
    "slow-prefect": 4,
    "cut-database": 3,
    "fill-disk": 3,
}
"""Faults that last for seconds and end."""

_BURST = (2, 10)
_PAUSE_SECONDS = (0.05, 1.0)
_LAST_SECONDS = (0.5, 6.0)


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault.

    Attributes:
        name: Which.
        after: Seconds after the one before it.
        lasts: Seconds until it is undone; 0 for a kill.
        choice: From 0 to 1: which process, where there are several.
    """

    name: str
    after: float
    lasts: float
    choice: float

    @property
    def is_kill(self) -> bool:
        """Whether it counts as a kill."""
        return self.name in KILLS


def bursts(seed: int, names: Sequence[str]) -> Iterator[list[Planned]]:
    """Bursts of faults without end; the stack is to be repaired after each.

    How many of them find something to break is not planned, so neither is where it ends.

    Raises:
        ValueError: None of the names is a kill's.
    """
    weights = [(KILLS | OTHERS)[name] for name in names]
    if not any(name in KILLS for name in names):
        msg = "Faults that kill nothing never come to an end: name one that kills, too."
        raise ValueError(msg)
    chance = random.Random(f"faults {seed}")
    while True:
        burst: list[Planned] = []
        for _ in range(chance.randint(*_BURST)):
            name = chance.choices(names, weights)[0]
            lasts = 0.0 if name in KILLS else round(chance.uniform(*_LAST_SECONDS), 2)
            after = round(chance.uniform(*_PAUSE_SECONDS), 2)
            burst.append(Planned(name, after, lasts, chance.random()))
        yield burst
