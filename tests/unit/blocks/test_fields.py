"""What the blocks take, and what they refuse with a sentence that holds no secret."""

from __future__ import annotations

import pytest
from prefect.blocks.core import Block
from pydantic import ValidationError

from vibesurf_blocks.blocks import (
    BrowserSettings,
    ComposioToolkits,
    LLMProfile,
    MCPServers,
    VibeSurfBackend,
)
from vibesurf_blocks.blocks.fields import first_problem
from vibesurf_blocks.tasks import McpServerConfig

SECRET = "sk-very-secret-value"


def profile(**more: object) -> LLMProfile:
    return LLMProfile.model_validate({"provider": "openai", "model": "m", **more})


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        (LLMProfile, {"api_key": f"{SECRET}\nX-Evil: 1"}, "api_key: must be one line"),
        (LLMProfile, {"api_key": f"{SECRET}é"}, "api_key: must be one line"),
        (ComposioToolkits, {"api_key": "  \n"}, "api_key: must not be empty"),
        (LLMProfile, {"provider": "nobody", "api_key": SECRET}, "provider: Input should be"),
        (LLMProfile, {"model": ""}, "model: "),
        (LLMProfile, {"profile_name": "x" * 101}, "profile_name: "),
        (LLMProfile, {"profile_name": "builtin"}, "profile_name: must not be 'builtin'"),
        (LLMProfile, {"base_url": f"http://me:{SECRET}@host"}, "base_url: must not hold"),
        (LLMProfile, {"base_url": "nowhere"}, "base_url: must be an http"),
        (LLMProfile, {"temperature": 3}, "temperature: "),
        (
            LLMProfile,
            {"provider_config": {"default_headers": {"Authorization": SECRET}}},
            "provider_config: must hold no secrets: put 'Authorization'",
        ),
        (MCPServers, {"config": {"mcpServers": {"a": {}}}}, r"config: mcpServers.a.command: Field"),
        (MCPServers, {"config": {"servers": {}}}, "config: servers: Extra"),
        (MCPServers, {"secrets": {"a": SECRET}}, "secrets: must name servers"),
        (ComposioToolkits, {"api_key": f"{SECRET}\r\n{SECRET}"}, "api_key: must be one line"),
        (BrowserSettings, {"proxy": f"http://me:{SECRET}@proxy"}, "proxy: must not hold"),
        (BrowserSettings, {"proxy": "ftp://proxy"}, "proxy: must be a URL"),
        (BrowserSettings, {"allowed_domains": ["a.org", "b c"]}, "allowed_domains: entry 2"),
        (BrowserSettings, {"sensitive_data": {"a": [SECRET]}}, "sensitive_data: must be texts"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_without_secrets(
    kind: type[Block], given: dict[str, object], says: str
) -> None:
    whole = {"provider": "openai", "model": "m"} if kind is LLMProfile else {}
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({**whole, **given})
    assert first_problem(caught.value).startswith(says)
    assert SECRET not in first_problem(caught.value)
    assert SECRET not in str(caught.value)


def test_a_field_that_was_emptied_in_the_ui_is_as_if_it_was_left_out() -> None:
    emptied = profile(profile_name=" ", api_key="", description="", base_url="")
    assert emptied == profile()


def test_white_space_around_a_pasted_key_is_dropped() -> None:
    key = profile(api_key=f" {SECRET}\n").api_key
    assert key is not None
    assert key.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("given", "meant"),
    [("OpenAI", "openai"), ("azure_openai", "azure"), ("AWS Bedrock", "aws-bedrock")],
)
def test_providers_go_by_the_names_people_write(given: str, meant: str) -> None:
    assert profile(provider=given).provider == meant


def test_no_secret_is_left_in_what_a_model_said() -> None:
    one = profile(api_key=SECRET, provider_secrets={"default_headers": {"x-key": "other-key"}})
    assert one.hide(f"Bad key {SECRET} or other-key") == "Bad key *** or ***"
    assert SECRET not in repr(one)
    assert "other-key" not in repr(one)


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        (
            profile(api_key=SECRET, provider_secrets={"a": SECRET}),
            {"api_key", "provider_secrets.*"},
        ),
        (MCPServers.model_validate({"secrets": {"a": {"B": SECRET}}}), {"secrets.*"}),
        (ComposioToolkits.model_validate({"api_key": SECRET}), {"api_key"}),
        (
            BrowserSettings.model_validate(
                {"proxy_password": SECRET, "sensitive_data": {"a": SECRET}}
            ),
            {"proxy_password", "sensitive_data.*"},
        ),
        (
            VibeSurfBackend.model_validate(
                {"base_url": "http://x", "api_key": SECRET, "password": SECRET}
            ),
            {"api_key", "password"},
        ),
    ],
)
def test_secrets_are_saved_whole_and_known_as_secrets(block: Block, fields: set[str]) -> None:
    """Prefect masks what it does not recognise as a secret, and stores the mask."""
    saved = block.model_dump(mode="json", context={"include_secrets": True})
    assert str(saved).count(SECRET) == len(fields)
    assert set(block.model_json_schema()["secret_fields"]) == fields
    assert SECRET not in block.model_dump_json()


def test_servers_get_their_secrets_and_a_tasks_own_take_their_place_without_them() -> None:
    servers = {"a": {"command": "x", "env": {"HOST": "h"}}, "b": {"command": "y"}}
    block = MCPServers(config={"mcpServers": servers}, secrets={"a": {"TOKEN": SECRET}})
    merged = block.merged()
    assert merged.servers["a"].env == {"HOST": "h", "TOKEN": SECRET}
    own = McpServerConfig.model_validate({"mcpServers": {"a": {"command": "evil"}}})
    merged = block.merged(own)
    assert merged.servers["a"].env == {}
    assert set(merged.servers) == {"a", "b"}
