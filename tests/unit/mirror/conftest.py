"""Tables in a file of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vibesurf_blocks.tables import Database, TaskStore
from vibesurf_blocks.tables.upgrade import upgrade


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A new database with the tables in it."""
    url = f"sqlite:///{tmp_path / 'tables.db'}"
    await upgrade(url)
    database = Database(url)
    yield database
    await database.aclose()


@pytest.fixture
def store(database: Database) -> TaskStore:
    """Its tasks."""
    return TaskStore(database)
