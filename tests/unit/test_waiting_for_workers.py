"""A start waits for a server that is busy, as one is that has thousands of schedules to see to."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.support.site import Site, Visit
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack.up import Stack

PATH = "/work_pools/vibesurf/workers/filter"


async def test_a_server_that_does_not_answer_yet_is_asked_again(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    stack = Stack(Settings(home=tmp_path), print)
    site.silent(PATH)
    async with httpx.AsyncClient(trust_env=False, timeout=0.2) as client:
        assert not await stack._is_worked(client, site.url(""), "vibesurf")

        def online(visit: Visit) -> None:
            visit.answer(json.dumps([{"status": "ONLINE"}]).encode())

        site.pages[PATH] = online
        assert await stack._is_worked(client, site.url(""), "vibesurf")
