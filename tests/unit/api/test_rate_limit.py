"""A client that changes too much at once is told when to go on; others and readers are not met."""

from __future__ import annotations

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from vibesurf_blocks.api.rate_limit import Buckets, RateLimit, client_of


class Clock:
    """A clock that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _ask(app: RateLimit, method: str, client: str = "10.0.0.1") -> httpx.Response:
    transport = httpx.ASGITransport(app, client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        return await http.request(method, "/tasks/submit")


async def test_who_sends_too_much_is_told_when_to_go_on() -> None:
    clock = Clock()
    app = RateLimit(_app, Buckets(0.5, 3, clock))
    assert [(await _ask(app, "POST")).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = await _ask(app, "DELETE")
    assert refused.headers["Retry-After"] == "2"
    assert refused.json()["detail"] == "Too many requests of this client; go on in 2 s."
    assert (await _ask(app, "POST", "10.0.0.2")).status_code == 200
    assert [(await _ask(app, "GET")).status_code for _ in range(20)] == [200] * 20
    clock.now += 2
    assert [(await _ask(app, "PUT")).status_code for _ in range(2)] == [200, 429]


def test_a_bucket_does_not_overflow_and_fills_evenly() -> None:
    clock = Clock()
    buckets = Buckets(10, 2, clock)
    clock.now += 1_000
    assert [buckets.take("a") for _ in range(3)] == [0, 0, pytest.approx(0.1)]
    clock.now += 0.05
    assert buckets.take("a") == pytest.approx(0.05)
    clock.now += 0.06
    assert buckets.take("a") == 0


def test_many_clients_do_not_fill_the_memory() -> None:
    buckets = Buckets(1, 1, Clock(), clients=100)
    for number in range(1_000):
        buckets.take(str(number))
    assert len(buckets._left) == 100


def test_the_addresses_of_one_network_are_one_client() -> None:
    def of(host: str) -> str:
        return client_of({"client": (host, 1)})

    assert of("2001:db8:1:2::1") == of("2001:db8:1:2:ffff::9")
    assert of("2001:db8:1:2::1") != of("2001:db8:1:3::1")
    assert of("10.0.0.1") != of("10.0.0.2")
    assert of("::ffff:10.0.0.1") != of("::ffff:10.0.0.2")
    assert client_of({"client": None}) == ""
