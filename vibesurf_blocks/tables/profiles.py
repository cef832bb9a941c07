"""Reads and writes the table `llm_profiles`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import DBAPIError

from vibesurf_blocks.tables.models import Base
from vibesurf_blocks.tables.records import ProfileRecord
from vibesurf_blocks.tables.tasks import CHUNK_ROWS, WRITE_ATTEMPTS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from vibesurf_blocks.tables.database import Database

_profiles = Base.metadata.tables["llm_profiles"]
_c = _profiles.c
_by_name = select(_profiles).order_by(_c.profile_name)


class ProfileStore:
    """The LLM profiles of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[ProfileRecord]:
        """Return all profiles, by name."""
        async with self._database.read() as connection:
            return await _read(connection)

    async def replace(self, records: Sequence[ProfileRecord]) -> bool:
        """Make the table hold these profiles and no others, at once; whether that changed it.

        Raises:
            Unavailable: The database does not answer.
        """
        wanted = {record.profile_id: record for record in records}
        if {one.profile_id: one for one in await self.all()} == wanted:
            return False
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            try:
                async with self._database.write() as connection:
                    # Deleted before any is inserted: names may have changed hands.
                    there = {one.profile_id: one for one in await _read(connection)}
                    gone = [one for one in there if there[one] != wanted.get(one)]
                    fresh = [one for key, one in wanted.items() if one != there.get(key)]
                    for start in range(0, len(gone), CHUNK_ROWS):
                        chunk = gone[start : start + CHUNK_ROWS]
                        await connection.execute(delete(_profiles).where(_c.profile_id.in_(chunk)))
                    if fresh:
                        await connection.execute(
                            insert(_profiles), [one.model_dump() for one in fresh]
                        )
                return True
            except DBAPIError:  # another mirror was faster: with what it wrote this one succeeds
                if attempt == WRITE_ATTEMPTS:
                    raise
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def clear(self) -> None:
        """Delete all profiles, to derive them anew from Prefect."""
        async with self._database.write() as connection:
            await connection.execute(delete(_profiles))


async def _read(connection: AsyncConnection) -> list[ProfileRecord]:
    return [
        ProfileRecord.model_validate(row._mapping) for row in await connection.execute(_by_name)
    ]
