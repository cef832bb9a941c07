"""The tools of an agent: what their errors show, and how long each may take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from browser_use.browser.session import BrowserSession
from browser_use.tools.service import Tools

from tests.support import mcp_server
from tests.support.site import Site
from vibesurf_blocks.blocks import ComposioToolkits
from vibesurf_blocks.engines.browser_use.composio import ComposioTools
from vibesurf_blocks.engines.browser_use.secrets import Secrets
from vibesurf_blocks.engines.browser_use.tools import tools
from vibesurf_blocks.engines.protocol import Tools as Given
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import McpServerConfig

TOKEN = "comp-t0ken-nobody-may-see"


async def test_an_error_of_composio_repeats_no_secret_nor_half_of_one(site: Site) -> None:
    site.serve("/api/v3/tools/SEND", b"x" * 190 + TOKEN.encode(), "text/plain", status=401)
    block = ComposioToolkits.model_validate(
        {"api_key": TOKEN, "base_url": site.url(""), "tools": {"mail": ["SEND"]}}
    )
    tools = ComposioTools(block, Settings(), Secrets([], [TOKEN]))
    with pytest.raises(EngineError, match="answered 401") as caught:
        await tools.connect()
    await tools.end()
    assert "xxx" in caught.value.message
    assert "comp-" not in caught.value.message


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({"slow_shop_stock": {"item": "bolts"}}, 605.0),
        ({"quick_stock": {"item": "bolts"}}, 125.0),
        ({"extract": {"query": "prices"}}, 1_007.0),
        ({"click": {"index": 1}}, 7.0),
    ],
)
async def test_each_action_has_the_time_of_what_it_waits_for(
    asked: dict[str, Any], seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []

    async def act(*_: object, action_timeout: float, **__: object) -> None:
        limits.append(action_timeout)

    monkeypatch.setattr(Tools, "act", act)
    server = {"command": sys.executable, "args": [mcp_server.__file__]}
    config = {"slow-shop": {**server, "timeout": 600}, "quick": server}
    given = Given(mcp=McpServerConfig.model_validate({"mcpServers": config}))
    settings = Settings(browser_action_seconds=7, tool_seconds=120)
    async with tools(given, settings, tmp_path, Secrets([], []), 1_000) as made:
        action = made.registry.create_action_model().model_validate(asked)
        await made.act(action, BrowserSession())
    assert limits == [seconds]
