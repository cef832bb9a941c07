"""Connections to a server: how many, and how long and large the head of a request may be.

uvicorn limits neither: a client that sends nothing, or headers without an end, would keep its
connection and fill the memory.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 65_536
"""Bytes of a request's line and headers at the most."""

HEAD_SECONDS: Final = 10.0
"""Seconds in which they have to come."""


class Guarded(HttpToolsProtocol):
    """uvicorn's protocol with limits.

    Attributes:
        most: Connections at once.
        head_bytes: Bytes of a request's line and headers at the most.
        head_seconds: Seconds in which they have to come.
    """

    most: int = 1_000
    head_bytes: int = HEAD_BYTES
    head_seconds: float = HEAD_SECONDS

    _head = 0
    _piece = 0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        full = len(self.connections) >= self.most
        super().connection_made(transport)
        if full:
            self._refuse(503, "Too many connections; try again soon.")
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came; a head without an end is not kept."""
        self._piece = len(data)
        if self._late is not None:
            # A header that never ends is told of to nobody: what came before this is counted.
            if self._head > self.head_bytes:
                self._refuse_head()
                return
            self._head += self._piece
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins, which may be a later one of its connection."""
        super().on_message_begin()
        if self._late is None:
            self._expect_head()
            self._head = self._piece

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_came()
        if self._head > self.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.head_bytes:
                self._refuse_head()
                raise httptools.HttpParserError
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request."""
        self._refuse(400, msg)

    def _expect_head(self) -> None:
        self._head = 0
        self._late = self.loop.call_later(self.head_seconds, self._time_out)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _time_out(self) -> None:
        self._late = None
        self._refuse(408, "The request did not come in time.")

    def _refuse_head(self) -> None:
        self._refuse(431, f"The head of the request is larger than {self.head_bytes} bytes.")

    def _refuse(self, status: int, detail: str) -> None:
        self._head_came()
        if not self.transport.is_closing():
            self.transport.write(_answer(status, detail))
            self.transport.close()


def guarded(most: int) -> type[Guarded]:
    """The protocol for at most so many connections at once."""
    return type("Guarded", (Guarded,), {"most": most})


def _answer(status: int, detail: str) -> bytes:
    body = json.dumps({"detail": detail})
    again = "Retry-After: 1\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: application/json\r\n{again}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
