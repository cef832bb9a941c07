"""A VibeSurf database: opened for reading alone, recognised, and read in pages."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from vibesurf_blocks.errors import InvalidInput, Unavailable
from vibesurf_blocks.tables.upgrade import VERSION_TABLE

Row = Mapping[str, object]

PAGE_ROWS: Final = 1_000
"""Rows that are read at once: while they are, VibeSurf may have to wait with a write."""

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER: Final = 100
_WAL_MARK: Final = 18
_WAL: Final = 2
_BUSY_SECONDS: Final = 30.0
_BEFORE_ALL: Final = -(2**63)

_COLUMNS: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "tasks": (
        frozenset({"task_id", "session_id", "task_description", "status", "llm_profile_name"}),
        frozenset(
            {
                "upload_files_path",
                "workspace_dir",
                "mcp_server_config",
                "agent_mode",
                "task_result",
                "error_message",
                "report_path",
                "created_at",
                "updated_at",
                "started_at",
                "completed_at",
                "task_metadata",
            }
        ),
    ),
    "schedules": (
        frozenset({"flow_id", "cron_expression"}),
        frozenset(
            {
                "id",
                "is_enabled",
                "description",
                "last_execution_at",
                "next_execution_at",
                "execution_count",
                "created_at",
                "updated_at",
            }
        ),
    ),
    "llm_profiles": (
        frozenset({"profile_name", "provider", "model"}),
        frozenset(
            {
                "profile_id",
                "base_url",
                "encrypted_api_key",
                "temperature",
                "max_tokens",
                "top_p",
                "frequency_penalty",
                "seed",
                "provider_config",
                "description",
                "is_active",
                "is_default",
                "created_at",
                "updated_at",
                "last_used_at",
            }
        ),
    ),
}
"""The columns by which a table is recognised, and those that older versions may lack."""


class Source:
    """An open VibeSurf database.

    Attributes:
        path: The file.
        version: Its version, as VibeSurf counts them.
        unknown: Columns that no known version has, as `table.column`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Look at the tables of an open database.

        Raises:
            InvalidInput: It is damaged, or not VibeSurf's.
        """
        self.path = path
        self._connection = connection
        with self._said():
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            if found != "ok":
                raise _damaged(path, found)
            self.version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            self._tables = {str(name): self._columns(str(name)) for (name,) in names}
        self._recognise()
        self.unknown = [
            f"{table}.{column}"
            for table, (needed, further) in _COLUMNS.items()
            for column in sorted(self._tables.get(table, frozenset()) - needed - further)
        ]

    def _columns(self, table: str) -> frozenset[str]:
        rows = self._connection.execute(f"PRAGMA table_info({_quoted(table)})")
        return frozenset(str(row[1]) for row in rows)

    def _recognise(self) -> None:
        if VERSION_TABLE in self._tables:
            msg = (
                f"{self.path} is a database of vibesurf-blocks itself, not VibeSurf's: name "
                "VibeSurf's own, vibe_surf.db in its workspace."
            )
            raise InvalidInput(msg)
        if not self._tables:
            msg = f"{self.path} is a database without tables: name VibeSurf's, vibe_surf.db."
            raise InvalidInput(msg)
        for table, (needed, _) in _COLUMNS.items():
            missing = needed - self._tables.get(table, frozenset())
            if missing and (table in self._tables or table == "tasks"):
                what = (
                    f"its table {table} has no {', '.join(sorted(missing))}"
                    if table in self._tables
                    else f"it has no table {table}"
                )
                msg = (
                    f"{self.path} is no VibeSurf database: {what}. Name the one that VibeSurf "
                    "wrote, vibe_surf.db in its workspace."
                )
                raise InvalidInput(msg)

    def has(self, table: str) -> bool:
        """Whether there is a table of this name."""
        return table in self._tables

    def count(self, table: str) -> int:
        """How many rows a table has; 0 where there is no such table.

        Raises:
            InvalidInput: The database is damaged.
            Unavailable: VibeSurf kept it locked.
        """
        if table not in self._tables:
            return 0
        with self._said():
            query = f"SELECT count(*) FROM {_quoted(table)}"  # noqa: S608 - a name it has itself
            return int(self._connection.execute(query).fetchone()[0])

    def pages(self, table: str) -> Iterator[list[Row]]:
        """The rows of a table, oldest first, some at a time; none where there is no such table.

        Each page is a read of its own, so that a running VibeSurf can write in between.

        Raises:
            InvalidInput: The database is damaged.
            Unavailable: VibeSurf kept it locked.
        """
        if table not in self._tables:
            return
        needed, further = _COLUMNS[table]
        names = sorted((needed | further) & self._tables[table])
        columns = ", ".join(map(_quoted, names))
        query = (
            f"SELECT rowid, {columns} FROM {_quoted(table)} "  # noqa: S608 - names of our own
            f"WHERE rowid > ? ORDER BY rowid LIMIT {PAGE_ROWS}"
        )
        last = _BEFORE_ALL
        while True:
            with self._said():
                rows = self._connection.execute(query, (last,)).fetchall()
            if rows:
                last = int(rows[-1][0])
                yield [dict(zip(names, row[1:], strict=True)) for row in rows]
            if len(rows) < PAGE_ROWS:
                return

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Say in a sentence why it cannot be read."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                msg = f"{self.path} is locked by whoever writes to it; try again."
                raise Unavailable(msg) from error
            if Path(f"{self.path}-journal").exists():
                msg = (
                    f"{self.path} was left in the middle of a write: start VibeSurf once and stop "
                    "it, so that it mends its database, and try again."
                )
                raise InvalidInput(msg) from error
            raise _damaged(self.path, error) from error
        except sqlite3.DatabaseError as error:
            raise _damaged(self.path, error) from error


@contextmanager
def opened(where: str) -> Iterator[Source]:
    """Open a VibeSurf database for reading; nothing is written to it or beside it.

    Args:
        where: A path, or a URL of SQLite such as VibeSurf's `VIBESURF_DATABASE_URL`.

    Raises:
        InvalidInput: There is no VibeSurf database.
        Unavailable: It was written to in a way that may have spoiled what was read.
    """
    path = _path(where)
    before = _checked(path)
    with ExitStack() as stack:
        file, options = path, "mode=ro"
        wal, shared = (Path(f"{path}{end}") for end in ("-wal", "-shm"))
        alone = not wal.exists()
        if before[_WAL_MARK] == _WAL:
            # SQLite would make the two files of a write-ahead log beside it, and leave them there.
            if alone:
                options += "&immutable=1"
            elif not shared.exists():
                folder = stack.enter_context(TemporaryDirectory(prefix="vibesurf-adopt-"))
                for one in (path, wal):
                    shutil.copyfile(one, Path(folder) / one.name)
                file, options = Path(folder) / path.name, "mode=rw"
        stamp = _stamp(path)
        try:
            connection = sqlite3.connect(
                f"file:{quote(str(file))}?{options}",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
            )
        except sqlite3.Error as error:
            raise _damaged(path, error) from error
        stack.callback(connection.close)
        connection.text_factory = lambda data: data.decode(errors="replace")
        yield Source(path, connection)
        if "immutable" in options and (wal.exists() or _stamp(path) != stamp):
            msg = f"{path} was written to while it was read: run it again."
            raise Unavailable(msg)


def _path(where: str) -> Path:
    if "://" not in where:
        return Path(where).expanduser().absolute()
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        msg = "The URL of VibeSurf's database cannot be read: give the path of its file instead."
        raise InvalidInput(msg) from None
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        msg = (
            f"Only a VibeSurf database in a SQLite file can be taken over, not one of "
            f"{url.get_backend_name()}: give the path of vibe_surf.db."
        )
        raise InvalidInput(msg)
    return Path(url.database).expanduser().absolute()


def _checked(path: Path) -> bytes:
    """The header of a SQLite file."""
    try:
        if path.is_dir():
            msg = f"{path} is a folder: name the database in it, such as {path / 'vibe_surf.db'}."
            raise InvalidInput(msg)
        if not path.is_file():
            msg = (
                f"There is no file {path}: name VibeSurf's database, vibe_surf.db in its workspace."
            )
            raise InvalidInput(msg)
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}."
        raise InvalidInput(msg) from error
    if not header:
        msg = f"{path} is empty: name VibeSurf's database, vibe_surf.db in its workspace."
        raise InvalidInput(msg)
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        msg = f"{path} is no SQLite database: name VibeSurf's, vibe_surf.db in its workspace."
        raise InvalidInput(msg)
    return header


def _stamp(path: Path) -> tuple[int, int]:
    seen = os.stat(path)  # noqa: PTH116 - as quick as it gets
    return seen.st_mtime_ns, seen.st_size


def _damaged(path: Path, why: object) -> InvalidInput:
    return InvalidInput(
        f"{path} is damaged ({str(why).splitlines()[0]}): nothing was taken from it. Recover it "
        "with `sqlite3 FILE .recover`, or take a copy of it from a backup."
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
