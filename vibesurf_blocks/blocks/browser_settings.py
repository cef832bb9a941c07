"""How the browser of an agent is started."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from vibesurf_blocks.blocks.looks import DOCUMENTATION, Logo
from vibesurf_blocks.tasks import BROWSER_SETTINGS_TYPE, DEFAULT_BLOCK, Text

_DOMAIN = re.compile(r"(https?://)?(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?", re.ASCII)
_sensitive = TypeAdapter(dict[str, Text | dict[str, Text]])


class BrowserSettings(Block):
    """How the browser of an agent is started.

    Example:
        Keep agents on one site:

        ```python
        from vibesurf_blocks.blocks import BrowserSettings

        BrowserSettings(allowed_domains=["*.example.org"]).save("default")
        settings = BrowserSettings.load("BLOCK_NAME")
        ```
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "Browser Settings"
    _block_type_slug = BROWSER_SETTINGS_TYPE
    _logo_url = Logo("browser-settings")
    _documentation_url = DOCUMENTATION
    _description = (
        "How the browser of an agent is started. The block named "
        f"'{DEFAULT_BLOCK}' counts for every task."
    )

    executable: Annotated[
        Text | None,
        Field(description="Path of Chromium or Chrome; by default it is looked for."),
    ] = None
    headless: Annotated[bool, Field(description="Whether it runs without a window.")] = True
    viewport_width: Annotated[
        int, Field(ge=200, le=8_000, description="Width of the page in pixels.")
    ] = 1_280
    viewport_height: Annotated[
        int, Field(ge=200, le=8_000, description="Height of the page in pixels.")
    ] = 900
    proxy: Annotated[
        str | None,
        Field(
            max_length=500,
            description="Proxy of all requests, such as `http://proxy:3128` or `socks5://proxy`.",
        ),
    ] = None
    proxy_username: Annotated[Text | None, Field(description="User of the proxy.")] = None
    proxy_password: Annotated[SecretStr | None, Field(description="Password of that user.")] = None
    allowed_domains: Annotated[
        list[str],
        Field(
            description="Domains that agents may visit, such as `example.org` or "
            "`*.example.org`; all where the list is empty.",
        ),
    ] = []  # noqa: RUF012 - pydantic copies it
    sandbox: Annotated[
        bool | None,
        Field(
            description="Whether Chromium's sandbox is on; by default it is, except for root, for "
            "whom Chromium has none.",
        ),
    ] = None
    sensitive_data: Annotated[
        SecretDict | None,
        Field(
            description="Texts that an agent may fill in and never sees, by placeholder: "
            '`{"shop_password": "…"}`, or by domain: '
            '`{"https://example.org": {"shop_password": "…"}}`.',
        ),
    ] = None

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value.strip())
        if parts.scheme not in {"http", "https", "socks4", "socks5"} or not parts.hostname:
            msg = "must be a URL of http, https, socks4 or socks5, such as http://proxy:3128"
            raise ValueError(msg)
        if parts.username or parts.password:
            msg = "must not hold a password: use the fields for it"
            raise ValueError(msg)
        return value.strip()

    @field_validator("allowed_domains")
    @classmethod
    def _domains(cls, value: list[str]) -> list[str]:
        for number, domain in enumerate(value, 1):
            if not _DOMAIN.fullmatch(domain):
                msg = f"entry {number} must be a domain, such as example.org or *.example.org"
                raise ValueError(msg)
        return value

    @field_validator("sensitive_data")
    @classmethod
    def _texts(cls, value: SecretDict | None) -> SecretDict | None:
        if value is not None:
            try:
                _sensitive.validate_python(value.get_secret_value())
            except ValidationError:
                msg = "must be texts by placeholder, or by domain and placeholder"
                raise ValueError(msg) from None
        return value
