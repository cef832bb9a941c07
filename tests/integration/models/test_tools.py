"""What an agent works with beside its model: read from blocks for every run."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from tests.support.profiles import KEY, block, edit
from vibesurf_blocks.engines.protocol import Tools
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.run.tools import read_tools
from vibesurf_blocks.tasks import DEFAULT_BLOCK, AgentTask

OWN: dict[str, Any] = {"mcpServers": {"mine": {"command": "mcp-mine"}}}


async def tools(prefect: PrefectClient, own: dict[str, Any] | None = None) -> Tools:
    """The tools of a run that begins now."""
    task = AgentTask.model_validate(
        {"task_description": "x", "session_id": "s", "mcp_server_config": own}
    )
    return await read_tools(prefect, FlowRun(id=uuid4(), flow_id=uuid4()), task)


async def test_an_edit_of_a_block_counts_at_the_next_run(prefect: PrefectClient) -> None:
    nothing = await tools(prefect)
    assert nothing.mcp.servers == {}
    assert nothing.composio is None
    assert nothing.browser.headless
    servers = {"mcpServers": {"files": {"command": "mcp-files"}}}
    async with (
        block(prefect, "mcp-servers", DEFAULT_BLOCK, config=servers) as mcp,
        block(prefect, "composio-toolkits", DEFAULT_BLOCK, api_key=KEY, tools={"gmail": []}),
        block(prefect, "browser-settings", DEFAULT_BLOCK, headless=False),
    ):
        found = await tools(prefect, OWN)
        assert set(found.mcp.servers) == {"files", "mine"}
        assert found.composio is not None
        assert found.composio.api_key.get_secret_value() == KEY
        assert not found.browser.headless
        assert KEY not in repr(found)
        await edit(prefect, mcp, secrets={"files": {"FILES_TOKEN": KEY}})
        found = await tools(prefect)
        assert found.mcp.secrets == {"files": {"FILES_TOKEN": KEY}}
        await edit(prefect, mcp, config={"mcpServers": {"files": {}}})
        with pytest.raises(EngineError, match=r"'default' of MCP Servers .*files.command: Field"):
            await tools(prefect)
