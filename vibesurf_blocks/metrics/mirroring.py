"""What the mirror counts: how late rows are, what it had to repair, ended tasks, steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from vibesurf_blocks.metrics.names import QUICK, SLOW
from vibesurf_blocks.prefect_api.states import status_of
from vibesurf_blocks.tasks import Status

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun

_KNOWN_STATES: Final = 20_000
"""States that are remembered, so that none is counted twice."""

_ENGINES: Final = frozenset({"reader", "browser-use", "backend"})


class MirrorMetrics:
    """The metrics of one mirror.

    Attributes:
        registry: Holds them.
        worst: Longest lag (s) since it was last taken, None where no row was written.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.worst: float | None = None
        self._began = datetime.now(UTC)
        self._states: OrderedDict[UUID, None] = OrderedDict()
        self._lag = Histogram(
            "vibesurf_mirror_lag_seconds",
            "Seconds from a state change in Prefect to its row, of rows the mirror wrote.",
            buckets=QUICK,
            registry=self.registry,
        )
        self._repaired = Counter(
            "vibesurf_mirror_repaired_rows",
            "Rows that the reconciler corrected and no event had told of.",
            registry=self.registry,
        )
        self._failures = Counter(
            "vibesurf_mirror_failures",
            "Reads or writes of the mirror that failed and are tried again.",
            ["what"],
            registry=self.registry,
        )
        self._reconciled = Gauge(
            "vibesurf_mirror_reconciled_timestamp_seconds",
            "When all rows were last compared with Prefect (Unix time).",
            registry=self.registry,
        )
        self._backlog = Gauge(
            "vibesurf_mirror_backlog_runs",
            "Runs that changed and whose rows are still to be written.",
            registry=self.registry,
        )
        self._ended = Counter(
            "vibesurf_tasks_ended",
            "Tasks that ended, by status.",
            ["status"],
            registry=self.registry,
        )
        for status in (one for one in Status if one.terminal):
            self._ended.labels(status.value)  # shown as 0 from the beginning
        self._steps = Histogram(
            "vibesurf_step_seconds",
            "Seconds one step of an agent took, by engine and outcome: ok, failed.",
            ["engine", "outcome"],
            buckets=SLOW,
            registry=self.registry,
        )

    def wrote(self, runs: Sequence[FlowRun], changed: Collection[str]) -> None:
        """Take note of rows that were written.

        Args:
            runs: The runs as they were read.
            changed: Ids of those whose row changed by it.
        """
        now = datetime.now(UTC)
        for run in runs:
            state = run.state
            if state is None or state.id in self._states:
                continue
            self._states[state.id] = None
            if len(self._states) > _KNOWN_STATES:
                self._states.popitem(last=False)
            # What happened while no mirror ran says nothing of how quick this one is.
            fresh = state.timestamp >= self._began
            if state.is_final() and (fresh or str(run.id) in changed):
                self._ended.labels(status_of(state).value).inc()
            if fresh and str(run.id) in changed:
                lag = max(0.0, (now - state.timestamp).total_seconds())
                self._lag.observe(lag)
                self.worst = max(lag, self.worst or 0.0)

    def backlog_is(self, read: Callable[[], int]) -> None:
        """Show how many runs have rows that are still to be written, whenever somebody asks."""
        self._backlog.set_function(read)

    def reconciled(self, repaired: int) -> None:
        """Take note of a comparison of all rows; `repaired` were wrong in the one before it."""
        self._repaired.inc(repaired)
        self._reconciled.set_to_current_time()

    def failed(self, what: str) -> None:
        """Take note of a failure of `write` or `reconcile`."""
        self._failures.labels(what).inc()

    def step(self, told: Mapping[str, object]) -> None:
        """Take note of the event of a step; one without its seconds is of an older version."""
        seconds, engine = told.get("seconds"), told.get("engine")
        if isinstance(seconds, int | float) and seconds >= 0:
            known = str(engine) if engine in _ENGINES else "other"
            self._steps.labels(known, "ok" if told.get("ok") is True else "failed").observe(seconds)

    def take_worst(self) -> float | None:
        """The longest lag (s) since this was last asked, None where no row was written."""
        worst, self.worst = self.worst, None
        return worst
