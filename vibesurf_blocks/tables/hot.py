"""A read that never changes and is asked many times a second, at the least cost."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from vibesurf_blocks.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Select

    from vibesurf_blocks.tables.database import Database


class HotRead:
    """One `SELECT` without parameters.

    SQLite is asked in one hop to the connection's thread instead of the four that a SQLAlchemy
    cursor takes, which is most of what a small read costs. Servers are asked as usual.
    """

    def __init__(self, database: Database, statement: Select[tuple[object, ...]]) -> None:
        """Prepare `statement` for `database`."""
        self._database = database
        self._statement = statement
        self._sql: str | None = None
        self._columns: list[tuple[str, Callable[[object], object] | None]] = []
        if database.dialect == "sqlite":
            dialect = database.url.get_dialect()()
            compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
            self._sql = str(compiled)
            self._columns = [
                (column.name, column.type.dialect_impl(dialect).result_processor(dialect, None))
                for column in statement.selected_columns
            ]

    async def first(self) -> Mapping[str, object] | None:
        """Return the first row by column name, or None where there is none.

        Raises:
            Unavailable: The database does not answer.
        """
        async with self._database.read() as connection:
            if self._sql is None:
                found = (await connection.execute(self._statement)).mappings().first()
                return None if found is None else dict(found)
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None  # noqa: S101 - a connection that was just opened has one
            try:
                rows = await raw.execute_fetchall(self._sql)
            except sqlite3.Error as error:  # SQLAlchemy, which is passed by, would word it
                msg = f"The database {self._database} cannot be read: {error}."
                raise Unavailable(msg) from error
        for row in rows:
            return {
                name: value if process is None else process(value)
                for (name, process), value in zip(self._columns, row, strict=True)
            }
        return None
