"""MCP servers that every agent gets, with their secrets apart."""

from __future__ import annotations

from typing import Annotated

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, field_validator

from vibesurf_blocks.blocks.fields import first_problem
from vibesurf_blocks.blocks.looks import DOCUMENTATION, Logo
from vibesurf_blocks.tasks import DEFAULT_BLOCK, MCP_SERVERS_TYPE, McpServer, McpServerConfig, Text

_secrets = TypeAdapter(dict[str, dict[str, Text]])


class MCPServers(Block):
    """MCP servers whose tools agents may use.

    Example:
        Make the servers known to all agents:

        ```python
        from vibesurf_blocks.blocks import MCPServers

        MCPServers(
            config={"mcpServers": {"files": {"command": "mcp-files", "args": ["--read-only"]}}},
            secrets={"files": {"FILES_TOKEN": "…"}},
        ).save("default")
        servers = MCPServers.load("BLOCK_NAME")
        ```
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "MCP Servers"
    _block_type_slug = MCP_SERVERS_TYPE
    _logo_url = Logo("mcp-servers")
    _documentation_url = DOCUMENTATION
    _description = (
        "MCP servers that agents start and whose tools they use. The block named "
        f"'{DEFAULT_BLOCK}' counts for every task; a task's own servers come on top of it."
    )

    config: Annotated[
        dict[str, JsonValue],
        Field(
            title="Configuration",
            description="The servers by name, as MCP clients write them: "
            '`{"mcpServers": {"files": {"command": "mcp-files", "args": [], "env": {}, '
            '"cwd": null, "timeout": 30}}}`.',
        ),
    ] = {}  # noqa: RUF012 - pydantic copies it
    secrets: Annotated[
        SecretDict | None,
        Field(
            description="Secret environment variables by server: "
            '`{"files": {"FILES_TOKEN": "…"}}`; they are added to the server\'s `env`.',
        ),
    ] = None

    @field_validator("config")
    @classmethod
    def _servers(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        try:
            McpServerConfig.model_validate(value)
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None
        return value

    @field_validator("secrets")
    @classmethod
    def _by_server(cls, value: SecretDict | None) -> SecretDict | None:
        if value is not None:
            try:
                _secrets.validate_python(value.get_secret_value())
            except ValidationError:
                msg = "must name servers, each with its variables: {server: {variable: text}}"
                raise ValueError(msg) from None
        return value

    def merged(self, own: McpServerConfig | None = None) -> McpServerConfig:
        """All servers with their secrets, and a task's own ones.

        Args:
            own: The task's servers. One with the name of a server here takes its place entirely:
                it gets none of the secrets that are kept for the other.
        """
        secrets = self.secrets.get_secret_value() if self.secrets is not None else {}
        servers: dict[str, McpServer] = {
            name: server.model_copy(update={"env": {**server.env, **secrets.get(name, {})}})
            for name, server in McpServerConfig.model_validate(self.config).servers.items()
        }
        return McpServerConfig.model_validate(
            {"mcpServers": {**servers, **(own.servers if own else {})}}
        )
