"""A profile of VibeSurf's becomes a block that can be used, or says what it lacks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import vibesurf_database as old
from tests.support.vibesurf_keys import encrypted
from vibesurf_blocks.adopt.keys import Keys
from vibesurf_blocks.adopt.profiles import Profile, profile_of
from vibesurf_blocks.adopt.report import Leave
from vibesurf_blocks.blocks import LLMProfile

MACHINE = Keys(["here"])
KEY = encrypted("sk-hush", "here")


def taken(name: str = "main", **more: Any) -> Profile:
    found = profile_of(old.profile(name, **more), MACHINE)
    LLMProfile.model_validate(dict(found.data))  # Prefect would take anything
    return found


def test_a_profile_is_kept_with_its_key() -> None:
    found = taken(
        "My model", encrypted_api_key=KEY, seed="7", description="Mine", is_default=1, top_p=0.5
    )
    assert (found.mended, found.needs) == ((), None)
    assert found.data == {
        "profile_name": "My model",
        "provider": "openai-compatible",
        "model": "m-1",
        "base_url": "http://127.0.0.1:1/v1",
        "temperature": 0.7,
        "top_p": 0.5,
        "seed": 7,
        "description": "Mine",
        "api_key": "sk-hush",
        "active": True,
        "default": True,
    }


@pytest.mark.parametrize(
    "key", [encrypted("sk-hush", "elsewhere"), "garbage", encrypted("a\nb", "here")]
)
def test_a_key_that_cannot_be_had_is_not_invented(key: str) -> None:
    found = taken(encrypted_api_key=key)
    assert "api_key" not in found.data
    assert found.data["active"] is False
    assert "set api_key in its block" in (found.needs or "")


@pytest.mark.parametrize(
    ("theirs", "ours", "url", "needs"),
    [
        ("openai", "openai", "http://127.0.0.1:1/v1", True),
        ("azure_openai", "azure", "http://127.0.0.1:1/v1", True),
        ("anthropic", "anthropic", None, True),
        ("deepseek", "deepseek", None, True),
        ("qwen", "openai-compatible", "https://dashscope.aliyuncs.com/compatible-mode/v1", True),
        ("kimi", "openai-compatible", "https://api.moonshot.cn/v1", True),
        ("lm_studio", "openai-compatible", "http://localhost:1234/v1", False),
        ("ollama", "ollama", "http://127.0.0.1:1/v1", False),
        ("openai_compatible", "openai-compatible", "http://127.0.0.1:1/v1", False),
    ],
)
def test_each_provider_is_asked_where_vibesurf_asked_it(
    theirs: str, ours: str, url: str | None, needs: bool
) -> None:
    found = taken(provider=theirs)
    assert (found.data["provider"], found.data.get("base_url")) == (ours, url)
    assert (found.needs is not None) is needs
    assert found.data["active"] is not needs


def test_bedrock_keeps_both_of_its_keys_apart() -> None:
    found = taken(
        provider="anthropic_bedrock",
        encrypted_api_key=KEY,
        provider_config='{"aws_secret_access_key": "hush", "region_name": "eu-west-1"}',
    )
    assert found.data["provider_secrets"] == {
        "aws_access_key_id": "sk-hush",
        "aws_secret_access_key": "hush",
    }
    assert found.data["provider_config"] == {"aws_region": "eu-west-1"}
    assert "api_key" not in found.data
    assert "moved to provider_secrets" in " ".join(found.mended)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"temperature": "9"}, "its temperature cannot be"),
        ({"max_tokens": '"many"'}, "its max_tokens cannot be"),
        ({"seed": "{"}, "its seed is no number"),
        ({"provider": "groq", "max_tokens": 9, "base_url": None}, "max_tokens, which groq"),
        ({"provider_config": "[1]"}, "provider_config is no JSON object"),
        ({"description": "x" * 10_001}, "description"),
        ({"provider": "ollama", "encrypted_api_key": KEY}, "which ollama does not use"),
    ],
    ids=range(7),  # a key is encrypted otherwise each time
)
def test_what_does_not_fit_is_left_out_and_told(more: dict[str, Any], why: str) -> None:
    (told,) = taken(**more).mended
    assert why in told


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"profile_name": None}, "has no name"),
        ({"profile_name": "x" * 101}, "more than 100"),
        ({"profile_name": "builtin"}, "built-in reader"),
        ({"provider": "crystal-ball"}, "provider"),
        ({"provider": "vibesurf"}, "whole tasks"),
        ({"model": None}, "model"),
        # Left out, its key would go to another address than before.
        ({"base_url": "ftp://x"}, "base_url"),
    ],
    ids=str,
)
def test_what_cannot_be_a_profile_is_left(more: dict[str, Any], why: str) -> None:
    with pytest.raises(Leave, match=why):
        taken(**more)
