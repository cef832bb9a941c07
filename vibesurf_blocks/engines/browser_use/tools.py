"""The tools of an agent: browser-use's own, those of MCP servers, and Composio's."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from browser_use.mcp.client import MCPClient
from browser_use.tools.service import Tools
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from vibesurf_blocks.engines.browser_use.composio import ComposioTools
from vibesurf_blocks.engines.reader.text import one_line
from vibesurf_blocks.errors import EngineError

if TYPE_CHECKING:
    from browser_use.tools.registry.views import ActionModel

    from vibesurf_blocks.engines.browser_use.secrets import Secrets
    from vibesurf_blocks.engines.protocol import Tools as Given
    from vibesurf_blocks.settings import Settings
    from vibesurf_blocks.tasks import McpServer

_TETHER: Final = Path(__file__).parents[2] / "processes" / "tether.py"
_END_SECONDS = 8.0
"""Seconds that the end of a server may take: more than the SDK takes to kill one at the latest."""

_COMPLAINT = 500
_ASKING = "extract"
"""The action that asks the model."""

_SLACK = 5.0
"""Seconds that a tool is left to say itself that its time is over."""


@asynccontextmanager
async def tools(
    given: Given, settings: Settings, folder: Path, secrets: Secrets, answer_seconds: float
) -> AsyncIterator[Tools[Any]]:
    """All tools of a run; the servers behind them end with the block.

    Args:
        given: The servers and toolkits.
        settings: How long they may take.
        folder: Where the servers' complaints are kept.
        secrets: What no message may show.
        answer_seconds: Seconds that an answer of the model may take.

    Raises:
        EngineError: A server or Composio does not answer; it is named.
    """
    made: Tools[Any] = Tools(exclude_actions=["screenshot"], display_files_in_done_text=False)
    own = {_ASKING: settings.browser_action_seconds + answer_seconds}
    _limit(made, settings.browser_action_seconds, own)
    async with AsyncExitStack() as opened:
        servers = [
            _Server(name, server, server.timeout or settings.tool_seconds, folder, secrets)
            for name, server in given.mcp.servers.items()
        ]
        opened.push_async_callback(_end, servers)
        # Together: several slow ones take no longer than the slowest.
        results = await asyncio.gather(
            *(server.connect() for server in servers), return_exceptions=True
        )
        for problem in results:
            if isinstance(problem, BaseException):
                raise problem
        for server in servers:
            await server.register_to_tools(made, prefix=f"{_identifier(server.server_name)}_")
            own |= dict.fromkeys(server._registered_actions, server.seconds + _SLACK)
        if given.composio is not None and any(given.composio.tools.values()):
            composio = ComposioTools(given.composio, settings, secrets)
            opened.push_async_callback(composio.end)
            await composio.connect()
            await composio.register_to_tools(made)
            own |= dict.fromkeys(composio._registered_actions, settings.tool_seconds + _SLACK)
        yield made


async def _end(servers: Sequence[_Server]) -> None:
    """End all servers; together, they take no longer than the slowest."""
    await asyncio.gather(*(server.end() for server in servers))


def _limit(made: Tools[Any], seconds: float, own: Mapping[str, float]) -> None:
    """Give every action so many seconds, but those that have their own, by name."""
    act = made.act

    async def limited(action: ActionModel, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on as it is
        asked = action.model_dump(exclude_unset=True)
        most = max((own.get(name, seconds) for name in asked), default=seconds)
        named.setdefault("action_timeout", most)
        return await act(action, *given, **named)

    made.act = limited  # type: ignore[method-assign]


def _identifier(name: str) -> str:
    return "".join(char if char.isalnum() and char.isascii() else "_" for char in name)


class _Server(MCPClient):
    """An MCP server over stdio: with a folder, a time limit and an end that browser-use has not."""

    def __init__(
        self, name: str, server: McpServer, seconds: float, folder: Path, secrets: Secrets
    ) -> None:
        super().__init__(name, server.command, list(server.args), dict(server.env))
        self._folder = server.cwd
        self.seconds = seconds
        self._log = folder / f"mcp-{_identifier(name)}.log"
        self._secrets = secrets
        self._running: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Start the server and ask for its tools.

        Raises:
            EngineError: It does not start, or does not answer in time.
        """
        if self._connected:
            return
        if shutil.which(self.command) is None:
            msg = f"MCP server {self.server_name!r}: the program {self.command!r} is not installed."
            raise EngineError(msg)
        ready = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(ready), name=f"mcp-{self.server_name}")
        await asyncio.wait(
            {self._running, ready},
            timeout=self.seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not self._connected:
            how = (
                "ended before it answered"
                if self._running.done()
                else f"did not answer within {self.seconds:g} s"
            )
            await self.end()
            msg = f"MCP server {self.server_name!r} {how}{self._complaint()}."
            raise EngineError(msg)

    async def end(self) -> None:
        """End the server; safe to call twice."""
        running, self._running = self._running, None
        if running is None:
            return
        self._disconnect_event.set()
        await asyncio.wait({running}, timeout=_END_SECONDS)
        running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running

    async def _run(self, ready: asyncio.Future[None]) -> None:
        # In one task from beginning to end, as its cancel scopes demand.
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-I", "-S", str(_TETHER), str(os.getpid()), self.command, *self.args],
            env=self.env,
            cwd=self._folder,
        )
        with self._log.open("w") as log:
            async with (
                stdio_client(parameters, errlog=log) as (read, write),
                ClientSession(read, write, read_timeout_seconds=self.seconds) as session,
            ):
                await session.initialize()
                listed = await session.list_tools()
                self._tools = {tool.name: tool for tool in listed.tools}
                self.session = session
                self._connected = True
                ready.set_result(None)
                try:
                    await self._disconnect_event.wait()
                finally:
                    self._connected = False
                    self.session = None

    def _complaint(self) -> str:
        with suppress(OSError):
            lines = self._log.read_text(errors="replace").splitlines()
            last = next((line for line in reversed(lines) if line.strip()), "")
            if last:
                return f": {one_line(self._secrets.hide(last), _COMPLAINT).rstrip('.')}"
        return ""
