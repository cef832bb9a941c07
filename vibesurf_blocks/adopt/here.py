"""Where things taken over go: the tables here, and Prefect, where a server is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.settings import PREFECT_API_URL

from vibesurf_blocks.api.context import Context, open_context
from vibesurf_blocks.errors import InvalidInput, Unavailable
from vibesurf_blocks.prefect_api.client import connect
from vibesurf_blocks.tables.database import Database, async_url
from vibesurf_blocks.tables.tasks import TaskStore
from vibesurf_blocks.tables.upgrade import revision_of, upgrade

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from vibesurf_blocks.settings import Settings


@dataclass(frozen=True, slots=True)
class Here:
    """Where things go.

    Attributes:
        store: The tasks, None where there are no tables yet.
        client: Prefect, None where no server is named.
        context: What makes schedules, None in a dry run and without Prefect.
    """

    store: TaskStore | None
    client: PrefectClient | None
    context: Context | None


@asynccontextmanager
async def opened(settings: Settings, *, apply: bool) -> AsyncIterator[Here]:
    """Open the tables and Prefect; a dry run makes no tables."""
    if PREFECT_API_URL.value() is None:
        if apply:
            await upgrade(settings.tables_url)
        async with _tables(settings) as store:
            yield Here(store, None, None)
        return
    async with connect() as client:
        problem = await client.api_healthcheck()
        if problem is not None:
            msg = (
                f"The Prefect server at {PREFECT_API_URL.value()} does not answer "
                f"({type(problem).__name__}): start it, or unset PREFECT_API_URL to take over "
                "tasks alone. Nothing was written."
            )
            raise Unavailable(msg)
        if not apply:
            async with _tables(settings) as store:
                yield Here(store, client, None)
            return
    async with open_context(settings) as context:
        yield Here(context.store, context.client, context)


@asynccontextmanager
async def _tables(settings: Settings) -> AsyncIterator[TaskStore | None]:
    """Open the tables as they are; None where there are none yet."""
    file = _own_file(settings)
    if file is not None and not file.exists():
        yield None
        return
    database = Database.of(settings)
    try:
        async with database.read() as connection:
            revision = await connection.run_sync(revision_of)
        yield TaskStore(database) if revision is not None else None
    finally:
        await database.aclose()


def see_that_it_is_another(settings: Settings, source: Path) -> None:
    """See that the tables here are not in the database that is only to be read.

    Raises:
        InvalidInput: They are.
    """
    own = _own_file(settings)
    if own is not None and own.exists() and own.samefile(source):
        msg = (
            f"VIBESURF_DATABASE_URL names {source} itself, which is only read: let it name a "
            "database for the tables here."
        )
        raise InvalidInput(msg)


def _own_file(settings: Settings) -> Path | None:
    """The file of the tables; None where they are on a server."""
    url = async_url(settings.tables_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None
