"""The rows of ended tasks, oldest first, for whoever prunes them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import and_, case, delete, func, or_, select

from vibesurf_blocks.tables.models import Base
from vibesurf_blocks.tables.tasks import CHUNK_ROWS, is_adopted
from vibesurf_blocks.tasks import Status

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from vibesurf_blocks.tables.database import Database

_tasks = Base.metadata.tables["tasks"]
_c = _tasks.c
_TERMINAL = [status for status in Status if status.terminal]
_REPORTS = 50
_parent = _c.task_metadata["parent_task_id"].as_string()

Place = tuple[datetime, str]
"""Where an ended task stands among them: when it ended (UTC), and its id."""


@dataclass(frozen=True, slots=True)
class EndedTask:
    """What pruning needs to know of a row.

    Attributes:
        task_id: The task.
        session_id: Its session.
        parent_task_id: The batch or workflow it is a part of, None for a task of its own.
        completed_at: When it ended (UTC).
        own_report: File name of its report where that is not of this project's making, as of what
            was taken over from VibeSurf; other tasks may share it.
    """

    task_id: str
    session_id: str
    parent_task_id: str | None
    completed_at: datetime
    own_report: str | None = None

    @property
    def run_id(self) -> UUID | None:
        """Its flow run, None where the id is not one of Prefect's."""
        return run_id_of(self.task_id)

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.completed_at, self.task_id


class EndedTasks:
    """The ended tasks of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def place_of_newest(self, number: int) -> Place | None:
        """The place of the `number`-th newest, from 1; None where there are fewer."""
        query = (
            select(_c.completed_at, _c.task_id)
            .where(_c.completed_at.is_not(None))
            .order_by(_c.completed_at.desc(), _c.task_id.desc())
            .offset(number - 1)
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else (row.completed_at, row.task_id)

    async def count(self, before: Place) -> int:
        """How many stand before a place."""
        query = select(func.count()).select_from(_tasks).where(*_before(before))
        async with self._database.read() as connection:
            return await connection.scalar(query) or 0

    async def page(self, before: Place, after: Place | None, limit: int) -> list[EndedTask]:
        """The oldest ones before a place and after another, `limit` at the most."""
        query = (
            select(
                *(_c.task_id, _c.session_id, _parent.label("parent"), _c.completed_at),
                case((is_adopted, _c.report_path)).label("report"),
            )
            .where(*_before(before), _c.status.in_(_TERMINAL))
            .order_by(_c.completed_at, _c.task_id)
            .limit(limit)
        )
        if after is not None:
            moment, task_id = after
            query = query.where(
                # Row values say the same, but MySQL finds no index for those.
                _c.completed_at >= moment,
                or_(_c.completed_at > moment, _c.task_id > task_id),
            )
        async with self._database.read() as connection:
            return [
                EndedTask(
                    *(row.task_id, row.session_id, row.parent, row.completed_at),
                    own_report=PurePath(row.report).name if row.report else None,
                )
                for row in await connection.execute(query)
            ]

    async def delete(self, ids: Collection[str], before: Place) -> int:
        """Delete those of `ids` that still have ended before a place; returns how many.

        Each transaction takes `CHUNK_ROWS` rows at the most: nobody waits long for it.
        """
        gone = 0
        wanted = sorted(ids)
        for start in range(0, len(wanted), CHUNK_ROWS):
            chunk = _c.task_id.in_(wanted[start : start + CHUNK_ROWS])
            async with self._database.write() as connection:
                done = await connection.execute(
                    delete(_tasks).where(chunk, *_before(before), _c.status.in_(_TERMINAL))
                )
            gone += done.rowcount
        return gone

    async def named_by_others(self, tasks: Collection[EndedTask]) -> set[tuple[str, str]]:
        """The reports of `tasks`' own that another row names too, by session and file name."""
        named = {(one.session_id, one.own_report) for one in tasks if one.own_report is not None}
        ids = {one.task_id for one in tasks}
        found: set[tuple[str, str]] = set()
        wanted = sorted(named)
        for start in range(0, len(wanted), _REPORTS):
            query = select(_c.task_id, _c.session_id, _c.report_path).where(
                or_(
                    *(
                        and_(
                            _c.session_id == session,
                            _c.report_path.endswith(f"/{name}", autoescape=True),
                        )
                        for session, name in wanted[start : start + _REPORTS]
                    )
                )
            )
            async with self._database.read() as connection:
                for row in await connection.execute(query):
                    if row.task_id not in ids:
                        found.add((row.session_id, PurePath(row.report_path).name))
        return found

    async def sessions_without_rows(self, sessions: Collection[str]) -> set[str]:
        """Those of `sessions` that have no task at all."""
        left = set(sessions)
        wanted = sorted(left)
        for start in range(0, len(wanted), CHUNK_ROWS):
            query = select(_c.session_id.distinct()).where(
                _c.session_id.in_(wanted[start : start + CHUNK_ROWS])
            )
            async with self._database.read() as connection:
                left -= set(await connection.scalars(query))
        return left


def run_id_of(task_id: str) -> UUID | None:
    """The id of a task as Prefect's of its flow run, None where it cannot be one."""
    try:
        return UUID(task_id)
    except ValueError:
        return None


def _before(place: Place) -> list[ColumnElement[bool]]:
    moment, task_id = place
    return [
        _c.completed_at <= moment,
        or_(_c.completed_at < moment, and_(_c.completed_at == moment, _c.task_id < task_id)),
    ]
