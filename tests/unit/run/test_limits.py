"""Limits of a run: the task's own before the settings', and what each says when it is reached."""

from __future__ import annotations

import pytest

from vibesurf_blocks.engines.protocol import Usage
from vibesurf_blocks.run.limits import Limits
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask

LIMITS = Limits(steps=5, seconds=60, idle=10, tokens=1_000, cost=0.5)


@pytest.mark.parametrize(
    ("steps", "seconds", "usage", "reason"),
    [
        (4, 59, Usage(900, 99, 0.49), None),
        (5, 0, Usage(), "The run reached its limit of 5 steps (max_steps)."),
        (0, 60, Usage(), "The run reached its limit of 60 s of work (timeout_seconds)."),
        (
            1,
            1,
            Usage(1_000, 200, 0.1),
            "The run reached its limit of 1,000 tokens (max_tokens): it has used 1,200.",
        ),
        (
            1,
            1,
            Usage(10, 10, 0.61),
            "The run reached its limit of $0.5 (max_cost): it has cost $0.6100.",
        ),
        (1, 1, Usage(10, 10, None), None),
    ],
)
def test_each_limit_says_which_it_is(
    steps: int, seconds: float, usage: Usage, reason: str | None
) -> None:
    assert LIMITS.reached(steps, seconds, usage) == reason


def test_the_tasks_own_limits_come_before_the_settings() -> None:
    settings = Settings(max_steps=7, max_tokens=70, max_cost=0.7)
    task = AgentTask(task_description="x", session_id="s")

    assert (Limits.of(task, settings).tokens, Limits.of(task, settings).cost) == (70, 0.7)
    own = task.model_copy(update={"max_tokens": 5, "max_cost": 0.1})
    assert (Limits.of(own, settings).tokens, Limits.of(own, settings).cost) == (5, 0.1)
    assert Limits.of(task, Settings()).reached(0, 0, Usage(10**9, 0, 10**6)) is None
