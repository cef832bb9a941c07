"""A Prefect server for each database, kept for all tests of a module."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest
import pytest_asyncio

from tests.support.local_server import Database, LocalServer


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may pass through, as pytest's own may not be."""
    path = Path(tempfile.mkdtemp(prefix="stack-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    with contextlib.suppress(OSError):
        shutil.rmtree(path)


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["sqlite", "postgres"], name="kept"
)
async def kept_server(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[LocalServer]:
    server = LocalServer(folder / request.param, cast("Database", request.param))
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def server(kept: LocalServer) -> LocalServer:
    """The server of the module, started where a test before this one ended it."""
    await kept.start()
    return kept


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: LocalServer) -> AsyncIterator[httpx.AsyncClient]:
    """A plain client: it repeats nothing, as Prefect's own would."""
    async with httpx.AsyncClient(base_url=server.api_url, trust_env=False, timeout=30) as opened:
        yield opened
