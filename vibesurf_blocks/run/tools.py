"""What an agent works with beside its model: MCP servers, toolkits and the browser's settings.

They are read for every run, so that an edit of a block counts from the next run on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prefect.blocks.core import Block
from pydantic import ValidationError

from vibesurf_blocks.blocks import BrowserSettings, ComposioToolkits, MCPServers
from vibesurf_blocks.blocks.fields import first_problem
from vibesurf_blocks.engines.protocol import Backend, Tools
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.models.backends import backend_name, find_backend, is_backend
from vibesurf_blocks.prefect_api import block_documents, run_secrets
from vibesurf_blocks.tasks import DEFAULT_BLOCK, MASK, McpServerConfig

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from vibesurf_blocks.blocks import LLMProfile
    from vibesurf_blocks.prefect_api.run_secrets import Secrets
    from vibesurf_blocks.tasks import AgentTask

BlockT = TypeVar("BlockT", bound=Block)


async def read_backend(client: PrefectClient, profile: LLMProfile | None) -> Backend | None:
    """The VibeSurf backend that a profile's tasks are handed to; None where an engine here does it.

    Raises:
        EngineError: The profile, or the block that it names, cannot be used.
    """
    if profile is None or not is_backend(profile):
        return None
    name = backend_name(profile)
    return Backend(name, await find_backend(client, name))


async def read_tools(
    client: PrefectClient, run: FlowRun, task: AgentTask, *, blocks: bool = True
) -> Tools:
    """The tools of a run, with their secrets.

    Args:
        client: Prefect.
        run: The run.
        task: Its task.
        blocks: Whether the blocks for every task count too; they are for agents on this machine.

    Raises:
        EngineError: What a block says cannot be, or a secret of the task is not kept any more.
    """
    own = task.mcp_server_config
    if own is not None:
        own = with_secrets(own, await run_secrets.read(client, run.tags))
    if not blocks:
        return Tools(mcp=own or McpServerConfig())
    servers = await _default(client, MCPServers) or MCPServers()
    return Tools(
        mcp=servers.merged(own),
        composio=await _default(client, ComposioToolkits),
        browser=await _default(client, BrowserSettings) or BrowserSettings(),
    )


def with_secrets(config: McpServerConfig, secrets: Secrets) -> McpServerConfig:
    """The servers of a task with what was masked in its parameters.

    Raises:
        EngineError: A masked value is not kept any more.
    """
    servers = {}
    for name, server in config.servers.items():
        env = {**server.env, **secrets.get(name, {})}
        for variable, value in env.items():
            if value == MASK:
                msg = (
                    f"The value of {variable} for the MCP server {name!r} is not kept any more: "
                    "secrets of a task go when it ends. Submit it again, or put the server into "
                    f"the MCP Servers block {DEFAULT_BLOCK!r}."
                )
                raise EngineError(msg)
        servers[name] = server.model_copy(update={"env": env})
    return config.model_copy(update={"servers": servers})


async def _default(client: PrefectClient, kind: type[BlockT]) -> BlockT | None:
    document = await block_documents.named(client, kind.get_block_type_slug(), DEFAULT_BLOCK)
    if document is None:
        return None
    try:
        return kind.model_validate(document.data)
    except ValidationError as error:
        msg = (
            f"The block {DEFAULT_BLOCK!r} of {kind.get_block_type_name()} cannot be used: "
            f"{first_problem(error)}. Correct it in the Prefect UI (Blocks)."
        )
        raise EngineError(msg) from None
