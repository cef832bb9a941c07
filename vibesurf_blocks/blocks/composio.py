"""Composio toolkits that every agent gets."""

from __future__ import annotations

from typing import Annotated

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, SecretStr, field_validator

from vibesurf_blocks.blocks.fields import header_secret, http_url
from vibesurf_blocks.blocks.looks import DOCUMENTATION, Logo
from vibesurf_blocks.tasks import COMPOSIO_TYPE, DEFAULT_BLOCK, Text


class ComposioToolkits(Block):
    """Tools of connected accounts, through Composio.

    Example:
        Let agents use two tools of an account:

        ```python
        from vibesurf_blocks.blocks import ComposioToolkits

        ComposioToolkits(
            api_key="…", user_id="me", tools={"gmail": ["GMAIL_SEND_EMAIL"]}
        ).save("default")
        toolkits = ComposioToolkits.load("BLOCK_NAME")
        ```
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "Composio Toolkits"
    _block_type_slug = COMPOSIO_TYPE
    _logo_url = Logo("composio-toolkits")
    _documentation_url = DOCUMENTATION
    _description = (
        "Tools of connected accounts that agents may use, through Composio. The block named "
        f"'{DEFAULT_BLOCK}' counts for every task."
    )

    api_key: Annotated[
        SecretStr, Field(title="API key", description="Key of the Composio project.")
    ]
    base_url: Annotated[
        str, Field(max_length=500, title="Base URL", description="Where Composio answers.")
    ] = "https://backend.composio.dev"
    user_id: Annotated[
        Text, Field(min_length=1, description="The Composio user whose accounts are used.")
    ] = "default"
    tools: Annotated[
        dict[str, list[Text]],
        Field(
            description="Enabled tools by toolkit, such as "
            '`{"gmail": ["GMAIL_SEND_EMAIL"]}`; an empty list enables none.',
        ),
    ] = {}  # noqa: RUF012 - pydantic copies it

    @field_validator("api_key")
    @classmethod
    def _one_line(cls, value: SecretStr) -> SecretStr | None:
        return header_secret(value)

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str) -> str:
        return http_url(value)
