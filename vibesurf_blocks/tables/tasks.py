"""Reads and writes the table `tasks`."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from sqlalchemy import Text, and_, case, cast, delete, func, or_, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from vibesurf_blocks.errors import InvalidInput
from vibesurf_blocks.tables.counts import count_tasks, counts_by_status
from vibesurf_blocks.tables.hot import HotRead
from vibesurf_blocks.tables.marks import MARKS
from vibesurf_blocks.tables.models import Base
from vibesurf_blocks.tables.rare import rare
from vibesurf_blocks.tables.records import TaskRecord
from vibesurf_blocks.tables.types import storable
from vibesurf_blocks.tasks import Priority, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection
    from sqlalchemy.sql.base import ReadOnlyColumnCollection

    from vibesurf_blocks.tables.database import Database

PAGE_LIMIT = 500
"""Rows of one page at the most."""

CHUNK_ROWS = 500
"""Rows of one statement at the most: no database's limit of bound parameters is near."""

CHUNK_BYTES = 4_000_000
"""Bytes of one statement, about: MariaDB refuses more than 16 MB."""

WRITE_ATTEMPTS = 5
"""Times a write is tried that the database gave up for the sake of another."""

_GIVEN_UP = {1205, 1213, "40001", "40P01"}
"""MySQL's and PostgreSQL's codes of a transaction that lost to another and may be repeated."""

_tasks = Base.metadata.tables["tasks"]
_c = _tasks.c
_newest_first = (_c.created_at.desc(), _c.task_id.desc())
_oldest_started = (func.coalesce(_c.started_at, _c.created_at), _c.created_at, _c.task_id)
_suspended = _c.task_metadata["suspended"].as_boolean()
is_adopted = _c.task_metadata[("adopted", "status")].as_string().is_not(None)
"""Whether a row was taken over from VibeSurf: Prefect knows nothing of it."""

_waits = rare(_c.status == Status.PENDING)
_first_holder = (
    select(_c.task_id)
    .where(
        rare(_c.status.in_([Status.RUNNING, Status.PAUSED])),
        or_(_c.status == Status.RUNNING, _suspended.is_not(True)),
    )
    .order_by(*_oldest_started)
    .limit(1)
)
_first_pending = select(_c.task_id).where(_waits).order_by(_c.created_at, _c.task_id).limit(1)
_first_suspended = (
    select(_c.task_id).where(rare(_c.status == Status.PAUSED)).order_by(*_oldest_started).limit(1)
)
_active = select(_tasks).where(
    _c.task_id
    == func.coalesce(
        _first_holder.scalar_subquery(),
        _first_pending.scalar_subquery(),
        _first_suspended.scalar_subquery(),
    )
)
_last_ended = (
    select(_tasks)
    .where(_c.completed_at.is_not(None))
    .order_by(_c.completed_at.desc(), _c.task_id.desc())
    .limit(1)
)
_priority = _c.task_metadata["priority"].as_string()
_turn = (
    case((_priority == Priority.HIGH, 0), (_priority == Priority.LOW, 2), else_=1),
    func.coalesce(_c.task_metadata["due_at"].as_string(), ""),  # all in UTC: texts sort as times
    _c.task_id,
)
_waiting = select(_tasks).where(_waits).order_by(*_turn)
_unfinished = (
    select(_c.task_id)
    .where(rare(_c.status.in_([Status.PENDING, Status.RUNNING, Status.PAUSED])))
    .order_by(_c.created_at, _c.task_id)
)

_place = TypeAdapter(tuple[AwareDatetime, str])


@dataclass(frozen=True)
class TaskPage:
    """One page of tasks, newest first."""

    records: list[TaskRecord]
    total_count: int
    """Tasks that the filters let through, on all pages."""
    next_cursor: str | None
    """Where the next page begins; None on the last one."""


class TaskStore:
    """The tasks of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._active = HotRead(database, _active)
        self._last_ended = HotRead(database, _last_ended)

    async def upsert(self, records: Sequence[TaskRecord]) -> list[str]:
        """Write `records`, all or none, and return the ids of those whose row changed.

        A row keeps the newest state it was ever given: a record with an earlier `updated_at` than
        its row's is ignored, by the database itself, so that this holds between processes too.
        `created_at` and `started_at` stay as they were first written.

        Raises:
            Unavailable: The database does not answer.
        """
        newest: dict[str, TaskRecord] = {}
        for record in records:
            other = newest.get(record.task_id)
            if other is None or other.updated_at <= record.updated_at:
                newest[record.task_id] = record
        if not newest:
            return []
        # All writers take the rows in one order and so cannot lock each other out.
        ordered = sorted(newest.values(), key=lambda record: record.task_id)
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            try:
                async with self._database.write() as connection:
                    changed: list[str] = []
                    for chunk in _chunks(ordered):
                        changed += await self._upsert(connection, chunk)
                    return changed
            except DBAPIError as error:
                if attempt == WRITE_ATTEMPTS or _code(error) not in _GIVEN_UP:
                    raise
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def _upsert(
        self, connection: AsyncConnection, records: Sequence[TaskRecord]
    ) -> Sequence[str]:
        match self._database.dialect:
            case "postgresql":
                return await _upsert_returning(connection, postgresql.insert(_tasks), records)
            case "sqlite":
                return await _upsert_returning(connection, sqlite.insert(_tasks), records)
            case _:
                return await _upsert_mysql(connection, records)

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return the task of this id, or None where there is none."""
        if storable(task_id) != task_id:
            return None  # no row has it, and PostgreSQL would not be asked for it
        async with self._database.read() as connection:
            row = (await connection.execute(select(_tasks).where(_c.task_id == task_id))).first()
        return None if row is None else _record(row)

    async def many(self, ids: Collection[str]) -> dict[str, TaskRecord]:
        """Return those tasks of these ids that have a row, by id."""
        wanted = list(ids)
        found: dict[str, TaskRecord] = {}
        async with self._database.read() as connection:
            for start in range(0, len(wanted), CHUNK_ROWS):
                chunk = _c.task_id.in_(wanted[start : start + CHUNK_ROWS])
                rows = await connection.execute(select(_tasks).where(chunk))
                found |= {row.task_id: _record(row) for row in rows}
        return found

    async def active(self) -> TaskRecord | None:
        """Return the task that holds the slot, else the one that is to have it next.

        That is the first of: the running or paused task that started first; the oldest pending
        one; the oldest suspended one, which is paused and has given up the slot.
        """
        return _known(await self._active.first())

    async def last_ended(self) -> TaskRecord | None:
        """Return the task that ended last, or None where none has ended."""
        return _known(await self._last_ended.first())

    async def page(
        self,
        *,
        status: Status | None = None,
        session_id: str | None = None,
        llm_profile_name: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> TaskPage:
        """Return the tasks that all filters let through, newest first.

        Args:
            status: Only tasks of this status.
            session_id: Only tasks of this session.
            llm_profile_name: Only tasks of this profile.
            limit: Tasks to return at the most, 1 to `PAGE_LIMIT`.
            cursor: `next_cursor` of the page before. Tasks made meanwhile do not shift the pages.

        Raises:
            InvalidInput: The limit is out of range, or the cursor is not one.
        """
        if not 1 <= limit <= PAGE_LIMIT:
            msg = f"The limit must be from 1 to {PAGE_LIMIT}; it is {limit}."
            raise InvalidInput(msg)
        filters: list[ColumnElement[bool]] = []
        if any(one is not None and storable(one) != one for one in (session_id, llm_profile_name)):
            return TaskPage(records=[], total_count=0, next_cursor=None)
        if status is not None:
            filters.append(_c.status == status)
        if session_id is not None:
            filters.append(_c.session_id == session_id)
        if llm_profile_name is not None:
            filters.append(_c.llm_profile_name == llm_profile_name)
        rows = select(_tasks).where(*filters).order_by(*_newest_first).limit(limit + 1)
        if cursor is not None:
            moment, task_id = _read_cursor(cursor)
            rows = rows.where(
                # Row values say the same, but MySQL finds no index for those.
                _c.created_at <= moment,
                or_(_c.created_at < moment, _c.task_id < task_id),
            )
        async with self._database.read() as connection:
            found = [_record(row) for row in await connection.execute(rows)]
            total = await count_tasks(
                connection, status=status, session_id=session_id, llm_profile_name=llm_profile_name
            )
        more = len(found) > limit
        records = found[:limit]
        return TaskPage(
            records=records,
            total_count=total,
            next_cursor=_write_cursor(records[-1]) if more else None,
        )

    async def queue(self, *, limit: int = 50, offset: int = 0) -> tuple[list[TaskRecord], int]:
        """Return the tasks that wait, in the order they get the slot, and how many there are."""
        async with self._database.read() as connection:
            rows = await connection.execute(_waiting.limit(limit).offset(offset))
            found = [_record(row) for row in rows]
            total = await count_tasks(connection, status=Status.PENDING)
        return found, total

    async def place(self, task_id: str) -> int:
        """Return the place of a task among those that wait, from 1; 0 where it does not wait."""
        places = select(_c.task_id, func.row_number().over(order_by=_turn).label("place"))
        waiting = places.where(_waits).subquery()
        async with self._database.read() as connection:
            found = await connection.scalar(
                select(waiting.c.place).where(waiting.c.task_id == task_id)
            )
        return found or 0

    async def counts(self, statuses: Collection[Status]) -> dict[Status, int]:
        """Return how many tasks have each of these statuses."""
        async with self._database.read() as connection:
            return await counts_by_status(connection, statuses)

    async def oldest_waiting(self) -> datetime | None:
        """Return when the oldest task that waits fell due, or None where none waits."""
        oldest = select(func.min(_c.created_at)).where(_waits)
        async with self._database.read() as connection:
            found: datetime | None = await connection.scalar(oldest)
            return found

    async def unfinished_ids(self) -> list[str]:
        """Return the ids of all tasks that have not ended, oldest first."""
        async with self._database.read() as connection:
            return list(await connection.scalars(_unfinished))

    async def last_use(self, llm_profile_name: str) -> datetime | None:
        """Return when the newest started task of a profile was started, or None where none was."""
        newest = (
            select(_c.started_at)
            .where(_c.llm_profile_name == llm_profile_name, _c.started_at.is_not(None))
            .order_by(*_newest_first)
            .limit(1)
        )
        async with self._database.read() as connection:
            started: datetime | None = await connection.scalar(newest)
            return started

    async def newest_ids(self, limit: int) -> list[str]:
        """Return the ids of the newest tasks that Prefect knows or knew, newest first."""
        query = select(_c.task_id).where(~is_adopted).order_by(*_newest_first).limit(limit)
        async with self._database.read() as connection:
            return list(await connection.scalars(query))

    async def existing_ids(self, ids: Collection[str]) -> set[str]:
        """Return those of `ids` that have a row."""
        wanted = list(ids)
        existing: set[str] = set()
        if wanted:
            async with self._database.read() as connection:
                for start in range(0, len(wanted), CHUNK_ROWS):
                    chunk = wanted[start : start + CHUNK_ROWS]
                    existing.update(
                        await connection.scalars(select(_c.task_id).where(_c.task_id.in_(chunk)))
                    )
        return existing

    async def clear(self) -> None:
        """Delete all tasks, to rebuild them from Prefect."""
        async with self._database.write() as connection:
            await connection.execute(delete(MARKS))
            await connection.execute(delete(_tasks))


def _record(row: Row[tuple[object, ...]]) -> TaskRecord:
    return TaskRecord.model_validate(dict(row._mapping))


def _known(row: Mapping[str, object] | None) -> TaskRecord | None:
    return None if row is None else TaskRecord.model_validate(row)


def _chunks(records: Sequence[TaskRecord]) -> Iterator[list[TaskRecord]]:
    chunk: list[TaskRecord] = []
    weight = 0
    for record in records:
        if chunk and (len(chunk) == CHUNK_ROWS or weight + record.weight > CHUNK_BYTES):
            yield chunk
            chunk, weight = [], 0
        chunk.append(record)
        weight += record.weight
    yield chunk


def _merged(
    new: ReadOnlyColumnCollection[str, ColumnElement[object]],
) -> dict[str, ColumnElement[object]]:
    """What each column becomes where a row meets a record that is not older."""
    merged = {column.name: new[column.name] for column in _c if not column.primary_key}
    merged["created_at"] = _c.created_at
    merged["started_at"] = func.coalesce(_c.started_at, new["started_at"])
    return merged


async def _upsert_returning(
    connection: AsyncConnection,
    insert: postgresql.Insert | sqlite.Insert,
    records: Sequence[TaskRecord],
) -> Sequence[str]:
    merged = _merged(insert.excluded)
    differs = [
        cast(_c[name], Text).is_distinct_from(cast(value, Text))
        if name == "task_metadata"  # PostgreSQL's JSON cannot be compared
        else _c[name].is_distinct_from(value)
        for name, value in merged.items()
        if name != "created_at"
    ]
    statement = insert.on_conflict_do_update(
        index_elements=[_c.task_id],
        set_=merged,
        where=and_(_c.updated_at <= insert.excluded.updated_at, or_(*differs)),
    ).returning(_c.task_id)
    written = await connection.scalars(statement, [record.values() for record in records])
    return sorted(written)


async def _upsert_mysql(
    connection: AsyncConnection, records: Sequence[TaskRecord]
) -> Sequence[str]:
    """Upsert without `WHERE` and `RETURNING`, which MySQL lacks here: each column asks itself."""
    of_these = _c.task_id.in_([record.task_id for record in records])
    locked = await connection.execute(select(_tasks).where(of_these).with_for_update())
    before = {row.task_id: _record(row) for row in locked}
    insert = mysql.insert(_tasks)
    merged = _merged(insert.inserted)
    # MySQL assigns from left to right: what the others ask for comes last.
    order = sorted(merged, key=lambda name: name == "updated_at")
    newer = insert.inserted.updated_at >= _c.updated_at
    statement = insert.on_duplicate_key_update(
        [(name, case((newer, merged[name]), else_=_c[name])) for name in order]
    )
    await connection.execute(statement, [record.values() for record in records])
    times = await connection.execute(select(_c.task_id, _c.updated_at).where(of_these))
    after = {row.task_id: row.updated_at for row in times}
    return [
        record.task_id
        for record in records
        if after[record.task_id] == record.updated_at
        and _with_first_times(record, before.get(record.task_id)) != before.get(record.task_id)
    ]


def _with_first_times(record: TaskRecord, row: TaskRecord | None) -> TaskRecord:
    if row is None:
        return record
    return record.model_copy(
        update={
            "created_at": row.created_at,
            "started_at": row.started_at or record.started_at,
        }
    )


def _code(error: DBAPIError) -> object:
    """Return the driver's code of an error: MySQL's number, PostgreSQL's SQLSTATE."""
    if error.orig is None:
        return None
    return getattr(error.orig, "sqlstate", None) or next(iter(error.orig.args), None)


def _write_cursor(record: TaskRecord) -> str:
    place = json.dumps([record.created_at.isoformat(), record.task_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        moment, task_id = _place.validate_json(
            base64.b64decode(padded, altchars=b"-_", validate=True)
        )
        if storable(task_id) == task_id:
            return moment.astimezone(UTC), task_id
        wrong: Exception | None = None
    except (ValidationError, binascii.Error, UnicodeEncodeError, OverflowError) as error:
        wrong = error
    msg = "The cursor is not one that a page gave: leave it out to begin with the newest task."
    raise InvalidInput(msg) from wrong
