"""The three work queues of the pool, one for each priority, which Prefect serves in their order.

A worker is given the runs of the queue with the best priority first, and within a queue those that
were asked for first. An operator may pause a queue, limit it or move it, in Prefect's UI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prefect.exceptions import ObjectAlreadyExists

from vibesurf_blocks.tasks import Priority

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

QUEUES: Final = {Priority.HIGH: "high", Priority.NORMAL: "default", Priority.LOW: "low"}
"""The queue of each priority; `default` is Prefect's own, which every pool has."""

_RANKS: Final = {name: rank for rank, name in enumerate(QUEUES.values())}
_OF_QUEUE: Final = {name: priority for priority, name in QUEUES.items()}


def priority_of(queue: str | None) -> Priority:
    """The priority of runs in a queue; normal in those that others made."""
    return _OF_QUEUE.get(queue or "", Priority.NORMAL)


def rank_of(queue: str | None) -> int:
    """The place of a queue among the three, 0 for the first."""
    return _RANKS[QUEUES[priority_of(queue)]]


async def ensure(client: PrefectClient, pool: str) -> None:
    """Make those of the queues that are missing, `high` before all others and `low` behind them."""
    there = {one.name: one.priority or 0 for one in await client.read_work_queues(pool)}
    last = max(there.values(), default=0) + 1
    for name, place in (("high", 1), ("low", last + ("high" not in there))):
        if name in there:
            continue
        try:
            await client.create_work_queue(
                name,
                description=f"Runs of {name} priority.",
                priority=place,
                work_pool_name=pool,
            )
        except ObjectAlreadyExists:
            continue  # somebody else was quicker
