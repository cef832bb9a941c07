"""What is hidden of a run's secrets: all of them, however they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from vibesurf_blocks.blocks import BrowserSettings
from vibesurf_blocks.engines.browser_use.secrets import Secrets
from vibesurf_blocks.engines.protocol import EngineContext, Tools
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask, McpServerConfig


def test_two_domains_with_one_placeholder_are_both_hidden() -> None:
    data = {"https://a.example": {"pw": "first-pass"}, "https://b.example": {"pw": "other-word"}}
    secrets = Secrets.of(
        EngineContext(
            task=AgentTask(task_description="Log in.", session_id="s-1"),
            task_id="t",
            session_dir=Path("/nonexistent"),
            settings=Settings(),
            tools=Tools(browser=BrowserSettings.model_validate({"sensitive_data": data})),
        )
    )
    assert secrets.hide("first-pass, other-word") == "<secret>pw</secret>, <secret>pw</secret>"
    assert secrets.in_page("so: first-pass")
    assert secrets.in_page("so: other-word")


def test_a_short_text_is_hidden_where_it_is_named_and_stands_alone() -> None:
    secrets = Secrets([("cvc", "737"), ("none", "")], ["abc"])
    assert secrets.hide("CVC 737, a Boeing1737 of abc") == (
        "CVC <secret>cvc</secret>, a Boeing1737 of abc"
    )
    assert secrets.to_fill_in
    assert secrets.in_page("CVC: 737.")
    assert not secrets.in_page("call 73712")


@pytest.mark.parametrize(
    "written",
    [
        "p&ss 'w\u00f6rd\"/x",
        "p%26ss%20%27w%C3%B6rd%22/x",
        "p%26ss%20%27w%C3%B6rd%22%2Fx",
        "p%26ss%20%27w%c3%b6rd%22%2fx",
        "p%26ss+%27w%C3%B6rd%22%2Fx",
        "p&ss 'w\\u00f6rd\\\"/x",
        "p&ss 'w\u00f6rd\\\"/x",
        "p&amp;ss &#x27;w\u00f6rd&quot;/x",
        "p&amp;ss &#39;w\u00f6rd&quot;/x",
        "p&amp;ss 'w\u00f6rd\"/x",
    ],
)
def test_a_secret_is_hidden_however_it_is_written(written: str) -> None:
    text = "p&ss 'w\u00f6rd\"/x"
    assert Secrets([("pw", text)], []).hide(f"q={written};") == "q=<secret>pw</secret>;"
    assert Secrets([], [text]).hide(f"q={written};") == "q=***;"


def test_what_is_hidden_stays_as_it_is_when_it_is_hidden_again() -> None:
    secrets = Secrets([("user", "user"), ("pin", "pin")], [])
    once = secrets.hide("user and pin")
    assert once == "<secret>user</secret> and <secret>pin</secret>"
    assert secrets.hide(once) == once


def test_a_model_sees_the_settings_of_a_server_and_not_its_secrets() -> None:
    env = {
        "STOCK_TOKEN": "tok-1",
        "PAT": "ghx_0123456789abcdef",
        "DATABASE": "pg://me:pw@db/1",
        "REGION": "eu-west-1",
        "SHOP": "https://shop.example",
    }
    context = EngineContext(
        task=AgentTask(task_description="Look.", session_id="s-1"),
        task_id="t",
        session_dir=Path("/nonexistent"),
        settings=Settings(),
        tools=Tools(
            mcp=McpServerConfig.model_validate({"mcpServers": {"x": {"command": "x", "env": env}}})
        ),
    )
    text = ", ".join(env.values())
    assert Secrets.of(context).hide(text) == "***, ***, ***, ***, ***"
    assert Secrets.of(context).hide_from_model(text) == (
        "***, ***, ***, eu-west-1, https://shop.example"
    )
