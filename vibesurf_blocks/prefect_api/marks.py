"""Marks on a flow run: what is to be done once for it is done by whoever sets the mark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid5

import httpx

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

_MARK: Final = "vibesurf-mark-"


async def mark(client: PrefectClient, run_id: UUID, what: str) -> bool:
    """Set a mark on a run; whether it was not there before, whatever process set it."""
    # Prefect takes letters, digits and dashes alone in a key.
    try:
        await client.create_flow_run_input(run_id, f"{_MARK}{uuid5(run_id, what)}", "true")
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.CONFLICT:
            raise
        return False
    return True
