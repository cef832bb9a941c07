"""How many tasks there are, without counting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, MetaData, String, Table, func, select

from vibesurf_blocks.tables.models import Base
from vibesurf_blocks.tables.types import STATUS

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncConnection

    from vibesurf_blocks.tasks import Status

COUNTS = Table(
    "task_counts",
    MetaData(),
    Column("status", STATUS, primary_key=True),
    Column("llm_profile_name", String(100), primary_key=True),
    Column("amount", BigInteger, nullable=False),
)
"""Kept by the triggers of migration 0002; not there on MySQL and MariaDB.

Not by session: of those there may be as many as tasks.
"""

_tasks = Base.metadata.tables["tasks"]


async def count_tasks(
    connection: AsyncConnection,
    *,
    status: Status | None = None,
    session_id: str | None = None,
    llm_profile_name: str | None = None,
) -> int:
    """Return how many tasks all filters let through."""
    kept = connection.dialect.name in {"sqlite", "postgresql"} and session_id is None
    table = COUNTS if kept else _tasks
    query = select(func.coalesce(func.sum(COUNTS.c.amount), 0) if kept else func.count())
    query = query.select_from(table)
    for column, wanted in (
        ("status", status),
        ("session_id", session_id),
        ("llm_profile_name", llm_profile_name),
    ):
        if wanted is not None:
            query = query.where(table.c[column] == wanted)
    return int(await connection.scalar(query) or 0)


async def counts_by_status(
    connection: AsyncConnection, statuses: Collection[Status]
) -> dict[Status, int]:
    """Return how many tasks there are of each of these statuses."""
    kept = connection.dialect.name in {"sqlite", "postgresql"}
    status = (COUNTS if kept else _tasks).c.status
    query = select(status, func.sum(COUNTS.c.amount) if kept else func.count())
    query = query.where(status.in_(list(statuses))).group_by(status)
    found = {row[0]: int(row[1]) for row in await connection.execute(query)}
    return {one: found.get(one, 0) for one in statuses}
