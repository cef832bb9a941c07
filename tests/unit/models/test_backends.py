"""The check of a profile that names a VibeSurf backend ends, whatever does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.site import Site
from vibesurf_blocks.blocks import LLMProfile, VibeSurfBackend
from vibesurf_blocks.errors import ModelError
from vibesurf_blocks.models import backends
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import BACKEND_PROVIDER

PROFILE = LLMProfile(provider=BACKEND_PROVIDER, model="remote")


async def check(monkeypatch: pytest.MonkeyPatch, found: Any) -> str:
    monkeypatch.setattr(backends, "find_backend", found)
    monkeypatch.setattr(backends, "_FIND_SECONDS", 0.2)
    client: Any = None
    with pytest.raises(ModelError) as caught:
        async with asyncio.timeout(20):
            await backends.check_backend(client, PROFILE, Settings(model_check_seconds=0.2))
    return caught.value.message


async def test_a_server_that_trickles(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    site.trickle("/api/tasks/detailed-status")

    async def found(*_: object) -> VibeSurfBackend:
        return VibeSurfBackend(base_url=site.url(""))

    assert "could not be asked within" in await check(monkeypatch, found)


async def test_a_block_that_is_not_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(*_: object) -> VibeSurfBackend:
        await asyncio.Event().wait()
        raise AssertionError

    assert "could not be asked within 0.2 s" in await check(monkeypatch, found)
