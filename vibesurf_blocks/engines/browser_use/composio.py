"""Tools of connected accounts, through Composio's REST API."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from browser_use.mcp.client import MCPClient

from vibesurf_blocks.errors import EngineError

if TYPE_CHECKING:
    from vibesurf_blocks.blocks.composio import ComposioToolkits
    from vibesurf_blocks.engines.browser_use.secrets import Secrets
    from vibesurf_blocks.settings import Settings

_REPEATED = {429, 500, 502, 503, 504}
_BACKOFF_SECONDS = 0.5
_ANSWER = 20_000
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class _Tool:
    """A tool in the form in which MCP tells of one."""

    name: str
    description: str
    input_schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Said:
    """The answer of a tool, in that form too."""

    content: str
    is_error: bool


class ComposioTools(MCPClient):
    """The enabled tools of a block, registered as those of an MCP server are."""

    def __init__(self, block: ComposioToolkits, settings: Settings, secrets: Secrets) -> None:
        """Prepare to ask Composio; no message shows one of the secrets."""
        super().__init__("Composio", "")
        self._block = block
        self._secrets = secrets
        self._attempts = settings.request_attempts
        self._client = httpx.AsyncClient(
            base_url=block.base_url,
            headers={"x-api-key": block.api_key.get_secret_value()},
            timeout=settings.tool_seconds,
        )

    async def connect(self) -> None:
        """Ask what the enabled tools take.

        Raises:
            EngineError: Composio does not answer, or does not know one.
        """
        for names in self._block.tools.values():
            for name in names:
                found = await self._ask("GET", f"/api/v3/tools/{quote(name, safe='')}")
                self._tools[name] = _Tool(  # type: ignore[assignment]
                    name=name,
                    description=str(found.get("description") or found.get("name") or name),
                    input_schema=_object(found.get("input_parameters")),
                )
        self.session = self  # type: ignore[assignment]
        self._connected = True

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> _Said:
        """Have Composio run a tool."""
        body = {"user_id": self._block.user_id, "arguments": arguments}
        # Asked once: what was begun may have been done.
        path = f"/api/v3/tools/execute/{quote(name, safe='')}"
        said = await self._ask("POST", path, body, attempts=1)
        failed = said.get("successful") is False
        shown = said.get("error") if failed else said.get("data", said)
        return _Said(json.dumps(shown, ensure_ascii=False)[:_ANSWER], failed)

    async def end(self) -> None:
        """Close the connections."""
        self._connected = False
        await self._client.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        attempts: int | None = None,
    ) -> dict[str, Any]:
        most = attempts or self._attempts
        problem = ""
        for attempt in range(most):
            if attempt:
                await asyncio.sleep(_BACKOFF_SECONDS * 2 ** (attempt - 1))
            try:
                answer = await self._client.request(method, path, json=body)
            except httpx.HTTPError as error:
                problem = f"cannot be reached: {error!r}"
                continue
            if answer.is_success:
                return _object(_json(answer))
            # Hidden before it is cut: half a key would not be found.
            said = self._secrets.hide(answer.text)[:_SHOWN]
            problem = f"answered {answer.status_code} to {path}: {said}"
            if answer.status_code not in _REPEATED:
                break
        msg = f"Composio at {self._block.base_url} {problem}"
        raise EngineError(self._secrets.hide(msg))


def _json(answer: httpx.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
