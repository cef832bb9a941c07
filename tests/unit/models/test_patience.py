"""Clients that neither limit nor repeat their requests have it done for them."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from browser_use.llm.exceptions import ModelProviderError, ModelRateLimitError
from browser_use.llm.messages import UserMessage

from tests.support.site import Site
from vibesurf_blocks.blocks import LLMProfile
from vibesurf_blocks.models import patience
from vibesurf_blocks.models.clients import chat_model
from vibesurf_blocks.settings import Settings

ANSWER = b'{"model": "m", "message": {"role": "assistant", "content": "Paris."}, "done": true}'


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_BACKOFF_SECONDS", 0.001)


async def ask(site: Site, **settings: Any) -> str:
    profile = LLMProfile(provider="ollama", model="m", base_url=site.url(""))
    model = chat_model(profile, settings=Settings(**settings))
    return str((await model.ainvoke([UserMessage(content="Hello")])).completion)


async def test_a_fault_is_tried_again_and_a_refusal_is_not(site: Site) -> None:
    site.sequence(
        "/api/chat",
        lambda visit: visit.answer(b'{"error": "loading"}', "application/json", status=503),
        lambda visit: visit.answer(ANSWER, "application/json"),
    )
    assert await ask(site, model_attempts=3) == "Paris."
    site.serve("/api/chat", b'{"error": "no such model"}', "application/json", status=404)
    site.hits.clear()
    with pytest.raises(ModelProviderError, match="no such model"):
        await ask(site, model_attempts=3)
    assert site.hits["/api/chat"] == 1


async def test_what_gives_no_answer_is_cut_off_and_tried_again(site: Site) -> None:
    site.silent("/api/chat")
    with pytest.raises(ModelProviderError):
        await ask(site, model_timeout_seconds=0.2, model_attempts=2)
    assert site.hits["/api/chat"] == 2


async def test_a_client_that_blocks_is_cut_off_too() -> None:
    ends = threading.Event()

    async def ainvoke(_: object) -> str:
        ends.wait(20)
        return "too late"

    model: Any = SimpleNamespace(ainvoke=ainvoke, model="m")
    patience.make_patient(model, Settings(), timeout=0.05, attempts=2, blocks=True)
    try:
        with pytest.raises(ModelProviderError, match=r"no answer within 0\.05 s"):
            await asyncio.wait_for(model.ainvoke([]), 10)
    finally:
        ends.set()


def caused(by: Exception, error: Exception) -> Exception:
    error.__cause__ = by
    return error


class _ClientError(Exception):
    response = {"ResponseMetadata": {"HTTPStatusCode": 503}}  # noqa: RUF012 - as botocore's


@pytest.mark.parametrize(
    ("error", "does"),
    [
        (ModelRateLimitError("slow down"), True),
        (ModelProviderError("fault", 503), True),
        (ModelProviderError("refused", 401), False),
        (caused(ConnectionError(), ModelProviderError("away")), True),
        (caused(_ClientError(), ModelProviderError("away")), True),
        (caused(ValueError(), ModelProviderError("no JSON", 500)), False),
    ],
)
def test_what_may_pass_by_itself(error: Exception, does: bool) -> None:
    assert patience.passes(error) is does
