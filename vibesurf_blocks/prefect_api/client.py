"""A Prefect client that answers a busy server in milliseconds, not in Prefect's seconds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import httpx
from prefect.client.orchestration import PrefectClient, get_client

_BUSY_TRIES = 12
_BUSY_SECONDS = 0.01


_CSRF_PATH = "/csrf-token"
_TOKEN_SECONDS = 1.0


class RetryBusyTransport(httpx.AsyncHTTPTransport):
    """Repeats a request that was answered 503, after 10, 20, 30 … ms.

    Prefect's server on SQLite answers 503 to a request that met another writer and did nothing;
    Prefect's own client then waits for two seconds and more.

    Where the server wants CSRF tokens, a client has one at a time, and asks for another in each of
    several simultaneous requests that have none: all but one would be refused, again and again. So
    those who ask at once are given the same one here.
    """

    def __init__(self, limits: httpx.Limits) -> None:
        super().__init__(limits=limits)
        self._asking = asyncio.Lock()
        self._token: httpx.Response | None = None
        self._asked = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, again where the server was busy."""
        if request.method == "GET" and request.url.path.endswith(_CSRF_PATH):
            return await self._ask_for_token(request)
        return await self._send(request)

    async def _ask_for_token(self, request: httpx.Request) -> httpx.Response:
        async with self._asking:
            if self._token is None or monotonic() - self._asked > _TOKEN_SECONDS:
                answer = await self._send(request)
                await answer.aread()
                self._token, self._asked = answer, monotonic()
            known = self._token
            headers = {"Content-Type": known.headers.get("Content-Type", "application/json")}
            return httpx.Response(known.status_code, headers=headers, content=known.content)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        for attempt in range(1, _BUSY_TRIES + 1):
            response = await super().handle_async_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == _BUSY_TRIES:
                return response
            await response.aclose()
            await asyncio.sleep(attempt * _BUSY_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311
        raise AssertionError  # pragma: no cover - the loop returns


@asynccontextmanager
async def connect() -> AsyncIterator[PrefectClient]:
    """Open a client of the Prefect server that `PREFECT_API_URL` names."""
    limits = httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=25)
    transport = RetryBusyTransport(limits=limits)
    async with get_client(httpx_settings={"transport": transport}) as client:
        yield client
