"""The limits of a run: steps, tokens, cost, working time, time without progress."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from vibesurf_blocks.engines.protocol import Usage
    from vibesurf_blocks.settings import Settings
    from vibesurf_blocks.tasks import AgentTask


_CLOCK = 0.05
"""Seconds by which a wait may end early."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may take.

    Attributes:
        steps: Steps at the most.
        seconds: Seconds of work at the most, pauses apart.
        idle: Seconds one step may take.
        tokens: Tokens of the model at the most, None for any number.
        cost: US dollars at the most, None for any sum.
    """

    steps: int
    seconds: float
    idle: float
    tokens: int | None = None
    cost: float | None = None

    @classmethod
    def of(cls, task: AgentTask, settings: Settings, *, remote: bool = False) -> Self:
        """The task's own limits, and the settings' where it has none.

        Args:
            task: The task.
            settings: The settings.
            remote: Whether the agent works elsewhere: its steps here are what is seen of it, of
                which only the task itself can say how many are too many.
        """
        return cls(
            steps=task.max_steps or (sys.maxsize if remote else settings.max_steps),
            seconds=task.timeout_seconds or settings.timeout_seconds,
            idle=task.idle_seconds or settings.idle_seconds,
            tokens=task.max_tokens or settings.max_tokens,
            cost=task.max_cost or settings.max_cost,
        )

    def cut_off(self, seconds: float) -> str:
        """Why a piece of work is cut off after so many seconds of the run."""
        if seconds >= self.seconds - _CLOCK:
            return f"The run reached its limit of {self.seconds:g} s of work (timeout_seconds)."
        return f"One step took over {self.idle:g} s (idle_seconds)."

    def reached(self, steps: int, seconds: float, usage: Usage | None = None) -> str | None:
        """Why no further step may begin, None where one may."""
        if steps >= self.steps:
            return f"The run reached its limit of {self.steps} steps (max_steps)."
        if seconds >= self.seconds - _CLOCK:
            return f"The run reached its limit of {self.seconds:g} s of work (timeout_seconds)."
        if usage is None:
            return None
        if self.tokens is not None and usage.tokens >= self.tokens:
            return (
                f"The run reached its limit of {self.tokens:,} tokens (max_tokens): "
                f"it has used {usage.tokens:,}."
            )
        if self.cost is not None and (usage.cost or 0.0) >= self.cost:
            return (
                f"The run reached its limit of ${self.cost:g} (max_cost): "
                f"it has cost ${usage.cost:.4f}."
            )
        return None
