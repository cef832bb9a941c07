"""Waiting for a server: it answers, it dies, it never answers."""

from __future__ import annotations

import asyncio

import pytest

from vibesurf_blocks.errors import StackError
from vibesurf_blocks.stack.ready import free_port, listening_socket, wait_ready


async def test_returns_once_the_url_is_answered() -> None:
    statuses = iter([b"503 Busy", b"500 No", b"200 OK"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + next(statuses) + b"\r\nContent-Length: 0\r\n")
        writer.write(b"Connection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await wait_ready(f"http://127.0.0.1:{port}/", timeout=10, interval=0.001) < 10
    assert next(statuses, None) is None


async def test_a_death_ends_the_wait_at_once() -> None:
    with pytest.raises(StackError, match="it died"):
        await wait_ready(f"http://127.0.0.1:{free_port()}/", timeout=60, died=lambda: "it died")


async def test_gives_up_and_says_what_came_last() -> None:
    with pytest.raises(StackError, match=r"did not answer within 0\.1 s \(.+\)"):
        await wait_ready(f"http://127.0.0.1:{free_port()}/", timeout=0.1)


def test_a_taken_port_is_refused_by_name() -> None:
    with listening_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"127\.0\.0\.1:{port}"):
            listening_socket("127.0.0.1", port)
