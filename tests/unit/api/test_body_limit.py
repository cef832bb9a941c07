"""Bodies too large, too slow or of another kind are refused before they are held in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from vibesurf_blocks.api.body_limit import BodyLimit

LIMIT = 1_000


class Reader:
    """An application that reads the whole body and answers how much it was."""

    def __init__(self, *, swallows: bool = False) -> None:
        self.read = 0
        self._swallows = swallows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 200
        try:
            while True:
                message = await receive()
                self.read += len(message.get("body", b""))
                if not message.get("more_body"):
                    break
        except Exception:
            if not self._swallows:
                raise
            status = 400  # as FastAPI answers whatever goes wrong while it reads
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": str(self.read).encode()})


def client(reader: Reader, seconds: float = 60) -> httpx.AsyncClient:
    app = BodyLimit(reader, LIMIT, seconds)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test",
        headers={"Content-Type": "application/json"},
    )


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


async def test_a_body_within_the_limit_passes() -> None:
    async with client(Reader()) as http:
        assert (await http.post("/", content=b"x" * LIMIT)).text == str(LIMIT)
    async with client(Reader()) as http:
        assert (await http.post("/", content=pieces(10))).text == str(LIMIT)


async def test_a_declared_size_is_refused_unread() -> None:
    reader = Reader()
    async with client(reader) as http:
        answer = await http.post("/", content=b"x" * (LIMIT + 1))
    assert answer.status_code == 413
    assert answer.json() == {"detail": "The body is larger than 1000 bytes."}
    assert reader.read == 0


@pytest.mark.parametrize("swallows", [False, True])
async def test_an_undeclared_size_is_refused_once_it_is_too_much(swallows: bool) -> None:
    """Also where the application takes the refusal for an error of its own."""
    reader = Reader(swallows=swallows)
    async with client(reader) as http:
        answer = await http.post("/", content=pieces(1_000))
    assert answer.status_code == 413
    assert reader.read <= LIMIT


async def test_a_senseless_declared_size_does_not_get_around_the_limit() -> None:
    async with client(Reader()) as http:
        answer = await http.post("/", content=pieces(20), headers={"Content-Length": "-1"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/jsonp",
        "text/plain; application/json",
        "",
    ],
)
async def test_what_a_page_may_send_anywhere_unasked_is_refused(kind: str) -> None:
    reader = Reader()
    async with client(reader) as http:
        answer = await http.post("/", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 415
        del http.headers["Content-Type"]
        assert (await http.post("/", content=b"{}")).status_code == 415
        assert (await http.post("/", content=pieces(1))).status_code == 415
    assert reader.read == 0


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/merge+json"]
)
async def test_json_passes_however_it_is_named(kind: str) -> None:
    async with client(Reader()) as http:
        answer = await http.post("/", content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == 200


async def test_no_body_is_of_no_kind() -> None:
    async with client(Reader()) as http:
        del http.headers["Content-Type"]
        assert (await http.post("/")).status_code == 200
        assert (await http.get("/")).status_code == 200


async def test_a_body_that_never_ends_is_let_go() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with client(Reader(), seconds=0.1) as http:
        answer = await http.post("/", content=slow())
    assert answer.status_code == 408
    assert answer.json() == {"detail": "The body did not come within 0.1 s."}


async def test_once_the_body_is_there_an_answer_may_take_its_time() -> None:
    """Streams of events wait for the client to go away."""
    waited = False

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal waited
        while (await receive()).get("more_body"):
            pass
        try:
            async with asyncio.timeout(0.3):
                await receive()
        except TimeoutError:
            waited = True
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, object]:
        if told.pop():
            return {"type": "http.request", "body": b"{}", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    told = [False, True]

    async def send(_: object) -> None:
        return

    headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "headers": headers}
    await BodyLimit(waits, LIMIT, 0.1)(scope, receive, send)
    assert waited
