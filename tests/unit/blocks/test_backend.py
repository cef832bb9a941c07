"""Triggering a flow of a VibeSurf backend: what counts as an answer, and what is asked again."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.site import Site, Visit
from vibesurf_blocks.blocks import VibeSurfBackend
from vibesurf_blocks.errors import EngineError

PATH = "/api/v1/build/f-1/flow"


def backend(site: Site, **more: object) -> VibeSurfBackend:
    return VibeSurfBackend.model_validate(
        {"base_url": site.url("/"), "backoff_seconds": 0.01, "answer_seconds": 5, **more}
    )


async def test_the_answer_of_the_api_is_the_result(site: Site) -> None:
    asked: list[object] = []

    def page(visit: Visit) -> None:
        asked.append((json.loads(visit.body), visit.headers["x-api-key"]))
        visit.answer(b'{"job_id": "j-1"}', "application/json")

    site.pages[PATH] = page
    answer = await backend(site, api_key="secret").build("f-1", {"input_value": "hello"})
    assert answer == {"job_id": "j-1"}
    assert asked == [({"inputs": {"input_value": "hello"}}, "secret")]


@pytest.mark.parametrize("body", [b"<html>VibeSurf</html>", b"", b"[1]", b'"x"', b"\xff\xfe"])
async def test_a_200_with_something_else_is_a_failure(site: Site, body: bytes) -> None:
    site.serve(PATH, body)
    with pytest.raises(EngineError, match="instead of its API's JSON"):
        await backend(site).build("f-1")
    assert site.hits[PATH] == 1


async def test_a_busy_backend_is_asked_again(site: Site) -> None:
    site.sequence(
        PATH,
        lambda visit: visit.answer(b"", status=503),
        lambda visit: visit.answer(b"", status=429),
        lambda visit: visit.answer(b'{"job_id": "j"}', "application/json"),
    )
    assert await backend(site).build("f-1") == {"job_id": "j"}
    assert site.hits[PATH] == 3


@pytest.mark.parametrize("status", [400, 401, 404, 500, 504])
async def test_a_refusal_is_told_and_not_asked_again(site: Site, status: int) -> None:
    site.serve(PATH, b'{"detail": "no"}', "application/json", status=status)
    with pytest.raises(EngineError, match=f"answered {status}: .*no"):
        await backend(site).build("f-1")
    assert site.hits[PATH] == 1


@pytest.mark.parametrize(("status", "kind"), [(400, "application/json"), (200, "text/html")])
async def test_no_message_repeats_a_secret_nor_half_of_one(
    site: Site, status: int, kind: str
) -> None:
    key = "vs-k3y-nobody-may-see"
    # Its end lies beyond what a message shows.
    site.serve(PATH, b"x" * 290 + key.encode(), kind, status=status)
    with pytest.raises(EngineError) as caught:
        await backend(site, api_key=key).build("f-1")
    assert "xxx" in caught.value.message
    assert "vs-k3y" not in caught.value.message


async def test_an_answer_that_repeats_a_secret_is_masked(site: Site) -> None:
    site.serve(PATH, b'{"job_id": "j", "sent": ["key-1234", {"a": "pw-1234"}]}', "application/json")
    block = backend(site, api_key="key-1234", username="me", password="pw-1234")
    assert await block.build("f-1") == {"job_id": "j", "sent": ["***", {"a": "***"}]}


async def test_no_answer_is_not_asked_again_as_the_flow_may_run(site: Site) -> None:
    site.silent(PATH)
    with pytest.raises(EngineError, match="gave no answer"):
        await backend(site, answer_seconds=0.2).build("f-1")
    assert site.hits[PATH] == 1


async def test_an_answer_that_trickles_in_is_cut_off(site: Site) -> None:
    site.trickle(PATH)
    with pytest.raises(EngineError, match=r"gave no answer within 0\.6 s"):
        await asyncio.wait_for(
            backend(site, answer_seconds=0.3, connect_seconds=0.3).build("f-1"), 20
        )
    assert site.hits[PATH] == 1


async def test_a_backend_that_is_not_there_is_asked_several_times() -> None:
    block = VibeSurfBackend(base_url="http://127.0.0.1:9", backoff_seconds=0.01)
    with pytest.raises(EngineError, match=r"cannot be reached.*asked 4 times"):
        await block.build("f-1")


async def test_a_flow_id_stays_one_segment_of_the_path(site: Site) -> None:
    site.serve("/api/v1/build/a%2F..%2Fb%3F/flow", b"{}", "application/json")
    assert await backend(site).build("a/../b?") == {}


@pytest.mark.parametrize("url", ["ftp://x", "nowhere", "http://", "http://user:pw@host"])
def test_a_url_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        VibeSurfBackend(base_url=url)
