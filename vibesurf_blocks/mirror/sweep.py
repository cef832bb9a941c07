"""Keeps track of all deployments, however many there are, with a bounded effort at each look.

A few are read whole. Of many, each look reads those that changed last – deploys, pauses and what
else touches a deployment itself – and goes on a little through all of them, in rounds: an edit of a
schedule alone leaves no trace that could be asked for. Prefect's server works for 8 ms for each
deployment that it is asked for.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prefect.client.schemas.sorting import DeploymentSort

from vibesurf_blocks.prefect_api.deployments import PAGE, page, read

if TYPE_CHECKING:
    from collections.abc import Set
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

_FIRST_SECONDS: Final = 10.0
"""A look begins no further page after this in the first round, before which nothing can be told."""

_CHANGED_SECONDS: Final = 0.5
"""The same of those that changed last, of which there may be very many after a deploy."""

_NEWEST: Final = 3
"""Deployments read at first, of many, to see which changed last."""

_DROPPED: Final = dict.fromkeys(("parameter_openapi_schema", "pull_steps"))
"""Of a deployment, what says nothing of its schedules: nine tenths of the memory it takes."""

_PART: Final = 7
"""Deployments read at each look in rounds after the first: others wait for the server meanwhile."""


class Sweep:
    """All deployments as they were read last.

    Attributes:
        known: The deployments by their ids.
        rounds: How often all of them were read.
        whole: Whether the last look read all of them.
    """

    def __init__(self, client: PrefectClient, page_size: int = PAGE) -> None:
        """Read `page_size` deployments at once, `PAGE` at the most."""
        self._client = client
        self._size = page_size
        self.known: dict[UUID, DeploymentResponse] = {}
        self.rounds = 0
        self.whole = False
        self._offset = 0
        self._met: set[UUID] = set()

    async def look(self) -> list[DeploymentResponse]:
        """Read what changed last, and a part of the rest; what was read or found gone.

        Returns:
            The deployments read, and those that are gone, without schedules.
        """
        begun = time.monotonic()
        if len(self.known) < self._size:
            newest = await self._newest(0, self._size)
            read_now = {one.id: one for one in newest}
            self.whole = len(newest) < self._size
            if self.whole:
                self._met, self._offset = set(), 0
                return self._finish(read_now, read_now)
        else:
            read_now, self.whole = await self._changed(begun), False
        self.known |= read_now
        part = min(self._size, _PART) if self.rounds else self._size
        while True:
            of_part = await page(self._client, self._offset, limit=part)
            found = {one.id: _kept(one) for one in of_part}
            # Kept at once: whoever is interrupted goes on after it.
            self._offset += part
            self._met |= found.keys()
            self.known |= found
            read_now |= found
            if len(found) < part:
                return await self._round(read_now)
            if self.rounds or time.monotonic() - begun > _FIRST_SECONDS:
                return list(read_now.values())

    async def _newest(self, offset: int, limit: int) -> list[DeploymentResponse]:
        newest = await page(self._client, offset, limit=limit, sort=DeploymentSort.UPDATED_DESC)
        return [_kept(one) for one in newest]

    async def _changed(self, begun: float) -> dict[UUID, DeploymentResponse]:
        """Those that changed last, up to one that has not changed since it was read."""
        found: dict[UUID, DeploymentResponse] = {}
        limit = min(self._size, _NEWEST)
        while True:
            newest = await self._newest(len(found), limit)
            known = [self.known.get(one.id) for one in newest]
            met = any(
                old is not None and old.updated == one.updated
                for old, one in zip(known, newest, strict=True)
            )
            found |= {one.id: one for one in newest}
            if met or len(newest) < limit or time.monotonic() - begun > _CHANGED_SECONDS:
                return found
            limit = min(2 * limit, self._size)

    async def again(self, ids: Set[UUID]) -> list[DeploymentResponse]:
        """Read some of them anew; those that are still there."""
        found: list[DeploymentResponse] = []
        wanted = list(ids)
        for start in range(0, len(wanted), PAGE):
            there = await read(self._client, wanted[start : start + PAGE])
            found += [_kept(one) for one in there]
        return found

    async def _round(self, read_now: dict[UUID, DeploymentResponse]) -> list[DeploymentResponse]:
        """End a round: what it did not meet is gone, or has moved between two pages."""
        unmet = self.known.keys() - self._met
        there = {one.id: one for one in await self.again(unmet)}
        self._met, self._offset = set(), 0
        left = {key: one for key, one in self.known.items() if key not in unmet}
        return self._finish(left | there, read_now | there)

    def _finish(
        self,
        there: dict[UUID, DeploymentResponse],
        read_now: dict[UUID, DeploymentResponse],
    ) -> list[DeploymentResponse]:
        before, self.known = self.known, dict(there)
        self.rounds += 1
        gone = [before[key] for key in before.keys() - there.keys()]
        found = [one for key, one in read_now.items() if key in there]
        return found + [one.model_copy(update={"schedules": []}) for one in gone]


def _kept(deployment: DeploymentResponse) -> DeploymentResponse:
    """A deployment as it is kept: there may be ten thousand of them."""
    return deployment.model_copy(update=_DROPPED | {"parameters": {}, "job_variables": {}})
