"""A webhook that is told of tasks: where it is, how it is signed, how often it is tried."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import TYPE_CHECKING, Annotated, Final

import httpx
from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, SecretStr, field_validator

from vibesurf_blocks.alerts import signature
from vibesurf_blocks.blocks.looks import DOCUMENTATION, Logo
from vibesurf_blocks.errors import AlertError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

_AGAIN: Final = {408, 425, 429}
"""Answers, beside all of 500 and above, after which it is tried again."""

_LONGEST_PAUSE: Final = 300.0


class VibeSurfWebhook(Block):
    """A receiver of alerts.

    Example:
        Say where alerts are to be posted:

        ```python
        from vibesurf_blocks.blocks import VibeSurfWebhook

        VibeSurfWebhook(url="https://example.org/hook", secret="whsec_…").save("ops")
        webhook = VibeSurfWebhook.load("BLOCK_NAME")
        ```
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "VibeSurf Webhook"
    _block_type_slug = "vibesurf-webhook"
    _logo_url = Logo("vibesurf-webhook")
    _documentation_url = DOCUMENTATION
    _description = (
        "Where alerts of tasks, batches and workflows are posted as JSON. With a secret they are "
        "signed as standardwebhooks.com says."
    )

    url: Annotated[
        SecretStr, Field(title="URL", description="Where to post; http or https. Kept secret.")
    ]
    secret: Annotated[
        SecretStr | None,
        Field(description="Signs what is sent: any text, or `whsec_` and base64."),
    ] = None
    attempts: Annotated[int, Field(ge=1, le=20, description="Times it is tried at the most.")] = 6
    backoff_seconds: Annotated[
        float,
        Field(gt=0, title="Backoff", description="Seconds before the second try; then doubled."),
    ] = 1.0
    timeout_seconds: Annotated[
        float, Field(gt=0, le=300, title="Timeout", description="Seconds one try may take.")
    ] = 10.0

    @field_validator("url")
    @classmethod
    def _http(cls, value: SecretStr) -> SecretStr:
        try:
            url = httpx.URL(value.get_secret_value().strip())
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in {"http", "https"} or not url.host:
            msg = "must be an http or https URL with a host"
            raise ValueError(msg)
        return SecretStr(str(url))

    @field_validator("secret")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            signature.key_of(value.get_secret_value())
        return value

    async def send(self, message_id: str, message: Mapping[str, JsonValue]) -> int:
        """Post a message, again where the receiver fails; the number of tries it took.

        Args:
            message_id: The same for every try, so that a receiver can tell a repetition.
            message: What is posted, as JSON.

        Raises:
            AlertError: It was refused, or no try got through. The URL is not told.
        """
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        problem = ""
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
            for attempt in range(1, self.attempts + 1):
                try:
                    # A receiver that sends a byte now and then must not hold it up either.
                    async with asyncio.timeout(self.timeout_seconds):
                        answer = await self._post(client, message_id, body)
                except TimeoutError:
                    problem = f"did not answer within {self.timeout_seconds:g} s"
                except httpx.HTTPError as error:
                    problem = f"cannot be reached ({type(error).__name__})"
                else:
                    if answer.is_success:
                        return attempt
                    problem = f"answered {answer.status_code}"
                    if answer.status_code < 500 and answer.status_code not in _AGAIN:
                        msg = f"The webhook {problem}; it is not asked again."
                        raise AlertError(msg)
                if attempt < self.attempts:
                    pause = min(self.backoff_seconds * 2 ** (attempt - 1), _LONGEST_PAUSE)
                    await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
        msg = f"The webhook {problem} (asked {self.attempts} times)."
        raise AlertError(msg)

    async def _post(
        self, client: httpx.AsyncClient, message_id: str, body: bytes
    ) -> httpx.Response:
        moment = int(time.time())
        signed = {signature.ID_HEADER: message_id, signature.TIME_HEADER: str(moment)}
        if self.secret is not None:
            secret = self.secret.get_secret_value()
            signed = signature.headers(secret, message_id, moment, body)
        request = client.build_request(
            "POST",
            self.url.get_secret_value(),
            content=body,
            headers={"content-type": "application/json", "user-agent": "vibesurf-blocks", **signed},
            timeout=self.timeout_seconds,
        )
        answer = await client.send(request, stream=True)  # what it says is of no interest
        await answer.aclose()
        return answer
