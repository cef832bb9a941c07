"""The question a submit asks first: each way in which a model fails to answer has its sentence."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.model_server import (
    Answer,
    ModelServer,
    cut_off,
    fails,
    held,
    running,
    says,
    sends,
)
from vibesurf_blocks.blocks import LLMProfile
from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.models.check import check_model
from vibesurf_blocks.models.clients import chat_model
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack.ready import free_port

KEY = "sk-this-must-not-be-told"
SETTINGS = Settings(model_check_seconds=2)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with running() as server:
        yield server


def profile(base_url: str, **more: object) -> LLMProfile:
    return LLMProfile.model_validate(
        {
            "provider": "openai-compatible",
            "model": "m-1",
            "api_key": KEY,
            "base_url": base_url,
            **more,
        }
    )


@pytest.mark.parametrize(
    "answer",
    [
        says("Paris"),
        says("The capital is **Paris**."),
        says("París"),
        says("", finish="length"),  # it thought, and was given no room to answer
    ],
)
async def test_a_model_that_answers_is_fine(model: ModelServer, answer: Answer) -> None:
    model.otherwise = answer
    await check_model(profile(model.url), SETTINGS)
    assert len(model.requests) == 1


NO_CHOICES = json.dumps({"id": "x", "object": "chat.completion", "choices": []}).encode()

BROKEN = [
    (fails(401, f"Incorrect API key provided: {KEY}"), r"refused the API key \(401\)"),
    (fails(403, "No access"), r"refused the API key \(403\)"),
    (fails(404, "The model `m-1` does not exist"), r"knows no model 'm-1' \(404\)"),
    (fails(400, "model 'm-1' not found"), r"knows no model 'm-1' \(400\)"),
    (fails(404, "Not Found"), r"no model's API at .* \(404"),
    (fails(400, f"temperature is out of range for {KEY}"), r"refused the request \(400.*\*\*\*"),
    (fails(429, "Quota exceeded"), r"refuses requests for now \(429"),
    (fails(500, f"Internal error while serving {KEY}"), r"has a fault \(500.*\*\*\*"),
    (fails(502), r"has a fault \(502"),
    (sends(b"<html>Welcome</html>"), "answered, but not as a model's API does"),
    (sends(b"{not json", "application/json"), "answered, but not as a model's API does"),
    (sends(NO_CHOICES, "application/json"), "answered, but not as a model's API does"),
    (sends(b"", "application/json"), "answered, but not as a model's API does"),
    (cut_off(), "(cannot be reached|answered, but not)"),
    (says("lorem ipsum"), "with nonsense: lorem ipsum"),
    (says(f"You sent {KEY}"), r"with nonsense: You sent \*\*\*"),
    (says(""), "with nonsense: nothing"),
    (held(says("Paris")), "gave no answer within 2 s"),
]


@pytest.mark.parametrize(("answer", "told"), BROKEN)
async def test_a_model_that_does_not_answer_is_told_in_time_and_without_the_key(
    model: ModelServer, answer: Answer, told: str
) -> None:
    model.otherwise = answer
    begun = time.monotonic()
    with pytest.raises(ModelError, match=told) as caught:
        await check_model(profile(model.url), SETTINGS)
    assert time.monotonic() - begun < 10
    assert KEY not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


async def test_an_address_where_nobody_is_is_told() -> None:
    with pytest.raises(ModelError, match="cannot be reached"):
        await check_model(profile(f"http://127.0.0.1:{free_port()}/v1"), SETTINGS)


async def test_plain_http_behind_https_is_told(model: ModelServer) -> None:
    with pytest.raises(ModelError, match="cannot be reached"):
        await check_model(profile(model.url.replace("http:", "https:")), SETTINGS)


async def test_a_package_that_is_missing_is_told() -> None:
    keys = {"aws_access_key_id": "AKIA-1", "aws_secret_access_key": KEY, "aws_region": "eu-1"}
    one = LLMProfile.model_validate(
        {"provider": "aws-bedrock", "model": "m", "provider_secrets": keys}
    )
    with pytest.raises(ModelError, match=r"needs a package that is not installed: .*boto3"):
        await check_model(one, SETTINGS)


@pytest.mark.parametrize("provider", ["mistral", "deepseek", "openrouter", "anthropic", "ollama"])
async def test_other_providers_clients_tell_the_same(model: ModelServer, provider: str) -> None:
    """Each has errors of its own."""
    key = None if provider == "ollama" else KEY
    nobody = f"http://127.0.0.1:{free_port()}"
    one = profile(nobody, provider=provider, api_key=key)
    # Imports the client: on a busy machine that alone takes longer than a model may.
    chat_model(one, settings=SETTINGS)
    with pytest.raises(ModelError, match="cannot be reached"):
        await check_model(one, SETTINGS)
    if provider in {"mistral", "deepseek", "openrouter"}:
        model.otherwise = fails(401, f"Bad key {KEY}")
        with pytest.raises(ModelError, match="refused the API key"):
            await check_model(profile(model.url, provider=provider), SETTINGS)
        model.otherwise = says("Paris")
        await check_model(profile(model.url, provider=provider), SETTINGS)
