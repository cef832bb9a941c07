"""One fleet for the whole module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.book import books
from tests.support.fleet import Fleet, redis_url, running_fleet

__all__ = ["books", "redis_url"]


@pytest.fixture(scope="module")
def fleet(redis_url: str) -> Iterator[Fleet]:
    """The fleet."""
    with running_fleet(redis_url) as made:
        yield made


@pytest.fixture
async def api(fleet: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the first host's API."""
    async with fleet.http() as client:
        yield client


@pytest.fixture
async def second(fleet: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the second host's API."""
    async with fleet.http(1) as client:
        yield client


@pytest.fixture
async def prefect(fleet: Fleet) -> AsyncIterator[PrefectClient]:
    """A client of the Prefect server."""
    async with fleet.prefect() as client:
        yield client
