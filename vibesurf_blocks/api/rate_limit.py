"""Keeps one client from sending more changes than a second's worth for long: token buckets."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from vibesurf_blocks.api.errors import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CLIENTS: Final = 10_000
_NETWORK: Final = 64


class Buckets:
    """How much each client may still send; a client that is not known has a full bucket.

    Args:
        rate: Requests that come back each second.
        burst: Requests that a bucket holds.
        clock: Seconds, ever growing.
        clients: Clients remembered at the most; the one that was not seen for longest is forgotten.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        clients: int = _CLIENTS,
    ) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._clients = clients
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one request from a client's bucket.

        Returns:
            0 where there was one, else the seconds until there will be.
        """
        now = self._clock()
        left, seen = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._rate)
        wait = 0.0 if left >= 1 else (1 - left) / self._rate
        self._left[client] = (left if wait else left - 1, now)
        if len(self._left) > self._clients:
            self._left.popitem(last=False)
        return wait


class RateLimit:
    """ASGI layer that answers 429 to a client that changes too much at once.

    What only reads is let through: status is polled, hard, by many.
    """

    def __init__(self, app: ASGIApp, buckets: Buckets) -> None:
        self._app = app
        self._buckets = buckets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on while its client keeps to its rate."""
        if scope["type"] != "http" or scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        wait = self._buckets.take(client_of(scope))
        if not wait:
            await self._app(scope, receive, send)
            return
        seconds = max(1, math.ceil(wait))
        refusal = problem(429, f"Too many requests of this client; go on in {seconds} s.")
        refusal.headers["Retry-After"] = str(seconds)
        await refusal(scope, receive, send)


def client_of(scope: Scope) -> str:
    """Who sends a request: an IPv4 address, or the network that one IPv6 customer has."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(int(address) >> (128 - _NETWORK))
    return str(host)
