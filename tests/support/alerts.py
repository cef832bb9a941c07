"""A receiver of alerts that fails twice for each, and the blocks that name it."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import BlockDocumentCreate

from tests.support.eventually import eventually
from tests.support.site import Site, Visit
from vibesurf_blocks.alerts.signature import verify

SECRET = "a text that signs"
TOLD_SECONDS = 60.0


class Receiver:
    """Takes alerts, after it has failed twice for each."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.tries: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, visit: Visit) -> None:
        received = {name.lower(): value for name, value in visit.headers.items()}
        with self._lock:
            message_id = received["webhook-id"]
            self.tries[message_id] = self.tries.get(message_id, 0) + 1
            if self.tries[message_id] > 2:
                assert verify(SECRET, received, visit.body)
                self.taken.append(json.loads(visit.body))
        visit.answer(b"", status=500 if self.tries[message_id] <= 2 else 204)

    async def told(self, run_id: str) -> dict[str, Any]:
        """The alert about a run, once it is there."""

        async def there() -> dict[str, Any] | None:
            found = [one for one in self.taken if one["data"]["run_id"] == run_id]
            return found[0] if found else None

        found = await eventually(there, timeout=TOLD_SECONDS)
        assert found is not None
        return found


@pytest.fixture
def receiver(site: Site) -> Receiver:
    """A receiver at `/hook` of the site."""
    made = Receiver()
    site.pages["/hook"] = made
    return made


@asynccontextmanager
async def block_of(prefect: PrefectClient, kind: str, **data: Any) -> AsyncIterator[str]:
    """A block of this type, as `type/name`, while the code runs."""
    block_type = await prefect.read_block_type_by_slug(kind)
    schema = await prefect.get_most_recent_block_schema_for_block_type(block_type.id)
    assert schema is not None
    document = await prefect.create_block_document(
        BlockDocumentCreate(
            name="told", block_type_id=block_type.id, block_schema_id=schema.id, data=data
        )
    )
    yield f"{kind}/told"
    await prefect.delete_block_document(document.id)


@pytest.fixture
async def block(prefect: PrefectClient, site: Site, receiver: Receiver) -> AsyncIterator[str]:
    """Name of a block for the receiver."""
    data = {"url": site.url("/hook"), "secret": SECRET, "backoff_seconds": 0.1}
    async with block_of(prefect, "vibesurf-webhook", **data) as slug:
        yield slug.partition("/")[2]
