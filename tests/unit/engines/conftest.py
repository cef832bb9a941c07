"""A misbehaving web site and a VibeSurf backend for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.backends import BackendServer, backend_server
from tests.support.site import Site, running


@pytest.fixture
def site() -> Iterator[Site]:
    """A site on loopback."""
    with running() as made:
        yield made


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[BackendServer]:
    """A backend on loopback."""
    async with backend_server(tmp_path) as made:
        yield made
