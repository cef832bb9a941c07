"""What is used of browser-use without a promise still is there, and does what it is used for."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from browser_use import Agent
from browser_use.agent.message_manager.service import MessageManager
from browser_use.agent.views import AgentState
from browser_use.browser.events import NavigateToUrlEvent
from browser_use.browser.session import BrowserSession
from browser_use.browser.watchdogs.aboutblank_watchdog import AboutBlankWatchdog
from browser_use.browser.watchdogs.security_watchdog import SecurityWatchdog
from browser_use.mcp.client import MCPClient
from browser_use.tokens.custom_pricing import CUSTOM_MODEL_PRICING
from browser_use.tools.service import Tools

from tests.support.stack import clean_env
from vibesurf_blocks.blocks import BrowserSettings
from vibesurf_blocks.engines.browser_use import pages
from vibesurf_blocks.engines.browser_use.driver import _DROPPED, _with_instructions
from vibesurf_blocks.engines.browser_use.secrets import Secrets
from vibesurf_blocks.sites import Sites


def test_blank_pages_fetch_no_picture_from_the_net() -> None:
    source = inspect.getsource(AboutBlankWatchdog)
    assert "_show_dvd_screensaver_on_about_blank_tabs" in source
    assert AboutBlankWatchdog._show_dvd_screensaver_on_about_blank_tabs is pages._nothing


def test_its_import_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    temporary.mkdir()
    subprocess.run(
        [sys.executable, "-c", "import vibesurf_blocks.engines.browser_use.warm"],
        env={**clean_env(VIBESURF_HOME=str(home)), "TMPDIR": str(temporary), "HOME": str(home)},
        check=True,
    )
    assert list(temporary.iterdir()) == []


def test_the_agent_makes_its_pictures_where_it_is_overridden() -> None:
    assert "self._set_screenshot_service()" in inspect.getsource(Agent.__init__)
    assert "screenshot_service.store_screenshot(" in inspect.getsource(Agent._make_history_item)
    assert "is_anthropic = isinstance(self.llm, ChatAnthropic)" in inspect.getsource(Agent.__init__)


def test_a_follow_up_is_worded_as_after_a_restart() -> None:
    manager = MessageManager.__new__(MessageManager)
    manager.task = "Order."
    manager.state = AgentState().message_manager_state
    manager.add_new_task("For Ada.")
    manager.add_new_task("And mail it.")
    assert manager.task == _with_instructions("Order.", ["For Ada.", "And mail it."])


def test_the_state_is_whole_without_what_is_left_out_of_it() -> None:
    state = AgentState(n_steps=4)
    kept = state.model_dump(mode="json", exclude=_DROPPED)
    assert AgentState.model_validate(kept).n_steps == 4


def test_a_page_may_take_as_long_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMEOUT_NavigateToUrlEvent", "7.5")
    assert NavigateToUrlEvent(url="http://127.0.0.1/").event_timeout == 7.5


def test_what_is_called_takes_what_it_is_given() -> None:
    assert "action_timeout" in inspect.signature(Tools.act).parameters
    assert {"format", "quality"} <= inspect.signature(
        BrowserSession.take_screenshot
    ).parameters.keys()
    assert inspect.iscoroutinefunction(BrowserSession._cdp_close_page)
    assert {"_tools", "_connected", "_disconnect_event"} <= vars(MCPClient("x", "y")).keys()
    prices = next(iter(CUSTOM_MODEL_PRICING.values()))
    assert {"input_cost_per_token", "output_cost_per_token"} <= prices.keys()


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://example.org/", True),
        ("about:blank", True),
        ("http://secret.example.org/", False),
        ("http://169.254.169.254/latest/meta-data/", False),
        ("http://[::ffff:a9fe:a9fe]/", False),
        ("http://metadata.google.internal/", False),
        ("http://10.0.0.1/", False),
    ],
)
def test_every_page_that_opens_is_asked_for_by_our_rules(
    url: str, allowed: bool, tmp_path: Path
) -> None:
    for handler in ("on_NavigateToUrlEvent", "on_NavigationCompleteEvent", "on_TabCreatedEvent"):
        asked = inspect.getsource(getattr(SecurityWatchdog, handler))
        assert "self._is_url_allowed(event.url)" in asked
    session = pages.Pages.of(
        "ws://127.0.0.1:1/",
        BrowserSettings(),
        tmp_path,
        tmp_path,
        Secrets([], []),
        1.0,
        Sites.of((), ("secret.example.org", "private")),
    )
    watchdog = SecurityWatchdog(event_bus=session.event_bus, browser_session=session)
    assert watchdog._is_url_allowed(url) is allowed
