"""What the API counts itself: HTTP requests, and what was asked of agents."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import httpx
from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Counter, Histogram

from vibesurf_blocks.metrics.names import QUICK, SLOW

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

UNMATCHED: Final = "unmatched"
"""Stands for all paths that are no route: whoever asks must not be able to make labels."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ApiMetrics:
    """The metrics of one API process.

    Attributes:
        registry: Holds them.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "vibesurf_http_requests",
            "HTTP requests answered, by route template.",
            ["method", "route", "code"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "vibesurf_http_request_seconds",
            "Seconds from an HTTP request to the beginning of its answer.",
            ["method", "route"],
            buckets=QUICK,
            registry=self.registry,
        )
        self._commands = Counter(
            "vibesurf_commands",
            "Commands to agents by outcome: done, refused, unacknowledged (in time), failed.",
            ["operation", "outcome"],
            registry=self.registry,
        )
        self._command_seconds = Histogram(
            "vibesurf_command_seconds",
            "Seconds from a command to its acknowledgement by the agent, of those that were done.",
            ["operation"],
            buckets=SLOW,
            registry=self.registry,
        )
        self._submits = Counter(
            "vibesurf_submits",
            "Submits that were answered with 200, by outcome: accepted, busy, no-model.",
            ["outcome"],
            registry=self.registry,
        )

    def answered(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(code)).inc()
        self._request_seconds.labels(known, route).observe(seconds)

    def submitted(self, outcome: str) -> None:
        """Count a submit."""
        self._submits.labels(outcome).inc()

    @contextmanager
    def command(self, operation: str) -> Iterator[None]:
        """Count what the block asks of an agent, by how the block ends."""
        begun = time.monotonic()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        except HTTPException as error:
            late = error.status_code == httpx.codes.GATEWAY_TIMEOUT
            outcome = "unacknowledged" if late else "refused"
            raise
        finally:
            self._commands.labels(operation, outcome).inc()
            if outcome == "done":
                self._command_seconds.labels(operation).observe(time.monotonic() - begun)


class CountRequests:
    """ASGI middleware that counts what the application answers."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        # What breaks before it answers is answered with 500 by whoever called this.
        code, seconds = 500, 0.0

        async def told(message: Message) -> None:
            nonlocal code, seconds
            if message["type"] == "http.response.start":
                code, seconds = message["status"], time.monotonic() - begun
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            taken = seconds or time.monotonic() - begun
            self._metrics.answered(scope["method"], _template(scope), code, taken)


def _template(scope: Scope) -> str:
    """The path of the route that answered, with its parameters' names; the same under `/api`."""
    path = getattr(scope.get("route"), "path", None)
    if not isinstance(path, str):
        return UNMATCHED
    return path.removeprefix("/api") or "/"
