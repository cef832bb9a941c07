"""Names of flows and deployments by id, asked for once: neither can be renamed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from prefect.exceptions import ObjectNotFound

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient


class NameBook:
    """Looks names up and remembers them."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._flows: dict[UUID, str] = {}
        self._deployments: dict[UUID, str] = {}

    async def flow(self, flow_id: UUID) -> str:
        """The flow's name."""
        if flow_id not in self._flows:
            self._flows[flow_id] = (await self._client.read_flow(flow_id)).name
        return self._flows[flow_id]

    async def deployment(self, deployment_id: UUID | None) -> str | None:
        """The deployment's name, None for a run without one or of a deleted one."""
        if deployment_id is None:
            return None
        if deployment_id not in self._deployments:
            try:
                found = await self._client.read_deployment(deployment_id)
            except ObjectNotFound:
                return None
            self._deployments[deployment_id] = found.name
        return self._deployments[deployment_id]
