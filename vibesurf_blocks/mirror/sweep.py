"""Keeps track of all deployments, however many there are, with a bounded effort at each look.

A few are read whole. Of many, every second look reads those that changed last – deploys, pauses and
what else touches a deployment itself – and the others some more, by their ids, in rounds: an edit
of a schedule alone leaves no trace that could be asked for. Prefect's server works for 1 ms for
each deployment that it is asked for, and sorts all of them where they are asked for by their names.
"""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Final

from prefect.client.schemas.sorting import DeploymentSort

from vibesurf_blocks.prefect_api.deployments import PAGE, page, read

if TYPE_CHECKING:
    from collections.abc import Set
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

    Found = dict[UUID, DeploymentResponse]

_FIRST_SECONDS: Final = 10.0
"""A look begins no further page after this in the first round, before which nothing can be told."""

_CHANGED_SECONDS: Final = 0.5
"""The same of those that changed last, of which there may be very many; the next look goes on."""

_NEWEST: Final = 4
"""Deployments read at first, of many, to see which changed last."""

_PART: Final = 12
"""Deployments read at each look in rounds after the first: others wait for the server meanwhile."""

_LATE_SECONDS: Final = 10.0
"""A change may be seen so much later than one that was made after it: the times that a server gives
are not in the order of its commits."""

_DROPPED: Final = dict.fromkeys(("parameter_openapi_schema", "pull_steps"))
"""Of a deployment, what says nothing of its schedules: nine tenths of the memory it takes."""


class Sweep:
    """All deployments as they were read last.

    Attributes:
        known: The deployments by their ids.
        rounds: How often all of them were read.
        whole: Whether the last look read all of them.
        current: Whether it read all that changed before it, edits of a schedule alone left out.
    """

    def __init__(self, client: PrefectClient, page_size: int = PAGE) -> None:
        """Read `page_size` deployments at once, `PAGE` at the most."""
        self._client = client
        self._size = page_size
        self.known: Found = {}
        self.rounds = 0
        self.whole = False
        self.current = False
        self._listed: set[UUID] | None = set()
        self._offset = 0
        self._left: list[UUID] = []
        self._tops: deque[tuple[float, datetime | None]] = deque()
        self._top: tuple[float, datetime | None] = 0.0, None
        self._behind = 0
        self._asks_changed = True

    async def look(self) -> list[DeploymentResponse]:
        """Read them all, or by turns what changed last and a part of the rest.

        Returns:
            The deployments read, and those that are gone, without schedules.
        """
        read_now: Found = {}
        self.current = False
        if len(self.known) < self._size:
            newest = await self._newest(0, self._size)
            self.whole = self.current = len(newest) < self._size
            if self.whole:
                gone = self._gone(self.known.keys() - newest.keys())
                self.known, self.rounds = newest, self.rounds + 1
                self._listed, self._offset = set(), 0
                return [*newest.values(), *gone.values()]
            # There are more than it knew of: from here on they are read in parts.
            top = next(iter(newest.values())).updated
            self._tops, self._behind = deque([(time.monotonic(), top)]), 0
            self._listed = set() if self._listed is None else self._listed
            read_now |= newest
            self.known |= newest
        elif self.rounds:
            self.whole = False
            self._asks_changed = not self._asks_changed
            if self._asks_changed:
                return list((await self._changed()).values())
        # Kept at once, each part: whoever is interrupted goes on after it.
        read_now |= await (self._some() if self._listed is None else self._list(self._listed))
        return list(read_now.values())

    async def _newest(self, offset: int, limit: int) -> Found:
        """So many after so many, by when they changed, the last ones first."""
        found = await page(self._client, offset, limit=limit, sort=DeploymentSort.UPDATED_DESC)
        return {one.id: _kept(one) for one in found}

    async def _changed(self) -> Found:
        """Those that changed since this was asked last, or a part of them where it takes long."""
        begun = time.monotonic()
        found: Found = {}
        limit = min(self._size, _NEWEST)
        while True:
            newest = await self._newest(self._behind, limit)
            if not self._behind:
                self._top = begun, next((one.updated for one in newest.values()), None)
            met = len(newest) < limit or any(self._is_old(one) for one in newest.values())
            self.known |= newest
            found |= newest
            if met:
                self._behind, self.current = 0, True
                self._tops.append(self._top)
                while len(self._tops) > 1 and self._tops[1][0] <= begun - _LATE_SECONDS:
                    self._tops.popleft()
                return found
            # What changes meanwhile comes before these, so none of the others is passed over.
            self._behind += limit
            if time.monotonic() - begun > _CHANGED_SECONDS:
                return found
            limit = min(2 * limit, self._size)

    def _is_old(self, one: DeploymentResponse) -> bool:
        """Whether all that changed before this one was read, what was committed late included."""
        _, settled = self._tops[0]
        known = self.known.get(one.id)
        if settled is None or one.updated is None or known is None:
            return False
        return known.updated == one.updated <= settled

    async def _list(self, listed: set[UUID]) -> Found:
        """Go on through all that there are, known or not; at the end a round is made."""
        begun = time.monotonic()
        part = min(self._size, _PART) if self.rounds else self._size
        read_now: Found = {}
        while True:
            of_part = await page(self._client, self._offset, limit=part)
            found = {one.id: _kept(one) for one in of_part}
            self._offset += part
            listed.update(found)
            self.known |= found
            read_now |= found
            if len(found) < part:
                break
            if self.rounds or time.monotonic() - begun > _FIRST_SECONDS:
                return read_now
        # What was not met is gone, or has moved between two pages.
        unmet = self.known.keys() - listed
        there = {one.id: one for one in await self.again(unmet)}
        self._listed, self._offset, self._left = None, 0, []
        self.known |= there
        read_now |= there | self._gone(unmet - there.keys())
        await self._end_round()
        return read_now

    async def _some(self) -> Found:
        """Read the next of those that are known; after the last a round is made."""
        if not self._left:
            self._left = list(self.known)
        part = min(self._size, _PART)
        ids = set(self._left[-part:])
        found = {one.id: one for one in await self.again(ids)}
        del self._left[-part:]
        self.known |= found
        read_now = found | self._gone((ids - found.keys()) & self.known.keys())
        if not self._left:
            await self._end_round()
        return read_now

    async def _end_round(self) -> None:
        self.rounds += 1
        if await page(self._client, len(self.known), limit=1):
            self._listed = set()  # there are some that nobody saw come

    def _gone(self, ids: Set[UUID]) -> Found:
        """Forget some of them; what they were, without schedules."""
        return {one: self.known.pop(one).model_copy(update={"schedules": []}) for one in ids}

    async def again(self, ids: Set[UUID]) -> list[DeploymentResponse]:
        """Read some of them anew; those that are still there."""
        found: list[DeploymentResponse] = []
        wanted = list(ids)
        for start in range(0, len(wanted), PAGE):
            there = await read(self._client, wanted[start : start + PAGE])
            found += [_kept(one) for one in there]
        return found


def _kept(deployment: DeploymentResponse) -> DeploymentResponse:
    """A deployment as it is kept: there may be ten thousand of them."""
    return deployment.model_copy(update=_DROPPED | {"parameters": {}, "job_variables": {}})
