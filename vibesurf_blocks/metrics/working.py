"""What a worker counts: its slots, what it runs, how long runs waited for it, recoveries."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from vibesurf_blocks.metrics.names import SLOW


class WorkerMetrics:
    """The metrics of one worker process, for each pool it serves.

    Attributes:
        registry: Holds them.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._slots = Gauge(
            "vibesurf_worker_slots",
            "Runs that may hold a slot of the pool at once, whoever works for it.",
            ["pool"],
            registry=self.registry,
        )
        self._running = Gauge(
            "vibesurf_worker_running",
            "Processes of runs that this worker has now.",
            ["pool"],
            registry=self.registry,
        )
        self._waited = Histogram(
            "vibesurf_worker_wait_seconds",
            "Seconds from the time a run was due to the start of its process, waits included.",
            ["pool"],
            buckets=SLOW,
            registry=self.registry,
        )
        self._recoveries = Counter(
            "vibesurf_worker_recoveries",
            "Runs whose process was gone, by what became of them: started-again, stopped, failed.",
            ["pool", "outcome"],
            registry=self.registry,
        )

    def serves(self, pool: str, running: Callable[[], int]) -> None:
        """Show how many processes the worker of a pool has, whenever somebody asks."""
        self._running.labels(pool).set_function(running)

    def slots(self, pool: str, number: int) -> None:
        """Take note of a pool's slots."""
        self._slots.labels(pool).set(number)

    def started(self, pool: str, waited: float) -> None:
        """Take note of a run that was started, `waited` seconds after it was due."""
        self._waited.labels(pool).observe(max(0.0, waited))

    def recovered(self, pool: str, outcome: str) -> None:
        """Take note of what became of a run whose process was gone."""
        self._recoveries.labels(pool, outcome).inc()
