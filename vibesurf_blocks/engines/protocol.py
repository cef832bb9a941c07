"""What an engine must do: open, take steps, be instructed, keep and restore checkpoints, close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import JsonValue

from vibesurf_blocks.blocks import (
    BrowserSettings,
    ComposioToolkits,
    LLMProfile,
    VibeSurfBackend,
)
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask, McpServerConfig
from vibesurf_blocks.workspace import files_folder

Checkpoint = dict[str, JsonValue]
"""All that a fresh engine needs to go on after the last finished step; plain JSON."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run has used of its model, all its processes together.

    Attributes:
        input_tokens: Tokens sent, those answered from the provider's cache included.
        output_tokens: Tokens answered.
        cost: US dollars, None where the model's price is not known.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did.

    Attributes:
        name: What was done, as a heading of the timeline, at most 120 characters
            (`Read http://example.org/a: 12 links`).
        progress: How much of the task is done after it, 0 to 1, never less than before.
        done: Whether the task is finished; no further step is asked for.
        ok: Whether the step reached what it tried; a run may go on after one that did not.
        picture: A JPEG of what the agent saw, None where there is none.
        usage: What the run has used so far, None for an engine without a model.
    """

    name: str
    progress: float
    done: bool
    ok: bool = True
    picture: Path | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has to show, at its end or so far.

    Attributes:
        result: The result as markdown; may be partial.
        report: A self-contained HTML page that tells the story of the run.
        error: Why the task failed, or None where it succeeded.
    """

    result: str
    report: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What an agent works with beside its model.

    Attributes:
        mcp: MCP servers to start, with their secrets.
        composio: Toolkits of connected accounts, None for none.
        browser: How to start the browser.
    """

    mcp: McpServerConfig = field(default_factory=McpServerConfig, repr=False)
    composio: ComposioToolkits | None = None
    browser: BrowserSettings = field(default_factory=BrowserSettings)


@dataclass(frozen=True, slots=True)
class Backend:
    """The VibeSurf backend that a task is handed to.

    Attributes:
        name: Name of its block.
        block: Where it is and how to be let in.
    """

    name: str
    block: VibeSurfBackend


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What an engine is given.

    Attributes:
        task: What is asked.
        task_id: The flow run id; goes into logs and reports.
        session_dir: The session's folder `<workspace>/<session_id>`; exists.
        settings: Timeouts and limits.
        profile: The task's LLM profile as it was when the run was started; None for the reader.
        tools: What the agent may use; nothing for the reader.
        backend: The VibeSurf backend that is to do the task; None where an engine here does it.
        max_steps: Steps the run may take.
    """

    task: AgentTask
    task_id: str
    session_dir: Path
    settings: Settings
    profile: LLMProfile | None = None
    tools: Tools = field(default_factory=Tools)
    backend: Backend | None = None
    max_steps: int = 100

    @property
    def files(self) -> Path:
        """Folder for what the engine keeps of this run beside its checkpoint.

        It goes with the checkpoint, once the run is not to be started again.
        """
        return files_folder(self.settings.workspace_dir, self.task_id)


class Engine(Protocol):
    """Drives one agent through one task, one step at a time.

    The calls come in this order: `restore` (only on a second start), `open`, then `step` until a
    step says it is done, `outcome` at any time after `open`, and `close` once, whatever happened.
    `step` may be cancelled (`asyncio.CancelledError`); the engine then stays closable.
    """

    async def open(self) -> None:
        """Get ready for the first step.

        Raises:
            EngineError: The task cannot be done at all (no URL in it, no browser installed).
        """

    async def step(self) -> Step:
        """Take the next step and say what it did.

        Raises:
            EngineError: The run cannot go on.
        """

    async def instruct(self, instruction: str) -> None:
        """Take in a new instruction, to be followed from the next step on."""

    def checkpoint(self) -> Checkpoint:
        """The state after the last finished step."""

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where the checkpoint was taken; called before `open`."""

    def outcome(self) -> Outcome:
        """What there is to show so far."""

    async def close(self) -> None:
        """Close all that was opened; safe to call twice and after any error."""


@runtime_checkable
class Remote(Protocol):
    """What an engine does beside that whose agent works elsewhere, and goes on between steps."""

    def hurry(self) -> None:
        """Let the step under way end soon: somebody waits to be heeded between steps."""

    async def rest(self, reason: str | None) -> None:
        """Bring the agent to rest; returns when it rests, or has nothing left to do.

        Raises:
            EngineError: It does not rest.
        """

    async def wake(self) -> None:
        """Let a resting agent go on; returns when it does, or has nothing left to do.

        Raises:
            EngineError: It does not go on.
        """

    async def end(self) -> None:
        """End the agent: its run ends before its task has. Also called before `open`.

        Raises:
            EngineError: It may go on.
        """


EngineFactory = Callable[[EngineContext], Engine]
"""Makes an engine for one run; quick, and without side effects."""
