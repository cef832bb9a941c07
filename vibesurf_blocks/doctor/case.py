"""What the checks work with, and what several of them ask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Worker

    from vibesurf_blocks.settings import Settings
    from vibesurf_blocks.tables.database import Database

_MISSED = 2
_MARGIN_SECONDS = 1.0
_INTERVAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Case:
    """A stack that is looked at.

    Attributes:
        settings: As its parts have them.
        client: Of its Prefect server, which may be away.
        database: Its tables, which may be away.
        deep: Whether to ask what costs something: models.
    """

    settings: Settings
    client: PrefectClient
    database: Database
    deep: bool = False


async def workers(case: Case, pool: str) -> list[Worker] | None:
    """The workers of a pool, the one heard of last first; None where there is no such pool."""
    try:
        found = await case.client.read_workers_for_work_pool(pool)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.NOT_FOUND:
            return None
        raise
    return sorted(found, key=silent_for)


def silent_for(worker: Worker) -> float:
    """Seconds since a worker was last heard of."""
    last = worker.last_heartbeat_time
    return (datetime.now(UTC) - last).total_seconds() if last is not None else float("inf")


def is_online(worker: Worker) -> bool:
    """Whether a worker missed no two heartbeats; Prefect itself waits for longer."""
    interval = worker.heartbeat_interval_seconds or _INTERVAL_SECONDS
    return silent_for(worker) <= _MISSED * interval + _MARGIN_SECONDS
