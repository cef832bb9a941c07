"""The task as it is on the backend: what is known of it, and the way to it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from vibesurf_blocks.engines.backend.client import BackendClient
from vibesurf_blocks.engines.backend.state import State

if TYPE_CHECKING:
    from vibesurf_blocks.blocks import VibeSurfBackend
    from vibesurf_blocks.engines.backend.answers import Seen
    from vibesurf_blocks.engines.backend.client import Log
    from vibesurf_blocks.engines.protocol import EngineContext

_LEAST_SECRET: Final = 6
"""Characters of the shortest value of an environment that is masked: `1` is everywhere."""


class RemoteTask:
    """What handing over, following and ending a task have in common.

    Attributes:
        context: What the engine was given.
        block: Where the backend is, and how much patience to have with it.
        log: The run's log.
        state: What is known of the task; another one after a checkpoint was restored.
        moved_at: When the task last moved, on the monotonic clock.
    """

    def __init__(self, context: EngineContext, log: Log) -> None:
        assert context.backend is not None  # noqa: S101 - the registry sees to it
        self.context = context
        self.block: VibeSurfBackend = context.backend.block
        self.log = log
        self.state = State(
            block=context.backend.name,
            url=self.block.base_url,
            profile=context.profile.model if context.profile is not None else "",
        )
        self.moved_at = monotonic()
        self._client: BackendClient | None = None

    @property
    def backend(self) -> BackendClient:
        """The backend's API, connected to when first asked for."""
        if self._client is None:
            values = [
                one for env in self.context.tools.mcp.secrets.values() for one in env.values()
            ]
            secrets = [value for value in values if len(value) >= _LEAST_SECRET]
            self._client = BackendClient(self.block, self.log, secrets)
        return self._client

    def is_active(self, seen: Seen) -> bool:
        """Whether it is what the backend works on, by what was seen there."""
        return seen.has_active_task and seen.task_id == self.state.task_id and not seen.ended

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
