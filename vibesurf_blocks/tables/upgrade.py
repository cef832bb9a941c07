"""Brings a database to the tables of this version, once, however many processes ask for it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from vibesurf_blocks.errors import StackError
from vibesurf_blocks.tables.alone import alone
from vibesurf_blocks.tables.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"

VERSION_TABLE = "vibesurf_blocks_version"
"""Not Alembic's own default, which a Prefect server in the same database uses."""

LOCK_TIMEOUT = 60
"""Seconds to wait for another process that is upgrading the same database."""

# Alembic's `op` and `context` are global to the process: one upgrade at a time.
_alembic = threading.Lock()


@dataclass(frozen=True)
class Upgraded:
    """The revisions of a database before and after an upgrade; `before` is None for a new one."""

    before: str | None
    after: str

    @property
    def changed(self) -> bool:
        """Whether the upgrade changed anything."""
        return self.before != self.after


async def upgrade(database_url: str, *, to: str = "head") -> Upgraded:
    """Create the tables in the database, or bring those it has to this version.

    Safe when several processes call it at once: one upgrades, the others wait and find it done.

    Args:
        database_url: SQLAlchemy URL; one without a driver gets the async one.
        to: The revision; by default the newest. A database that is past it stays as it is.

    Raises:
        InvalidInput: The URL is not one of a database that can hold the tables.
        Unavailable: The database does not answer.
        StackError: It was made by a newer version, holds tables of these names that are not ours,
            or another process kept upgrading it for longer than `LOCK_TIMEOUT`.
    """
    return await asyncio.to_thread(_upgrade_alone, database_url, to)


def _upgrade_alone(database_url: str, to: str) -> Upgraded:
    with _alembic:
        return asyncio.run(_upgrade(database_url, to))


async def _upgrade(database_url: str, to: str) -> Upgraded:
    database = Database(database_url)
    try:
        async with (
            alone(database, "upgrade", wait=LOCK_TIMEOUT),
            database.write() as connection,
        ):
            return await connection.run_sync(partial(_migrate, where=str(database), to=to))
    finally:
        await database.aclose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def head() -> str:
    """The newest revision that this version knows."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _migrate(connection: Connection, *, where: str, to: str) -> Upgraded:
    config = _config()
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    before = revision_of(connection)
    if before is not None and before not in known:
        msg = (
            f"The tables in {where} were made by a newer vibesurf-blocks (revision {before}); this "
            f"one knows them up to {head()}. Install the newer version, or use another database."
        )
        raise StackError(msg)
    if before != head():
        command.upgrade(config, to)
    return Upgraded(before=before, after=str(revision_of(connection)))


@dataclass(frozen=True)
class Revisions:
    """The revision the tables are at, None where there are none, and what this version knows."""

    present: str | None
    head: str
    known: frozenset[str]


async def revisions(database: Database) -> Revisions:
    """Read at which revision the tables are, and change nothing.

    Raises:
        Unavailable: The database does not answer.
    """
    async with database.read() as connection:
        present = await connection.run_sync(revision_of)
    known = ScriptDirectory.from_config(_config()).walk_revisions()
    return Revisions(present, head(), frozenset(script.revision for script in known))


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the tables, or None where there are none yet."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()
