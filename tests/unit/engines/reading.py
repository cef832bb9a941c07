"""Runs the reader in tests, straight through or interrupted after each step."""

from __future__ import annotations

import json
from pathlib import Path

from vibesurf_blocks.engines.protocol import EngineContext, Outcome, Step
from vibesurf_blocks.engines.reader import ReaderEngine
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask


def context(task: str, **settings: object) -> EngineContext:
    """A context with short times."""
    values: dict[str, object] = {"request_timeout": 5.0, "request_attempts": 1, **settings}
    return EngineContext(
        task=AgentTask(task_description=task, session_id="s-1"),
        task_id="00000000-0000-0000-0000-000000000001",
        session_dir=Path("/nonexistent"),
        settings=Settings.model_validate(values),
    )


async def read(task: str, **settings: object) -> tuple[Outcome, list[Step], ReaderEngine]:
    """The outcome, the steps and the closed engine of a run of its own."""
    engine = ReaderEngine(context(task, **settings))
    await engine.open()
    try:
        steps = await finish(engine)
        return engine.outcome(), steps, engine
    finally:
        await engine.close()


async def finish(engine: ReaderEngine) -> list[Step]:
    """Takes steps until one says the run is done."""
    steps = [await engine.step()]
    while not steps[-1].done:
        steps.append(await engine.step())
    return steps


async def interrupted(
    task: str, after: int, instruction: str | None = None, **settings: object
) -> tuple[Outcome, list[Step]]:
    """A run that ends after so many steps and goes on in a new engine, its checkpoint as text."""
    given = context(task, **settings)
    first = ReaderEngine(given)
    await first.open()
    steps = [await first.step() for _ in range(after)]
    if instruction is not None and after >= 1:
        await first.instruct(instruction)
    kept = json.dumps(first.checkpoint())
    await first.close()
    second = ReaderEngine(given)
    second.restore(json.loads(kept))
    await second.open()
    try:
        if not (steps and steps[-1].done):
            steps += await finish(second)
        return second.outcome(), steps
    finally:
        await second.close()
