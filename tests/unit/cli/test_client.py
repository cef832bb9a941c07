"""How a command fails that the API does not answer as it should: in words, with the right code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import httpx
import pytest
from typer.testing import CliRunner

from vibesurf_blocks.cli import client as module
from vibesurf_blocks.cli.client import Api, path
from vibesurf_blocks.cli.failure import NOT_DONE, USAGE, Failure
from vibesurf_blocks.cli.main import app, main

URL = "http://127.0.0.1:1"
EVENT = 'event: {}\nid: {}\ndata: {{"status": "running"}}\n\n'


def api(answers: Callable[[httpx.Request], httpx.Response]) -> Api:
    """A connection to an API that answers so."""
    made = Api(URL)
    made._client = httpx.Client(base_url=URL, transport=httpx.MockTransport(answers))
    return made


def code_of(status: int, content: object, route: str = "/tasks/submit") -> int:
    with pytest.raises(Failure) as caught:
        api(lambda _: httpx.Response(status, json=content)).post(route, {})
    return caught.value.code


@pytest.mark.parametrize(
    ("status", "content", "route", "code"),
    [
        (404, {"detail": "Not Found"}, "/tasks/submit", USAGE),
        (404, {"detail": "no such page"}, "/tasks/submit", USAGE),
        (404, {"detail": "Not Found"}, "/tasks/x/pause", USAGE),
        (404, {"detail": "No task has the id x"}, "/tasks/x/pause", NOT_DONE),
        (405, {"detail": "Method Not Allowed"}, "/tasks/submit", USAGE),
        (429, {"detail": "Too many requests"}, "/tasks/submit", USAGE),
        (422, {"detail": [{"nothing": 1}]}, "/tasks/submit", USAGE),
        (400, {"detail": "No active task to pause"}, "/tasks/pause", NOT_DONE),
    ],
)
def test_the_code_tells_usage_from_what_was_not_done(
    status: int, content: object, route: str, code: int
) -> None:
    assert code_of(status, content, route) == code


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:port"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(Failure, match="is no address of an API") as caught:
        Api(url)
    assert caught.value.code == USAGE


def test_words_that_are_no_text_are_told() -> None:
    with pytest.raises(Failure) as caught:
        api(lambda _: httpx.Response(200, json={})).post("/tasks/submit", {"x": "\udcff"})
    assert caught.value.code == USAGE
    with pytest.raises(Failure):
        path("tasks", "\udcff")
    with pytest.raises(Failure):
        list(api(lambda _: httpx.Response(204)).follow("x", "\udcff"))


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    time = SimpleNamespace(monotonic=lambda: made.now, sleep=made.sleep)
    monkeypatch.setattr(module, "time", time)
    return made


def followed(clock: Clock, answers: Iterator[httpx.Response | None]) -> list[str]:
    """The events of a task whose streams are these; None is a lost connection after 50 s."""

    def answer(_: httpx.Request) -> httpx.Response:
        one = next(answers)
        if one is None:
            clock.now += 50
            raise httpx.ReadError("cut")
        return one

    return [event.kind for event in api(answer).follow("x")]


def test_a_stream_that_is_taken_up_again_was_not_lost(clock: Clock) -> None:
    silent = [None, httpx.Response(200), None, httpx.Response(200), None]
    end = httpx.Response(200, text=EVENT.format("end", 1))
    assert followed(clock, iter([*silent, end])) == ["end"]
    with pytest.raises(Failure, match="stopped answering"):
        followed(clock, iter([None, None, None]))


def test_too_many_streams_do_not_end_the_following(clock: Clock) -> None:
    full = [httpx.Response(429, headers={"Retry-After": "5"}, json={"detail": "full"})] * 20
    end = httpx.Response(200, text=EVENT.format("end", 1))
    assert followed(clock, iter([*full, end])) == ["end"]
    assert clock.slept == [5.0] * 20


def test_run_ends_with_two_where_nothing_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBESURF_API_URL", "http://[::1")
    monkeypatch.setattr("sys.argv", ["vibesurf-blocks", "run", "x"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == USAGE
    assert CliRunner().invoke(app, ["run"]).exit_code == USAGE
