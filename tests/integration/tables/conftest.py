"""A fresh database with the tables in it, for each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.databases import database_url, mysql_url, postgres_url, sqlite_url
from vibesurf_blocks.tables import Database, TaskStore, upgrade

__all__ = ["database_url", "mysql_url", "postgres_url", "sqlite_url"]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An upgraded database."""
    await upgrade(database_url)
    database = Database(database_url)
    yield database
    await database.aclose()


@pytest.fixture
def store(database: Database) -> TaskStore:
    """The tasks of that database."""
    return TaskStore(database)
