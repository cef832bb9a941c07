"""Runs the backend engine in tests, against a backend in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.backends import SECRET, BackendServer
from vibesurf_blocks.blocks import LLMProfile, VibeSurfBackend
from vibesurf_blocks.engines.backend import BackendEngine
from vibesurf_blocks.engines.backend.state import block_of
from vibesurf_blocks.engines.protocol import Backend, EngineContext, Remote, Step, Tools
from vibesurf_blocks.engines.registry import engine_for
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask, McpServerConfig

TASK = "Order the red socks at https://me:pa55@shop.example/"


def engine_at(url: str, idle: float = 60.0, servers: Any = None, **block: Any) -> BackendEngine:
    """An engine for the task, with short times."""
    times = {"poll_seconds": 0.01, "backoff_seconds": 0.01, "attempts": 3, "answer_seconds": 20}
    backend = VibeSurfBackend.model_validate({"base_url": url, "api_key": SECRET, **times, **block})
    engine = engine_for(
        EngineContext(
            task=AgentTask(
                task_description=TASK, session_id="s-1", agent_mode="flash", idle_seconds=idle
            ),
            task_id="00000000-0000-0000-0000-000000000001",
            session_dir=Path("/nonexistent"),
            settings=Settings(),
            profile=LLMProfile(provider="vibesurf-backend", model="remote"),
            tools=Tools(mcp=McpServerConfig.model_validate({"mcpServers": servers or {}})),
            backend=Backend("shop", backend),
        )
    )
    assert isinstance(engine, BackendEngine)
    assert isinstance(engine, Remote)
    return engine


async def handed_over(server: BackendServer, **more: Any) -> BackendEngine:
    """An engine whose task the backend has."""
    engine = engine_at(server.url, **more)
    await engine.open()
    await engine.step()
    step = await engine.step()
    assert step.name.startswith("Handed to the backend as task")
    await engine.step()  # its first status
    return engine


async def until_ended(engine: BackendEngine) -> list[Step]:
    """Takes steps until one says that the task has ended."""
    steps = [await engine.step()]
    while not steps[-1].done:
        steps.append(await engine.step())
    return steps


async def again(first: BackendEngine, server: BackendServer, **more: Any) -> BackendEngine:
    """A new engine that goes on where the checkpoint of another was taken."""
    kept = json.loads(json.dumps(first.checkpoint()))
    assert block_of(kept) == "shop"
    assert SECRET not in json.dumps(kept)
    await first.close()
    second = engine_at(server.url, **more)
    second.restore(kept)
    await second.open()
    return second
