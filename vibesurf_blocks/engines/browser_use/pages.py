"""The pages of a session's browser, as browser-use sees them."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from browser_use.browser.events import NavigateToUrlEvent
from browser_use.browser.profile import BrowserProfile, ProxySettings
from browser_use.browser.session import DEFAULT_BROWSER_PROFILE, BrowserSession
from browser_use.browser.views import BrowserStateSummary
from browser_use.browser.watchdogs.aboutblank_watchdog import AboutBlankWatchdog
from browser_use.browser.watchdogs.security_watchdog import SecurityWatchdog
from pydantic import PrivateAttr

from vibesurf_blocks.engines.browser_use.secrets import Secrets
from vibesurf_blocks.sites import Sites

if TYPE_CHECKING:
    from vibesurf_blocks.blocks.browser_settings import BrowserSettings

logger = logging.getLogger(__name__)

_PICTURE_SECONDS = 5.0
_SAY_SECONDS = 1.5
_CLOSE_SECONDS = 5.0
_QUALITY = 70
_SHOWN = """(() => {
  const values = [...document.querySelectorAll("input, textarea, select")]
    .filter(one => one.type !== "password").map(one => one.value);
  return [document.title, document.body ? document.body.innerText : "", ...values].join("\\n");
})()"""


# Its import leaves a folder in the system's temporary one, for a profile that nobody uses here.
with suppress(OSError, TypeError):
    Path(DEFAULT_BROWSER_PROFILE.downloads_path).rmdir()  # type: ignore[arg-type]


async def _nothing(_: AboutBlankWatchdog) -> None:
    """In place of an animation on blank pages, whose picture would be fetched from the net."""


# Private to browser-use, which has no setting for it.
AboutBlankWatchdog._show_dvd_screensaver_on_about_blank_tabs = _nothing  # type: ignore[assignment,method-assign]

_domains_allow = SecurityWatchdog._is_url_allowed


def _allows(watchdog: SecurityWatchdog, url: str) -> bool:
    """Whether a page may be opened: asked before, after redirects, and of new tabs."""
    session = watchdog.browser_session
    host = urlsplit(url).hostname
    if isinstance(session, Pages) and host and session._sites.refuses_host(host) is not None:
        return False
    return _domains_allow(watchdog, url)


# Private to browser-use, whose own lists know names alone, and one of the two at a time.
SecurityWatchdog._is_url_allowed = _allows  # type: ignore[method-assign,assignment]


class Pages(BrowserSession):
    """An attachment to a running browser; what is closed is the attachment alone."""

    _secrets: Secrets = PrivateAttr(default_factory=lambda: Secrets([], []))
    _sites: Sites = PrivateAttr(default_factory=lambda: Sites.of((), ()))

    @classmethod
    def of(
        cls,
        address: str,
        settings: BrowserSettings,
        folder: Path,
        downloads: Path,
        secrets: Secrets,
        page_seconds: float,
        sites: Sites,
    ) -> Pages:
        """Prepare to attach to a browser.

        Args:
            address: Web socket address of its DevTools.
            settings: Which domains may be visited, and the proxy's credentials.
            folder: Where nothing is written: browser-use wants a profile folder, even where it
                starts no browser.
            downloads: Where downloads go.
            secrets: What no picture may show.
            page_seconds: Seconds a page may take to open.
            sites: What may be opened, besides what `settings` say.
        """
        # Where browser-use looks for it whenever it opens a page.
        os.environ["TIMEOUT_NavigateToUrlEvent"] = f"{page_seconds:g}"  # noqa: SIM112
        proxy = None
        if settings.proxy is not None:
            password = settings.proxy_password
            proxy = ProxySettings(
                server=settings.proxy,
                username=settings.proxy_username,
                password=password.get_secret_value() if password is not None else None,
            )
        profile = BrowserProfile(
            cdp_url=address,
            # On this machine: paths of uploads are checked, downloads are found.
            is_local=True,
            keep_alive=True,
            headless=settings.headless,
            no_viewport=True,
            user_data_dir=folder / "browser-use-user-data-dir-none",
            downloads_path=downloads,
            allowed_domains=list(settings.allowed_domains) or None,
            proxy=proxy,
            enable_default_extensions=False,
            captcha_solver=False,
        )
        pages = cls(browser_profile=profile)
        pages._secrets = secrets
        pages._sites = sites
        return pages

    async def get_browser_state_summary(
        self,
        include_screenshot: bool = True,
        cached: bool = False,
        include_recent_events: bool = False,
    ) -> BrowserStateSummary:
        """What the agent sees; without a picture where it would show a secret."""
        summary = await super().get_browser_state_summary(
            include_screenshot, cached, include_recent_events
        )
        if summary.screenshot and await self._shows_secret(summary):
            summary.screenshot = None
        return summary

    async def picture(self) -> bytes | None:
        """The page as a JPEG, None where there is nothing to see or it would show a secret."""
        try:
            async with asyncio.timeout(_PICTURE_SECONDS):
                if await self.get_current_page_url() in {"", "about:blank"}:
                    return None
                if await self._shows_secret(None):
                    return None
                return await self.take_screenshot(format="jpeg", quality=_QUALITY)
        except Exception as error:  # noqa: BLE001 - a picture is not worth a step
            logger.debug("No picture was taken: %r", error)
            return None

    async def where(self) -> tuple[str, str]:
        """Address and title of the page in view, empty where the page does not say."""
        for last in (False, True):
            try:
                async with asyncio.timeout(_SAY_SECONDS):
                    said = await self._evaluate("[location.href, document.title]")
                url, title = said if isinstance(said, list) else ("", "")
                return str(url), str(title)
            except Exception as error:  # noqa: BLE001 - the story goes on without it
                logger.debug("The page does not say where it is: %r", error)
            if not last:
                # One that is for ever about to open keeps the agent from seeing anything at all.
                await self._stop_loading()
        return "", ""

    async def _stop_loading(self) -> None:
        with suppress(Exception):
            async with asyncio.timeout(_SAY_SECONDS):
                session = await self.get_or_create_cdp_session()
                await session.cdp_client.send.Page.stopLoading(session_id=session.session_id)

    async def go_to(self, url: str) -> None:
        """Open a page, however that ends: the agent sees what came of it."""
        with suppress(Exception):
            await self.event_bus.dispatch(NavigateToUrlEvent(url=url, new_tab=False))

    async def only_one_tab(self) -> None:
        """Close all tabs but the one in view: they are left from earlier tasks."""
        with suppress(Exception):
            for target in self.get_page_targets():
                if target.target_id != self.agent_focus_target_id:
                    await self._cdp_close_page(target.target_id)

    async def detach(self) -> None:
        """Give the browser up as it is."""
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.stop()

    async def _shows_secret(self, summary: BrowserStateSummary | None) -> bool:
        if not self._secrets.to_fill_in:
            return False
        seen = summary.dom_state.llm_representation() if summary is not None else ""
        if self._secrets.in_page(seen):
            return True
        try:
            return self._secrets.in_page(str(await self._evaluate(_SHOWN)))
        except Exception:  # noqa: BLE001 - what cannot be looked at is not shown
            return True

    async def _evaluate(self, expression: str) -> object:
        """What an expression is on the page in view."""
        session = await self.get_or_create_cdp_session()
        params: Any = {"expression": expression, "returnByValue": True}
        answer = await session.cdp_client.send.Runtime.evaluate(
            params=params, session_id=session.session_id
        )
        value: object = answer["result"].get("value")
        return value
