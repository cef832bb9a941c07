"""Fetches one page within limits of time, size, redirects and attempts."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from vibesurf_blocks import __version__
from vibesurf_blocks.engines.reader.addresses import (
    AddressRefusedError,
    GuardedTransport,
    NameUnknownError,
)
from vibesurf_blocks.engines.reader.inflate import ACCEPTED, decoder_for
from vibesurf_blocks.engines.reader.limits import BACKOFF, REDIRECTS, RETRY_AFTER
from vibesurf_blocks.engines.reader.media import Kind, kind_of
from vibesurf_blocks.engines.reader.text import clean
from vibesurf_blocks.engines.reader.urls import Credentials, normalise, origin
from vibesurf_blocks.settings import Settings

_HEADERS = {
    "User-Agent": f"vibesurf-blocks/{__version__} (page reader)",
    "Accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.5",
    "Accept-Encoding": ACCEPTED,
}

DeclineRedirect = Callable[[str], str | None]
"""Says why a redirect to a URL is not to be followed, or None where it is."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it came.

    Attributes:
        url: Where it was found, after redirects.
        status: HTTP status.
        content_type: Value of the header, maybe empty.
        body: At most `Settings.page_bytes` bytes, decompressed.
        truncated: Whether the page is longer than that.
        visited: URLs that redirects led to, in order.
    """

    url: str
    status: int
    content_type: str
    body: bytes
    truncated: bool
    visited: tuple[str, ...]


class FetchError(Exception):
    """A page could not be fetched.

    Attributes:
        reason: Why, as a phrase after the URL.
        status: HTTP status, or None where there was no answer.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class RedirectDeclinedError(Exception):
    """A redirect led to where the caller does not want to go.

    Attributes:
        reason: The caller's reason.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _TransientError(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, status: int | None = None, after: float | None = None) -> None:
        super().__init__(reason)
        self.failure = FetchError(reason, status)
        self.after = after


class Fetcher:
    """Fetches pages one after another over kept connections.

    Args:
        settings: Timeouts and limits.
        credentials: User names and passwords by origin; sent to that origin only.
    """

    def __init__(self, settings: Settings, credentials: Mapping[str, Credentials]) -> None:
        # At DEBUG httpcore logs whole response headers: cookies, and redirects with passwords.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        self._settings = settings
        self._auth = {
            site: httpx.BasicAuth(given.username, given.password)
            for site, given in credentials.items()
        }
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(settings.sites),
            headers=_HEADERS,
            timeout=httpx.Timeout(settings.request_timeout, connect=settings.request_timeout / 2),
            trust_env=False,
            follow_redirects=False,
        )

    async def get(self, url: str, decline: DeclineRedirect) -> Fetched:
        """Fetch a page, again where a failure may pass.

        Raises:
            FetchError: It cannot be had.
            RedirectDeclinedError: `decline` refused a redirect.
        """
        attempts = self._settings.request_attempts
        for attempt in range(1, attempts + 1):
            # A page must not see what another one set: a restored run would not have it.
            self._client.cookies.clear()
            try:
                return await self._attempt(url, decline)
            except _TransientError as error:
                if attempt == attempts or (error.after or 0) > RETRY_AFTER:
                    times = f", asked {attempt} times" if attempt > 1 else ""
                    raise FetchError(
                        f"{error.failure.reason}{times}", error.failure.status
                    ) from error
                await asyncio.sleep(max(error.after or 0, _backoff(attempt)))
        raise AssertionError  # the last attempt returns or raises

    async def _attempt(self, url: str, decline: DeclineRedirect) -> Fetched:
        seconds = self._settings.request_timeout
        answered: list[int] = []
        try:
            # httpx limits each read; a server that trickles is only stopped by the whole's limit.
            async with asyncio.timeout(seconds):
                return await self._follow(url, decline, answered)
        except (TimeoutError, httpx.TimeoutException) as error:
            if answered:
                msg = f"did not finish within {seconds:g} s"
                raise FetchError(msg, answered[0]) from error
            msg = f"did not answer within {seconds:g} s"
            raise _TransientError(msg) from error
        except (AddressRefusedError, NameUnknownError) as error:
            raise FetchError(str(error)) from error
        except httpx.ConnectError as error:
            msg = f"cannot be connected to: {clean(str(error), 120) or 'no connection'}"
            raise _TransientError(msg) from error
        except httpx.TransportError as error:
            msg = f"broke off: {clean(str(error), 120) or type(error).__name__}"
            raise _TransientError(msg) from error

    async def _follow(self, url: str, decline: DeclineRedirect, answered: list[int]) -> Fetched:
        visited: list[str] = []
        while True:
            auth = self._auth.get(origin(url))
            response = await self._client.send(
                self._client.build_request("GET", url), stream=True, auth=auth
            )
            try:
                if not response.has_redirect_location:
                    answered.append(response.status_code)
                    return await self._read(url, response, tuple(visited))
                target = _target(url, response)
            finally:
                await response.aclose()
            if len(visited) == REDIRECTS:
                msg = f"redirects more than {REDIRECTS} times"
                raise FetchError(msg, response.status_code)
            if target not in visited and target != url:
                reason = decline(target)
                if reason is not None:
                    raise RedirectDeclinedError(reason)
            visited.append(target)
            url = target

    async def _read(self, url: str, response: httpx.Response, visited: tuple[str, ...]) -> Fetched:
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            after = _retry_after(response.headers.get("Retry-After", ""))
            raise _TransientError(_phrase(status, after), status, after)
        if not response.is_success:
            raise FetchError(_phrase(status), status)
        content_type = response.headers.get("Content-Type", "")
        if kind_of(content_type) is Kind.BINARY:
            # Not downloaded: there is nothing in it that could be read.
            msg = f"is {clean(content_type.split(';')[0], 60)}, not a page of text"
            raise FetchError(msg, status)
        decoder = decoder_for(response.headers.get("Content-Encoding", ""))
        if decoder is None:
            msg = "is compressed in a way that was not asked for"
            raise FetchError(msg, status)
        limit = self._settings.page_bytes
        body = bytearray()
        async for chunk in response.aiter_raw():
            try:
                body += decoder.feed(chunk, limit + 1 - len(body))
            except ValueError as error:
                raise FetchError(str(error), status) from error
            if len(body) > limit:
                break
        truncated = len(body) > limit
        return Fetched(url, status, content_type, bytes(body[:limit]), truncated, visited)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _target(url: str, response: httpx.Response) -> str:
    location = response.headers["Location"]
    status = response.status_code
    try:
        joined = str(httpx.URL(url).join(location))
    except (httpx.InvalidURL, ValueError) as error:
        msg = "redirects to what is no URL"
        raise FetchError(msg, status) from error
    target = normalise(joined)
    if target is None:
        msg = f"redirects to what is no web address: {clean(joined, 80)}"
        raise FetchError(msg, status)
    return target


def _phrase(status: int, after: float | None = None) -> str:
    try:
        words = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        words = str(status)
    if after is not None and after > RETRY_AFTER:
        return f"{words}, asks to be left alone for {after:.0f} s"
    return words


def _retry_after(value: str) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number, or the time until a date."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _backoff(attempt: int) -> float:
    longest = BACKOFF * 2 ** (attempt - 1)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads requests, hides nothing
