"""RetryBusy: repeats what SQLite refused, touches nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from vibesurf_blocks.stack.retry_busy import (
    BUSY_BODY,
    App,
    Message,
    Receive,
    RetryBusy,
    Scope,
    Send,
)

HTTP: Scope = {"type": "http", "method": "POST", "path": "/"}


class BusyError(Exception):
    """What Prefect's app raises after it has sent its 503."""


class Client:
    """Sends a body in pieces, and keeps what comes back in the order it came."""

    def __init__(self, *pieces: bytes) -> None:
        self._requests: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": index + 1 < len(pieces)}
            for index, piece in enumerate(pieces)
        ]
        self.received: list[Message] = []

    async def receive(self) -> Message:
        return self._requests.pop(0) if self._requests else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.received.append(message)

    @property
    def status(self) -> int:
        return int(self.received[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.received[1:])


async def answer(send: Send, status: int, *pieces: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    for index, piece in enumerate(pieces):
        more = index + 1 < len(pieces)
        await send({"type": "http.response.body", "body": piece, "more_body": more})


async def read(receive: Receive) -> bytes:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += bytes(message["body"])
        if not message["more_body"]:
            return body
    raise AssertionError("The client has gone.")


def app_that_answers(statuses: Iterable[int], seen: list[bytes]) -> App:
    remaining = iter(statuses)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await read(receive))
        status = next(remaining)
        await answer(send, status, BUSY_BODY if status == 503 else b"done")
        if status == 503:
            raise BusyError

    return app


async def test_a_busy_request_is_repeated_with_its_whole_body() -> None:
    seen: list[bytes] = []
    client = Client(b"a", b"bc", b"d")
    app = RetryBusy(app_that_answers([503, 503, 200], seen), step=0)
    await app(HTTP, client.receive, client.send)
    assert (client.status, client.body) == (200, b"done")
    assert seen == [b"abcd"] * 3


async def test_the_busy_answer_passes_through_when_the_limit_is_reached() -> None:
    seen: list[bytes] = []
    client = Client(b"a")
    app = RetryBusy(app_that_answers([503] * 9, seen), retries=3, step=0)
    with pytest.raises(BusyError):
        await app(HTTP, client.receive, client.send)
    assert (client.status, client.body) == (503, BUSY_BODY)
    assert len(seen) == 4


async def test_another_503_is_not_repeated() -> None:
    calls = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        await answer(send, 503, b'{"message":', b'"Database is not available"}')

    client = Client(b"")
    await RetryBusy(app, step=0)(HTTP, client.receive, client.send)
    assert (calls, client.status) == (1, 503)
    assert client.body == b'{"message":"Database is not available"}'


async def test_a_response_streams_as_it_is_made() -> None:
    client = Client(b"")
    already_out: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one", b"two"):
            already_out.append(len(client.received))
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    await RetryBusy(app)(HTTP, client.receive, client.send)
    assert already_out == [1, 2]


async def test_a_large_body_is_passed_on_and_not_repeated() -> None:
    seen: list[bytes] = []
    client = Client(b"x" * 6, b"y" * 6, b"z")
    with pytest.raises(BusyError):
        await RetryBusy(app_that_answers([503], seen), body_limit=8)(
            HTTP, client.receive, client.send
        )
    assert client.status == 503
    assert seen == [b"xxxxxxyyyyyyz"]


async def test_an_error_without_an_answer_reaches_the_server() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise BusyError

    client = Client(b"")
    with pytest.raises(BusyError):
        await RetryBusy(app)(HTTP, client.receive, client.send)
    assert client.received == []


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_websockets_and_lifespan_are_not_touched(kind: str) -> None:
    client = Client()
    given: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        given.extend([scope, receive, send])

    scope: Scope = {"type": kind}
    receive, send = client.receive, client.send
    await RetryBusy(app)(scope, receive, send)
    assert given[0] is scope
    assert given[1:] == [receive, send]
