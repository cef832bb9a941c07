"""Repeat a request that a Prefect server on SQLite answered with 503 because the file was busy.

SQLite refuses a transaction that read before another one wrote (`SQLITE_BUSY_SNAPSHOT`) at once,
however long its busy timeout. Prefect rolls back and answers 503, and its client then sleeps for
2, 4, … seconds; the same request some ten milliseconds later succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

BUSY_BODY = b'{"exception_message":"Service Unavailable"}'
"""What Prefect answers, with 503, to a transaction that a retry may save; a test compares."""


class RetryBusy:
    """ASGI layer that holds a request's body and repeats the request while it is answered busy.

    Only Prefect's own busy answer is held back, so nothing of a response has left when a request
    is repeated. Any other response streams through as it comes; WebSockets and lifespan are not
    touched, nor are requests whose body is larger than the limit.

    Repeated requests go one at a time: twenty that are repeated side by side keep refusing each
    other for seconds, in a row they are through in a fraction of that.
    """

    def __init__(
        self, app: App, *, retries: int = 20, step: float = 0.01, body_limit: int = 1_048_576
    ) -> None:
        """Wrap an app.

        Args:
            app: The ASGI app.
            retries: Times one request is repeated; the busy answer then passes through.
            step: Seconds by which each wait is longer than the one before; 20 make up 2.1 s.
            body_limit: Bytes of the longest body that is held.
        """
        self._app = app
        self._retries = retries
        self._step = step
        self._body_limit = body_limit
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held, whole = await _read(receive, self._body_limit)
        if not whole:
            await self._app(scope, _replay(held, receive), send)
            return
        if await self._answered(scope, held, receive, send):
            return
        async with self._turn:
            for attempt in range(1, self._retries):
                await asyncio.sleep(attempt * self._step)
                if await self._answered(scope, held, receive, send):
                    return
            await asyncio.sleep(self._retries * self._step)
            await self._app({**scope}, _replay(held, receive), send)

    async def _answered(
        self, scope: Scope, held: list[Message], receive: Receive, send: Send
    ) -> bool:
        """Try once; whether something else than the busy answer came, and was passed on."""
        response = _HeldResponse(send)
        try:
            # Each try gets a scope of its own: apps write their routing into it.
            await self._app({**scope}, _replay(held, receive), response.send)
        except Exception:
            # Prefect sends its 503 and raises the cause after it, for the server to log.
            if response.is_busy:
                return False
            await response.release()
            raise
        if response.is_busy:
            return False
        await response.release()
        return True


class _HeldResponse:
    """A response that is kept for as long as it may turn out to be the busy answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[Message] = []
        self._body = b""
        self._holding = True

    @property
    def is_busy(self) -> bool:
        return self._holding and bool(self._held) and self._body == BUSY_BODY

    async def send(self, message: Message) -> None:
        if not self._holding:
            await self._send(message)
            return
        self._held.append(message)
        if message["type"] == "http.response.start":
            busy = message["status"] == 503
        else:
            self._body += message.get("body", b"")
            busy = BUSY_BODY.startswith(self._body)
        if not busy:
            await self.release()

    async def release(self) -> None:
        """Send what was held and hold nothing more."""
        self._holding = False
        held, self._held = self._held, []
        for message in held:
            await self._send(message)


async def _read(receive: Receive, limit: int) -> tuple[list[Message], bool]:
    """Read a request's body; the messages, and whether they are all of it."""
    held: list[Message] = []
    size = 0
    while size <= limit:
        message = await receive()
        held.append(message)
        if message["type"] != "http.request":
            return held, False  # the client has gone
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return held, True
    return held, False


def _replay(held: list[Message], receive: Receive) -> Receive:
    """A `receive` that gives the held messages first and then what is still to come."""
    messages = iter(held)

    async def replayed() -> Message:
        for message in messages:
            return message
        return await receive()

    return replayed
