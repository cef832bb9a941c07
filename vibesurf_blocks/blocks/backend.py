"""A VibeSurf backend: where it is, how to be let in, how long to wait, how flows are triggered."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote

import httpx
from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, JsonValue, SecretStr, field_validator

from vibesurf_blocks.blocks.fields import header_secret, http_url
from vibesurf_blocks.blocks.looks import DOCUMENTATION, Logo
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.tasks import BACKEND_BLOCK_TYPE, MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ANSWER_LIMIT: Final = 1_000_000
_SHOWN: Final = 300
_REPEATED: Final = {429, 502, 503}
"""Answers of a server that has not begun with the request."""


class VibeSurfBackend(Block):
    """A VibeSurf backend that this project hands tasks to and triggers flows of.

    Example:
        Say where the backend is that tasks are handed to and schedules trigger flows of:

        ```python
        from vibesurf_blocks.blocks import VibeSurfBackend

        VibeSurfBackend(base_url="http://127.0.0.1:7860", api_key="…").save("default")
        backend = VibeSurfBackend.load("BLOCK_NAME")
        ```
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "VibeSurf Backend"
    _block_type_slug = BACKEND_BLOCK_TYPE
    _logo_url = Logo("vibesurf-backend")
    _documentation_url = DOCUMENTATION
    _description = (
        "Address and credentials of a VibeSurf backend. The block named 'default' is the one that "
        "LLM profiles of the provider vibesurf-backend use where they name none, and schedules "
        "whose flow_id names no deployment."
    )

    base_url: Annotated[
        str,
        Field(
            title="Base URL",
            description="Where the backend answers, without `/api`, such as "
            "`http://127.0.0.1:9335`.",
        ),
    ]
    api_key: Annotated[
        SecretStr | None, Field(title="API key", description="Sent as `x-api-key`.")
    ] = None
    username: Annotated[str | None, Field(description="User for HTTP basic authentication.")] = None
    password: Annotated[SecretStr | None, Field(description="Password of that user.")] = None
    connect_seconds: Annotated[
        float, Field(gt=0, title="Connect timeout", description="Seconds a connection may take.")
    ] = 5.0
    answer_seconds: Annotated[
        float, Field(gt=0, title="Answer timeout", description="Seconds the answer may take.")
    ] = 60.0
    attempts: Annotated[
        int,
        Field(
            ge=1,
            le=10,
            description="Times one request is tried. Only what the backend has not begun with, or "
            "what may be done twice, is asked for again, so that no flow or task runs twice.",
        ),
    ] = 4
    backoff_seconds: Annotated[
        float,
        Field(
            gt=0, title="Backoff", description="Seconds before the second attempt; then doubled."
        ),
    ] = 0.5
    poll_seconds: Annotated[
        float,
        Field(
            gt=0,
            title="Poll interval",
            description="Seconds between two looks at a task that moves; up to five times as long "
            "while it does not.",
        ),
    ] = 1.0
    busy_seconds: Annotated[
        float,
        Field(
            ge=0,
            title="Busy timeout",
            description="Seconds a backend is waited for that works on another task.",
        ),
    ] = 1_800.0
    away_seconds: Annotated[
        float,
        Field(
            ge=0,
            title="Away timeout",
            description="Seconds a backend may be away while it has a task, such as when it is "
            "started again.",
        ),
    ] = 120.0

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str) -> str:
        return http_url(value)

    @field_validator("api_key")
    @classmethod
    def _one_line(cls, value: SecretStr | None) -> SecretStr | None:
        return header_secret(value)

    async def build(
        self, flow_id: str, inputs: Mapping[str, JsonValue] | None = None
    ) -> dict[str, JsonValue]:
        """Trigger a flow of the backend.

        Args:
            flow_id: The flow, by its id on the backend.
            inputs: The `inputs` of the request, if any.

        Returns:
            What the backend answered, with every secret of the block masked.

        Raises:
            EngineError: It did not answer, refused, or answered with something else than the JSON
                object of its API.
        """
        url = f"{self.base_url}/api/v1/build/{quote(flow_id, safe='')}/flow"
        async with self.connect() as client:
            return await self._ask(client, url, {"inputs": dict(inputs)} if inputs else {})

    def connect(self) -> httpx.AsyncClient:
        """A client with the block's credentials and timeouts, for requests to its base URL."""
        auth = None
        if self.username is not None:
            secret = self.password.get_secret_value() if self.password else ""
            auth = httpx.BasicAuth(self.username, secret)
        headers = {"accept": "application/json"}
        if self.api_key is not None:
            headers["x-api-key"] = self.api_key.get_secret_value()
        return httpx.AsyncClient(
            timeout=httpx.Timeout(self.answer_seconds, connect=self.connect_seconds),
            auth=auth,
            headers=headers,
        )

    @property
    def whole_seconds(self) -> float:
        """Seconds that one request may take, from its connection to the end of its answer."""
        return self.connect_seconds + self.answer_seconds

    @property
    def secrets(self) -> list[str]:
        """Every secret of the block, the longest first."""
        given = [one.get_secret_value() for one in (self.api_key, self.password) if one is not None]
        return sorted(filter(None, given), key=len, reverse=True)

    def hide(self, text: str) -> str:
        """The text with every secret of the block masked: an answer may repeat what was sent."""
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return text

    async def _ask(
        self, client: httpx.AsyncClient, url: str, body: Mapping[str, JsonValue]
    ) -> dict[str, JsonValue]:
        for attempt in range(1, self.attempts + 1):
            try:
                # The client's own timeout counts from each piece of an answer to the next.
                async with asyncio.timeout(self.whole_seconds):
                    answer = await client.post(url, json=body)
            except TimeoutError:
                # It may have begun with the flow: asking again could run it twice.
                msg = (
                    f"The VibeSurf backend at {self.base_url} gave no answer within "
                    f"{self.whole_seconds:g} s."
                )
                raise EngineError(msg) from None
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = (
                    f"The VibeSurf backend at {self.base_url} cannot be reached: "
                    f"{self.hide(str(error))}"
                )
            except httpx.HTTPError as error:
                # It may have begun with the flow: asking again could run it twice.
                msg = (
                    f"The VibeSurf backend at {self.base_url} gave no answer: "
                    f"{self.hide(repr(error))}"
                )
                raise EngineError(msg) from error
            else:
                if answer.status_code not in _REPEATED:
                    return _read(answer, self.hide)
                problem = f"The VibeSurf backend is busy: it answered {answer.status_code}"
            if attempt < self.attempts:
                pause = self.backoff_seconds * 2 ** (attempt - 1)
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
        msg = f"{problem} (asked {self.attempts} times)"
        raise EngineError(msg)


def _read(answer: httpx.Response, hide: Callable[[str], str]) -> dict[str, JsonValue]:
    kind = answer.headers.get("content-type", "")
    if not answer.is_success:
        msg = f"The VibeSurf backend answered {answer.status_code}: {_shown(answer, hide)}"
        raise EngineError(msg)
    try:
        read = answer.json() if len(answer.content) <= _ANSWER_LIMIT else None
    except ValueError:
        read = None
    if not isinstance(read, dict):
        msg = (
            f"The VibeSurf backend answered {answer.status_code} with {kind or 'no content type'} "
            f"instead of its API's JSON; is the base URL that of the API? It said: "
            f"{_shown(answer, hide)}"
        )
        raise EngineError(msg)
    return {name: _masked(value, hide) for name, value in read.items()}


def _masked(value: JsonValue, hide: Callable[[str], str]) -> JsonValue:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, list):
        return [_masked(one, hide) for one in value]
    if isinstance(value, dict):
        return {name: _masked(one, hide) for name, one in value.items()}
    return value


def _shown(answer: httpx.Response, hide: Callable[[str], str]) -> str:
    # Masked before it is cut: half a key would not be found.
    text = " ".join(hide(answer.text).split())
    return text[:_SHOWN] + ("…" if len(text) > _SHOWN else "") or "nothing"
