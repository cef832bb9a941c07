"""Refuses bodies that are too large, too slow or no JSON, before they are held in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from vibesurf_blocks.api.errors import problem

if TYPE_CHECKING:
    from fastapi import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS: Final = 60.0
"""Seconds in which a body has to come."""


class BodyRefused(Exception):
    """The request's body is larger than this server takes, or comes too slowly."""


class BodyLimit:
    """ASGI layer in front of what reads bodies.

    413 to one of more than `limit` bytes, 408 to one that takes more than `seconds`, 415 to one
    that does not say it is JSON: a page may send any other kind to any server unasked.
    """

    def __init__(self, app: ASGIApp, limit: int, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._limit = limit
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on while its body stays within the limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = kind = None
        chunked = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                declared = value
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"content-type":
                kind = value
        if not chunked and (declared is None or declared == b"0"):
            await self._app(scope, receive, send)
        elif declared is not None and declared.isdigit() and int(declared) > self._limit:
            await self._too_large()(scope, receive, send)
        elif not _is_json(kind):
            msg = "Send the body as JSON, with the header `Content-Type: application/json`."
            await problem(415, msg)(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        until = asyncio.get_running_loop().time() + self._seconds
        seen = 0
        started = complete = False
        refusal: Response | None = None

        async def counted() -> Message:
            nonlocal seen, complete, refusal
            if complete:
                return await receive()  # waits for the client to go away, however long
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                msg = f"The body did not come within {self._seconds:g} s."
                refusal = problem(408, msg)
                refusal.headers["Connection"] = "close"
                raise BodyRefused from None
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > self._limit:
                refusal = self._too_large()
                raise BodyRefused
            return message

        async def unless_refused(message: Message) -> None:
            nonlocal started
            # Whoever reads the body may take the error for his own and answer it himself.
            if started or refusal is None:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, unless_refused)
        except BodyRefused:
            if refusal is None:
                raise
        if refusal is not None and not started:
            await refusal(scope, receive, send)

    def _too_large(self) -> Response:
        return problem(413, f"The body is larger than {self._limit} bytes.")


def _is_json(kind: bytes | None) -> bool:
    if kind is None:
        return False
    media = kind.partition(b";")[0].strip().lower()
    return media == b"application/json" or (
        media.startswith(b"application/") and media.endswith(b"+json")
    )
