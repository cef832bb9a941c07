"""A client as clients should be: it repeats what got no answer, and looks at every answer."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import httpx

from tests.chaos.driver.ledger import Ledger

_AGAIN_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0
_AWAY = {502, 503}


class Caller:
    """Calls the REST API; server errors, secrets and silence become violations."""

    def __init__(self, http: httpx.AsyncClient, ledger: Ledger) -> None:
        self._http = http
        self._ledger = ledger

    async def once(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx.Response | None:
        """Ask once; None where the API was away or the connection was lost."""
        try:
            answer = await self._http.request(
                method, path, json=body, headers=headers, timeout=_PATIENCE_SECONDS
            )
        except httpx.TransportError as error:
            self._ledger.actions[f"no answer: {type(error).__name__}"] += 1
            return None
        self._ledger.actions[f"HTTP {answer.status_code}"] += 1
        if answer.status_code >= 500 and answer.status_code not in {503, 504}:
            self._ledger.wrong(8, f"{method} {path} -> {answer.status_code}: {answer.text[:300]}")
        for secret in self._ledger.secrets:
            if secret in answer.text:
                self._ledger.wrong(6, f"{method} {path} answers with a secret")
        return answer

    async def surely(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx.Response | None:
        """Ask until there is an answer that counts; None where there was none for a minute."""
        end = monotonic() + _PATIENCE_SECONDS
        while monotonic() < end:
            answer = await self.once(method, path, body, **headers)
            if answer is not None and answer.status_code not in _AWAY:
                return answer
            await asyncio.sleep(_AGAIN_SECONDS)
        return None
