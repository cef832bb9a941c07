"""Prefect's events as hints: an endless stream of run ids that survives lost connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import (
    EventAnyResourceFilter,
    EventFilter,
    EventNameFilter,
)

logger = logging.getLogger(__name__)

_RUN_PREFIX = "prefect.flow-run."
_BACKOFF_SECONDS = (0.1, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened to a run; or, with no run, events may have been missed.

    Attributes:
        run_id: The run, None where the stream was (re)connected.
        name: Name of the event, empty where the stream was (re)connected.
        pool: Name of the run's work pool, None where it has none or the event is about no run.
        payload: What the event tells, for what need not be right: metrics.
    """

    run_id: UUID | None
    name: str = ""
    pool: str | None = None
    payload: Mapping[str, object] = field(default_factory=dict)


def run_id_of(event: Event) -> UUID | None:
    """The flow run that an event is about, as its resource or a related one."""
    ids = [event.resource.id, *(related.id for related in event.related)]
    for resource in ids:
        if resource.startswith(_RUN_PREFIX):
            try:
                return UUID(resource.removeprefix(_RUN_PREFIX))
            except ValueError:
                continue
    return None


def pool_of(event: Event) -> str | None:
    """Name of the work pool of the run that an event is about, None where it tells of none."""
    return next((one.name for one in event.related if one.role == "work-pool"), None)


async def hints(
    *,
    names: Sequence[str] = (),
    prefixes: Sequence[str] = (),
    run_id: UUID | None = None,
) -> AsyncIterator[Hint]:
    """Yield a hint for each matching event, and an empty one after each (re)connection.

    Never ends by itself; a lost or refused connection is tried again within two seconds. Events
    may be missed at any time, so whoever uses this also reads the truth now and then.

    Args:
        names: Exact event names.
        prefixes: Beginnings of event names, ending in a dot.
        run_id: Only events about this run, where given.
    """
    wanted = EventFilter(
        event=EventNameFilter(name=list(names), prefix=[f"{p.rstrip('.')}." for p in prefixes]),
        any_resource=(
            EventAnyResourceFilter(id=[f"{_RUN_PREFIX}{run_id}"]) if run_id is not None else None
        ),
    )
    failures = 0
    while True:
        try:
            async with get_events_subscriber(filter=wanted, reconnection_attempts=0) as events:
                failures = 0
                yield Hint(None)
                async for event in events:
                    yield Hint(run_id_of(event), event.event, pool_of(event), event.payload)
        except Exception as error:  # noqa: BLE001 - whatever broke the stream, it is opened again
            log = logger.warning if failures == 2 else logger.debug
            log("The stream of Prefect's events broke (%r); opening it again.", error)
        await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
        failures += 1
