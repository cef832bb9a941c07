"""The tools of an agent: what their errors show, and how long each may take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psutil
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


async def test_each_action_has_the_time_of_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[dict[str, Any], float]] = [
        ({"slow_shop_stock": {"item": "bolts"}}, 605.0),
        ({"quick_stock": {"item": "bolts"}}, 125.0),
        ({"extract": {"query": "prices"}}, 1_007.0),
        ({"click": {"index": 1}}, 7.0),
    ]
    limits: list[float] = []

    async def act(*_: object, action_timeout: float, **__: object) -> None:
        limits.append(action_timeout)

    monkeypatch.setattr(Tools, "act", act)
    server = {"command": sys.executable, "args": [mcp_server.__file__]}
    config = {"slow-shop": {**server, "timeout": 600}, "quick": server}
    given = Given(mcp=McpServerConfig.model_validate({"mcpServers": config}))
    settings = Settings(browser_action_seconds=7, tool_seconds=120)
    async with tools(given, settings, tmp_path, Secrets([], []), 1_000) as made:
        action = made.registry.create_action_model()
        for one, _ in asked:
            await made.act(action.model_validate(one), BrowserSession())
    assert limits == [seconds for _, seconds in asked]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps track of them")
async def test_a_server_ends_with_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    server = f"sleep 600 & echo $! > '{note}'; exec '{sys.executable}' '{mcp_server.__file__}'"
    config = {"shop": {"command": "sh", "args": ["-c", server]}}
    given = Given(mcp=McpServerConfig.model_validate({"mcpServers": config}))
    async with tools(given, Settings(), tmp_path, Secrets([], []), 1_000):
        left = psutil.Process(int(note.read_text()))
        assert left.is_running()
    assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
