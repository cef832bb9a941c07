"""The description of the API and the pages that show it answer bare and under `/api`."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from vibesurf_blocks.api.app import create_app
from vibesurf_blocks.settings import Settings


@pytest.mark.parametrize("page", ["/openapi.json", "/docs", "/redoc"])
async def test_a_page_answers_under_both(page: str, tmp_path: Path) -> None:
    transport = httpx.ASGITransport(create_app(Settings(home=tmp_path)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        bare, prefixed = await client.get(page), await client.get(f"/api{page}")
    assert bare.status_code == 200
    assert prefixed.status_code == 200
    assert prefixed.text == bare.text
