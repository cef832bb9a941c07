"""How far the mirror has compared the rows with Prefect."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from sqlalchemy import Column, MetaData, String, Table, delete, insert, select

from vibesurf_blocks.tables.models import Base
from vibesurf_blocks.tables.types import UTCTime

if TYPE_CHECKING:
    from datetime import datetime

    from vibesurf_blocks.tables.database import Database

MARKS: Final = Table(
    "mirror_marks",
    MetaData(),
    Column("pool", String(64), primary_key=True),  # its digest
    Column("compared_at", UTCTime, nullable=False),
    Column("task_id", String(36)),
)
"""Made by migration 0003."""

_m = MARKS.c
_tasks = Base.metadata.tables["tasks"]
_newest = (
    select(_tasks.c.task_id)
    .where(_tasks.c.task_metadata[("adopted", "status")].as_string().is_(None))
    .order_by(_tasks.c.created_at.desc(), _tasks.c.task_id.desc())
    .limit(1)
)
_stands = select(_tasks.c.task_id).where(_tasks.c.task_id == _m.task_id).correlate(MARKS)
_holds = _m.task_id.is_(None) | _stands.exists()


class Mark:
    """The mark of the mirror of one work pool, written by that mirror alone."""

    def __init__(self, database: Database, pool: str) -> None:
        self._database = database
        self._name = hashlib.sha256(pool.encode()).hexdigest()
        self._mine = _m.pool == self._name

    async def read(self) -> datetime | None:
        """Up to when all rows were compared; None where that is unknown.

        It is unknown, too, where a row that stood then is gone: somebody emptied the table.

        Raises:
            Unavailable: The database does not answer.
        """
        async with self._database.read() as connection:
            found: datetime | None = await connection.scalar(
                select(_m.compared_at).where(self._mine, _holds)
            )
        return found

    async def put(self, moment: datetime) -> bool:
        """Say that all rows were compared at a moment.

        Returns:
            False where nothing was said: of those compared before, rows are gone.

        Raises:
            Unavailable: The database does not answer.
        """
        async with self._database.write() as connection:
            if await connection.scalar(select(_m.pool).where(self._mine, ~_holds)) is not None:
                return False
            newest = await connection.scalar(_newest)
            await connection.execute(delete(MARKS).where(self._mine))
            await connection.execute(
                insert(MARKS).values(pool=self._name, compared_at=moment, task_id=newest)
            )
        return True

    async def forget(self) -> None:
        """Say that it is unknown.

        Raises:
            Unavailable: The database does not answer.
        """
        async with self._database.write() as connection:
            await connection.execute(delete(MARKS).where(self._mine))
