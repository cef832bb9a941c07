"""A VibeSurf backend, and a profile that leads to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.backends import SECRET, BackendServer, backend_profile, backend_server
from tests.support.book import books

__all__ = ["books", "profile", "server"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[BackendServer]:
    """A backend that lets in who has the key."""
    async with backend_server(tmp_path) as made:
        await made.be(api_key=SECRET)
        yield made


@pytest.fixture
async def profile(prefect: PrefectClient, server: BackendServer) -> AsyncIterator[str]:
    """Name of a profile that hands tasks to it."""
    async with backend_profile(prefect, "A backend elsewhere", base_url=server.url):
        yield "A backend elsewhere"
