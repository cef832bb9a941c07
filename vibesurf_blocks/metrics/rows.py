"""What the tables tell: tasks by status, the queue, schedules; at a cost that has a bound.

Tasks that have not ended are counted through an index each time: they are few. Those that have
ended may be millions, so their count is kept for a hundred times as long as it took: however large
the table and however often somebody asks, it costs one per cent of one connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from vibesurf_blocks.tasks import Status

if TYPE_CHECKING:
    from vibesurf_blocks.tables.schedules import ScheduleStore
    from vibesurf_blocks.tables.tasks import TaskStore

ENDED: Final = tuple(status for status in Status if status.terminal)
OPEN: Final = tuple(status for status in Status if not status.terminal)

LEAST_SECONDS: Final = 5.0
"""Seconds for which a count of the tasks that have ended is kept at the least."""

SHARE: Final = 100.0
"""How many times longer than it took that count is kept."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the tables tell at one moment.

    Attributes:
        tasks: Tasks of each status.
        oldest: When the oldest task that waits fell due (UTC), None where none waits.
        schedules: Schedules that are switched on, and off.
    """

    tasks: Mapping[Status, int]
    oldest: datetime | None
    schedules: Mapping[bool, int]


class TableCounts:
    """Counts rows for whoever asks; callers wait for each other (see `SharedRead`)."""

    def __init__(
        self,
        tasks: TaskStore,
        schedules: ScheduleStore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks = tasks
        self._schedules = schedules
        self._clock = clock
        self._ended: Mapping[Status, int] = {}
        self._until = float("-inf")

    async def __call__(self) -> Counts:
        """Count, the tasks that have ended only where their last count is too old.

        Raises:
            Unavailable: The database does not answer.
        """
        unfinished = await self._tasks.counts(OPEN)
        oldest = await self._tasks.oldest_waiting() if unfinished[Status.PENDING] else None
        begun = self._clock()
        if begun >= self._until:
            self._ended = await self._tasks.counts(ENDED)
            took = self._clock() - begun
            self._until = begun + took + max(LEAST_SECONDS, SHARE * took)
        schedules = await self._schedules.counts()
        return Counts({**unfinished, **self._ended}, oldest, schedules)


def families(counts: Counts) -> Iterator[Metric]:
    """The counts as metrics."""
    tasks = GaugeMetricFamily(
        "vibesurf_tasks", "Rows of the table tasks, by status.", labels=["status"]
    )
    for status in Status:
        tasks.add_metric([status.value], counts.tasks.get(status, 0))
    yield tasks
    yield GaugeMetricFamily(
        "vibesurf_queue_length",
        "Tasks that wait for a slot.",
        value=counts.tasks.get(Status.PENDING, 0),
    )
    waits = 0.0
    if counts.oldest is not None:
        waits = max(0.0, (datetime.now(UTC) - counts.oldest).total_seconds())
    yield GaugeMetricFamily(
        "vibesurf_queue_oldest_seconds",
        "Seconds since the oldest task that waits fell due; 0 where none waits.",
        value=waits,
    )
    schedules = GaugeMetricFamily(
        "vibesurf_schedules", "Schedules, by whether they are switched on.", labels=["enabled"]
    )
    for enabled in (True, False):
        schedules.add_metric([str(enabled).lower()], counts.schedules.get(enabled, 0))
    yield schedules
