"""Fixtures around one stack for the whole session: clients, the tables, a web site, an idle slot.

`stack` hands the stack to one test after another, each time with no task active.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.eventually import slowness
from tests.support.site import Site, running
from tests.support.stack import END_SECONDS, LiveStack
from tests.support.tasks import end_all
from vibesurf_blocks.tables import Database, TaskStore


@pytest.fixture(scope="session")
def live_stack() -> Iterator[LiveStack]:
    """The stack itself, whatever it is doing; ended in order, with nothing left of it."""
    # PostgreSQL's own user must pass through the folder, as it may not through pytest's.
    folder = Path(tempfile.mkdtemp(prefix="live-", dir="/tmp"))
    folder.chmod(0o755)
    stack = LiveStack(
        folder,
        VIBESURF_REQUEST_TIMEOUT="60",
        VIBESURF_SILENCE_SECONDS="8",
        VIBESURF_MODEL_CHECK_SECONDS="5",
    )
    try:
        yield stack.start()
        assert stack.stop() < END_SECONDS * slowness()
    finally:
        stack.kill()
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


@pytest.fixture
def site() -> Iterator[Site]:
    """A web site on loopback, gone after the test."""
    with running() as made:
        yield made


@pytest.fixture
async def stack(live_stack: LiveStack, site: Site) -> AsyncIterator[LiveStack]:
    """The stack with its slot free; whatever the test leaves behind is ended."""
    yield live_stack
    site.let_go()
    await end_all(live_stack)


@pytest.fixture
async def api(stack: LiveStack) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the REST API."""
    async with stack.http() as client:
        yield client


@pytest.fixture
async def prefect(stack: LiveStack) -> AsyncIterator[PrefectClient]:
    """A client of the Prefect server."""
    async with stack.prefect() as client:
        yield client


@pytest.fixture
async def store(stack: LiveStack) -> AsyncIterator[TaskStore]:
    """The stack's tables, read beside the API."""
    database = Database(stack.settings.tables_url)
    yield TaskStore(database)
    await database.aclose()
