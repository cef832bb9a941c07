"""A scripted model, pages for a browser, and a profile that leads to the model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.databases import unavailable
from tests.support.model_server import ModelServer, running
from tests.support.profiles import profile
from tests.support.site import Site
from tests.support.web import Web, pages
from vibesurf_blocks.browser.executable import find_executable
from vibesurf_blocks.errors import EngineError


@pytest.fixture(autouse=True)
def _chromium() -> None:
    try:
        find_executable(None)
    except EngineError as error:
        unavailable(error.message)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    """A scripted model, gone after the test."""
    with running() as server:
        yield server


@pytest.fixture
def web(site: Site) -> Web:
    """Pages to work on."""
    return pages(site)


@pytest.fixture
async def named(prefect: PrefectClient, model: ModelServer) -> AsyncIterator[str]:
    """Name of a profile that leads to the model."""
    async with profile(prefect, "scripted", base_url=model.url, input_price=2.0, output_price=8.0):
        yield "scripted"
