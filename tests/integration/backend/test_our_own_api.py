"""The backend engine with this project's own API as the backend: both speak what is documented."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support.book import Books
from tests.support.stack import LiveStack
from tests.support.tasks import reaches, row_of
from vibesurf_blocks.blocks import LLMProfile, VibeSurfBackend
from vibesurf_blocks.engines.backend import BackendEngine
from vibesurf_blocks.engines.protocol import Backend, EngineContext
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask, Status


def handing_to(stack: LiveStack, task: str) -> EngineContext:
    block = VibeSurfBackend(base_url=stack.api, poll_seconds=0.05, backoff_seconds=0.05)
    return EngineContext(
        task=AgentTask(task_description=task, session_id="s-remote"),
        task_id=str(uuid4()),
        session_dir=Path("/nonexistent"),
        settings=Settings(),
        profile=LLMProfile(provider="vibesurf-backend", model="builtin"),
        backend=Backend("default", block),
    )


@pytest.mark.slow
async def test_our_own_api_is_a_backend(
    stack: LiveStack, api: httpx.AsyncClient, books: Books
) -> None:
    book = books(6)
    context = handing_to(stack, book.task)
    engine = BackendEngine(context)
    try:
        await engine.open()
        await engine.step()
        assert (await engine.step()).name.startswith("Handed to the backend as task")
        task_id = str(engine.checkpoint()["task_id"])
        await book.until_asked(1)

        # Killed before it could keep the task's id: the same request starts no second one.
        kept = engine.checkpoint() | {"task_id": None}
        await engine.close()
        again = BackendEngine(context)
        again.restore(kept)
        engine = again
        await engine.open()
        assert (await engine.step()).name == f"Found again on the backend as task {task_id}"

        resting = asyncio.create_task(engine.rest("Lunch"))
        while not resting.done():
            book.let(*(page for page, times in enumerate(book.asked, 1) if times))
            # Page by page, so that the command reaches the agent before the book is at its end.
            await asyncio.wait({resting}, timeout=0.5)
        await resting
        assert book.asked[-1] == 0
        row = await row_of(api, task_id)
        assert row is not None
        assert row["status"] == Status.PAUSED
        await engine.wake()
        book.let_all()
        step = await engine.step()
        while not step.done:
            step = await engine.step()
        assert step.name == "The backend ended the task: completed"
        outcome = engine.outcome()
        assert outcome.error is None
        assert outcome.result.count("Text of page") == 6
        row = await row_of(api, task_id)
        assert row is not None
        assert row["report_path"] in outcome.result
        assert row["session_id"] == "s-remote"
    finally:
        await engine.close()

    other = books(2)
    engine = BackendEngine(handing_to(stack, other.task))
    try:
        await engine.open()
        await engine.step()
        await engine.step()
        other.let(1)
        await other.until_asked(2)
        await engine.end()
        task_id = str(engine.checkpoint()["task_id"])
        await reaches(api, task_id, Status.STOPPED)
        assert "Text of page 1." in engine.outcome().result
        with pytest.raises(EngineError, match="No active task to add new instruction to"):
            await engine.instruct("Read more")
    finally:
        await engine.close()
