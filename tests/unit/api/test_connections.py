"""Connections that send too little or too much are closed, and there are never too many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.types import Receive, Scope, Send

from tests.support.eventually import eventually
from vibesurf_blocks.api.connections import Guarded

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    body = b"fine"
    headers = [(b"content-length", b"4")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def _serving(**limits: float) -> AsyncIterator[int]:
    config = uvicorn.Config(
        _app,
        port=0,
        http=type("Limited", (Guarded,), limits),
        log_level="critical",
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await eventually(started, timeout=10)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await task


async def _send(port: int, *pieces: bytes) -> bytes:
    """Send, and read until the server closes or was silent for two seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(2):
            while piece := await reader.read(65_536):
                answer += piece
                if answer.endswith(b"fine"):
                    break
    writer.close()
    return answer


def _detail(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return str(json.loads(body)["detail"])


async def test_requests_pass_one_after_another() -> None:
    async with _serving(head_seconds=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(HEAD + b"\r\n")
            assert (await reader.readuntil(b"fine")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_who_never_ends_a_head_is_let_go() -> None:
    async with _serving(head_seconds=0.1) as port:
        silent, begun = await asyncio.gather(_send(port), _send(port, HEAD + b"X-Slow: "))
        later = await _send(port, HEAD + b"\r\n" + HEAD + b"X-Slow: ")
    assert silent.startswith(b"HTTP/1.1 408 Request Timeout")
    assert _detail(begun) == "The request did not come in time."
    assert later.startswith(b"HTTP/1.1 200")


async def test_a_second_head_without_an_end_is_let_go_too() -> None:
    async with _serving(head_seconds=0.1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"fine")
        writer.write(HEAD)
        async with asyncio.timeout(2):
            assert b"408" in await reader.read()
        writer.close()


async def test_a_head_that_is_too_large_is_refused() -> None:
    async with _serving(head_bytes=1_000) as port:
        at_once = await _send(port, HEAD + b"X: " + b"x" * 2_000 + b"\r\n\r\n")
        many = await _send(port, HEAD + b"X: y\r\n" * 300 + b"\r\n")
        endless = await _send(port, HEAD + b"X: ", *[b"x" * 500_000] * 20)
        fine = await _send(port, HEAD + b"X: " + b"x" * 500 + b"\r\n\r\n")
    # Closed while more is on its way, a connection may break before the answer is read.
    assert endless == b"" or endless.startswith(b"HTTP/1.1 431")
    for answer in (at_once, many):
        assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large")
        assert "1000 bytes" in _detail(answer)
    assert fine.startswith(b"HTTP/1.1 200")


async def test_a_long_body_does_not_count_as_head() -> None:
    async with _serving(head_bytes=1_000) as port:
        head = HEAD.replace(b"GET", b"POST") + b"Content-Length: 5000\r\n\r\n"
        assert (await _send(port, head + b"x" * 5_000)).startswith(b"HTTP/1.1 200")


async def test_what_is_no_request_is_told_in_json() -> None:
    async with _serving() as port:
        assert _detail(await _send(port, b"\x16\x03\x01 no http\r\n\r\n"))


async def test_there_are_never_too_many() -> None:
    async with _serving(most=3) as port:
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        refused = await _send(port, HEAD + b"\r\n")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"Retry-After" in refused
        for _, writer in open_ones:
            writer.close()

        async def room() -> bool:
            return (await _send(port, HEAD + b"\r\n")).startswith(b"HTTP/1.1 200")

        await eventually(room, timeout=5)
