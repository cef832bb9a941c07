"""Keeps the fleet within its slots: looks before a claim, and again after it.

A claim is the run's Pending state. Prefect's pool limit counts pending and running runs only, and
not in one transaction with the claim; so two workers may claim at once, and paused or stopping
runs are not counted. Therefore a claimed run starts only when its worker, reading *after* its
claim, sees fewer other holders than there are slots. Of two that claimed at once at least one sees
the other, so never both start; of those that see each other, the one that was asked for later is
handed back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType, WorkPool

from vibesurf_blocks.prefect_api.runs import slot_holders

logger = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 0.1
_GIVE_UP_SECONDS = 5.0


class Slots:
    """The slots of one pool, as one worker sees them."""

    def __init__(self, client: PrefectClient, pool: str, default: int) -> None:
        """Count by the pool's concurrency limit, or `default` where the pool has none."""
        self._client = client
        self._pool = pool
        self._default = default

    def limit(self, work_pool: WorkPool) -> int:
        """How many runs may hold a slot at once."""
        limit = work_pool.concurrency_limit
        return self._default if limit is None else limit

    async def free(self, work_pool: WorkPool, taking: Set[UUID] = frozenset()) -> int:
        """How many slots are free now, less those for runs that are just being claimed."""
        holders = {run.id for run in await slot_holders(self._client, self._pool)}
        return self.limit(work_pool) - len(holders | taking)

    async def confirm(self, run_id: UUID, work_pool: WorkPool) -> bool:
        """Whether a run claimed here may start; where not, hand it back.

        Waits for earlier claims to start or to be handed back, and gives up after five seconds.
        """
        deadline = asyncio.get_running_loop().time() + _GIVE_UP_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            holders = await slot_holders(self._client, self._pool)
            others = [run for run in holders if run.id != run_id]
            limit = self.limit(work_pool)
            if len(others) < limit:
                return True
            ranks = [run.id for run in holders]
            if run_id not in ranks or ranks.index(run_id) >= limit:
                return False
            if all(run.state and run.state.type is not StateType.PENDING for run in others):
                return False
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        logger.warning(
            "Other claims on pool %s did not settle; handing back %s.", self._pool, run_id
        )
        return False
