"""Reads and writes the table `schedules`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import DBAPIError

from vibesurf_blocks.tables.models import Base
from vibesurf_blocks.tables.records import ScheduleRecord
from vibesurf_blocks.tables.tasks import CHUNK_ROWS, WRITE_ATTEMPTS

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from vibesurf_blocks.tables.database import Database

_schedules = Base.metadata.tables["schedules"]
_c = _schedules.c
_COUNTED = ("last_execution_at", "execution_count")


class ScheduleStore:
    """The schedules of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[ScheduleRecord]:
        """Return all schedules, oldest first."""
        query = select(_schedules).order_by(_c.created_at, _c.id)
        async with self._database.read() as connection:
            return [
                ScheduleRecord.model_validate(row._mapping)
                for row in await connection.execute(query)
            ]

    async def updates(self) -> dict[str, datetime]:
        """Return the `updated_at` of all schedules by their id."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(_c.id, _c.updated_at))
            return {row.id: row.updated_at for row in rows}

    async def get(self, flow_id: str) -> ScheduleRecord | None:
        """Return the schedule of this `flow_id`, or None where there is none."""
        return await self._first(_c.flow_id == flow_id)

    async def by_id(self, schedule_id: str) -> ScheduleRecord | None:
        """Return the schedule with this id of Prefect's, or None where there is none."""
        return await self._first(_c.id == schedule_id)

    async def _first(self, condition: Any) -> ScheduleRecord | None:  # noqa: ANN401
        async with self._database.read() as connection:
            row = (await connection.execute(select(_schedules).where(condition))).first()
        return None if row is None else ScheduleRecord.model_validate(row._mapping)

    async def counts(self) -> dict[bool, int]:
        """Return how many schedules are switched on, and how many off."""
        query = select(_c.is_enabled, func.count()).group_by(_c.is_enabled)
        async with self._database.read() as connection:
            found = {bool(enabled): count for enabled, count in await connection.execute(query)}
        return {enabled: found.get(enabled, 0) for enabled in (True, False)}

    async def write(
        self,
        records: Sequence[ScheduleRecord],
        *,
        gone: Collection[str] = (),
        counts: bool = True,
        fresh: Collection[str] | None = None,
    ) -> None:
        """Write schedules, all or none.

        A row keeps the newest state it was given: a record with an earlier `updated_at` than its
        row's is ignored. A row of another schedule that has the same `flow_id` gives way.

        Args:
            records: The schedules.
            gone: Ids of schedules whose rows are deleted.
            counts: Whether rows that are there get the records' executions too.
            fresh: Ids that get a row where they have none; None for all.

        Raises:
            Unavailable: The database does not answer.
        """
        if not records and not gone:
            return
        ordered = sorted(records, key=lambda record: record.id)
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            try:
                async with self._database.write() as connection:
                    for start in range(0, len(gone), CHUNK_ROWS):
                        chunk = list(gone)[start : start + CHUNK_ROWS]
                        await connection.execute(delete(_schedules).where(_c.id.in_(chunk)))
                    for start in range(0, len(ordered), CHUNK_ROWS):
                        await _write(connection, ordered[start : start + CHUNK_ROWS], counts, fresh)
                return
            except DBAPIError:  # another writer was faster: with what it wrote this one succeeds
                if attempt == WRITE_ATTEMPTS:
                    raise

    async def delete(self, schedule_id: str) -> None:
        """Delete the row of a schedule."""
        await self.write([], gone=[schedule_id])

    async def clear(self) -> None:
        """Delete all schedules, to rebuild them from Prefect."""
        async with self._database.write() as connection:
            await connection.execute(delete(_schedules))


async def _write(
    connection: AsyncConnection,
    records: Sequence[ScheduleRecord],
    counts: bool,
    fresh: Collection[str] | None,
) -> None:
    there: dict[str, tuple[str, datetime]] = {
        row.id: (row.flow_id, row.updated_at)
        for row in await connection.execute(
            select(_c.id, _c.flow_id, _c.updated_at)
            .where(
                or_(
                    _c.id.in_([record.id for record in records]),
                    _c.flow_id.in_([record.flow_id for record in records]),
                )
            )
            .with_for_update()
        )
    }
    written = [
        record
        for record in records
        if (
            there[record.id][1] <= record.updated_at
            if record.id in there
            else fresh is None or record.id in fresh
        )
    ]
    names = {record.flow_id: record.id for record in written}
    in_the_way = [
        other for other, (flow_id, _) in there.items() if names.get(flow_id, other) != other
    ]
    if in_the_way:
        await connection.execute(delete(_schedules).where(_c.id.in_(in_the_way)))
    changed = [one for one in written if one.id in there and one.id not in in_the_way]
    added = [one for one in written if one.id not in there or one.id in in_the_way]
    if changed:
        left_out = {"id", "created_at"} | (set() if counts else set(_COUNTED))
        columns = [column.name for column in _c if column.name not in left_out]
        statement = (
            update(_schedules)
            .where(_c.id == bindparam("of_id"))
            .values({name: bindparam(f"to_{name}") for name in columns})
        )
        await connection.execute(
            statement,
            [
                {"of_id": one.id, **{f"to_{name}": getattr(one, name) for name in columns}}
                for one in changed
            ],
        )
    if added:
        await connection.execute(insert(_schedules), [one.model_dump() for one in added])
