"""The browser-use engine on its own, without Prefect: given a model, pages and a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.model_server import ModelServer
from tests.support.profiles import KEY
from vibesurf_blocks.blocks import LLMProfile
from vibesurf_blocks.engines.browser_use.engine import BrowserUseEngine
from vibesurf_blocks.engines.protocol import EngineContext, Step, Tools
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask
from vibesurf_blocks.workspace import prepare_session


@dataclass
class Workplace:
    """A workspace and a model, in which engines are made."""

    model: ModelServer
    home: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def session(self) -> Path:
        """The session's folder."""
        return prepare_session(self.home / "workspace", "s-1")

    def context(self, tools: Tools | None = None, **task: Any) -> EngineContext:
        """What an engine is given."""
        settings = Settings(home=self.home, **self.settings)
        return EngineContext(
            task=AgentTask(
                **{
                    "task_description": "Do it.",
                    "session_id": "s-1",
                    "llm_profile_name": "scripted",
                    **task,
                }
            ),
            task_id="t-1",
            session_dir=self.session,
            settings=settings,
            profile=LLMProfile(
                provider="openai-compatible",
                model="m-1",
                base_url=self.model.url,
                api_key=KEY,
            ),
            tools=tools or Tools(),
            max_steps=20,
        )

    @asynccontextmanager
    async def open(
        self, tools: Tools | None = None, **task: Any
    ) -> AsyncIterator[BrowserUseEngine]:
        """An opened engine, closed after the block."""
        engine = BrowserUseEngine(self.context(tools, **task))
        try:
            await engine.open()
            yield engine
        finally:
            await engine.close()

    async def run(self, tools: Tools | None = None, **task: Any) -> tuple[list[Step], str]:
        """Take steps until there are none; they, and all that the run leaves, as one text."""
        async with self.open(tools, **task) as engine:
            steps = [await engine.step()]
            while not steps[-1].done:
                steps.append(await engine.step())
            outcome = engine.outcome()
            left = [one.name for one in steps]
            left += [outcome.result, outcome.error or "", outcome.report, str(engine.checkpoint())]
            return steps, "\n".join(left)
