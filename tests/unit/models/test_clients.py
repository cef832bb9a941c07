"""The client of a profile's model: one for each provider, set up as the profile says."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from tests.support.model_server import ModelServer, fails, running
from vibesurf_blocks.blocks import LLMProfile
from vibesurf_blocks.blocks.llm_profile import Provider
from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.models.clients import CLIENTS, chat_model
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import BACKEND_PROVIDER


@pytest.fixture
def model() -> Any:
    with running() as server:
        yield server


def profile(**more: object) -> LLMProfile:
    return LLMProfile.model_validate(
        {"provider": "openai-compatible", "model": "m-1", "api_key": "sk-test", **more}
    )


def minimal(provider: Provider) -> LLMProfile:
    client = CLIENTS[provider]
    return LLMProfile(
        provider=provider,
        model="bu-2-0" if provider == "browser-use" else "m-1",
        api_key="sk-test" if client.key is not None else None,
        base_url="http://127.0.0.1:9/v1" if client.takes.get("base_url") else None,
    )


def test_each_provider_of_models_has_a_client() -> None:
    assert {*CLIENTS, BACKEND_PROVIDER} == set(get_args(Provider))


def test_a_backend_has_no_model_to_ask() -> None:
    with pytest.raises(ModelError, match="takes whole tasks"):
        chat_model(LLMProfile(provider=BACKEND_PROVIDER, model="m-1"))


@pytest.mark.parametrize("provider", [one for one in CLIENTS if one != "oci"])
def test_each_client_takes_what_the_table_says(provider: Provider) -> None:
    """Made with every parameter it takes: browser-use may have renamed one."""
    client = CLIENTS[provider]
    sampling = {"temperature": 0.5, "top_p": 0.5, "max_tokens": 50, "seed": 7}
    given = {k: v for k, v in {**sampling, "frequency_penalty": 0.1}.items() if k in client.takes}
    made = chat_model(minimal(provider).model_copy(update=given))
    assert made.model
    for name, value in given.items():
        outer, _, inner = client.takes[name].partition(".")
        there = getattr(made, outer)
        assert (there[inner] if inner else there) == value


def test_a_provider_whose_package_is_missing_says_what_to_install() -> None:
    with pytest.raises(ModelError, match="pip install oci"):
        chat_model(minimal("oci"))


async def test_the_profile_reaches_the_model(model: ModelServer) -> None:
    from browser_use.llm.messages import UserMessage

    chat = chat_model(
        profile(
            base_url=model.url,
            temperature=0.7,
            max_tokens=33,
            top_p=0.9,
            frequency_penalty=0.4,
            seed=5,
            provider_config={"default_headers": {"x-team": "blue"}},
        )
    )
    answer = await chat.ainvoke([UserMessage(content="What is the capital of France?")])
    assert answer.completion == "Paris."
    asked = model.requests[0]
    assert asked.headers["authorization"] == "Bearer sk-test"
    assert asked.headers["x-team"] == "blue"
    sent = {"temperature": 0.7, "max_completion_tokens": 33, "top_p": 0.9, "seed": 5}
    assert asked.body.items() >= {**sent, "frequency_penalty": 0.4, "model": "m-1"}.items()


def test_a_token_or_an_account_may_stand_in_for_the_key() -> None:
    made = chat_model(
        profile(
            provider="azure",
            api_key=None,
            base_url="https://x.openai.azure.com",
            provider_secrets={"azure_ad_token": "token"},
        )
    )
    assert made.model == "m-1"
    config = {"vertexai": True, "project": "p", "location": "l"}
    assert chat_model(profile(provider="google", api_key=None, provider_config=config)).model


async def test_timeout_and_attempts_come_from_the_settings(model: ModelServer) -> None:
    from browser_use.llm.exceptions import ModelProviderError
    from browser_use.llm.messages import UserMessage

    model.otherwise = fails(503)
    settings = Settings(model_timeout_seconds=5, model_attempts=2)
    chat = chat_model(profile(base_url=model.url), settings=settings)
    with pytest.raises(ModelProviderError):
        await chat.ainvoke([UserMessage(content="Hello")])
    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"provider": "openai", "api_key": None}, "has no API key"),
        ({"base_url": None}, "has no base URL"),
        ({"provider": "ollama"}, "takes no API key"),
        ({"provider": "groq", "seed": 1, "max_tokens": 5}, "takes no max_tokens"),
        ({"base_url": "http://x", "provider_config": {"nope": 1}}, "knows no option 'nope'"),
    ],
)
def test_what_a_provider_does_not_take_is_told(more: dict[str, object], says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        chat_model(profile(**more))
    assert "sk-test" not in str(caught.value)
