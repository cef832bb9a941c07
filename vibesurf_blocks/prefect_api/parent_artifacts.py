"""What a batch or a workflow shows on Prefect: one table that fills in, and a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

TABLE_KEY: Final = "vibesurf-table"
SUMMARY_KEY: Final = "vibesurf-summary"


async def put_table(client: PrefectClient, run_id: UUID, data: str) -> UUID:
    """Show a table (JSON, a list of rows) as the run's; returns the artifact's id."""
    return await _put(
        client, run_id, TABLE_KEY, "table", "The parts of this run; it fills in as they end.", data
    )


async def put_summary(client: PrefectClient, run_id: UUID, markdown: str) -> UUID:
    """Show what came of the run; returns the artifact's id."""
    return await _put(client, run_id, SUMMARY_KEY, "markdown", "What came of this run.", markdown)


async def update(client: PrefectClient, artifact_id: UUID, data: str) -> None:
    """Replace what an artifact shows."""
    await client.update_artifact(artifact_id, ArtifactUpdate(data=data))


async def _put(
    client: PrefectClient, run_id: UUID, key: str, kind: str, description: str, data: str
) -> UUID:
    """Replace the run's artifact of this key, or make it: there is one, however often it runs."""
    found = await client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), key=ArtifactFilterKey(any_=[key])
        ),
        limit=1,
    )
    if found:
        await update(client, found[0].id, data)
        return found[0].id
    made = await client.create_artifact(
        ArtifactCreate(key=key, type=kind, description=description, flow_run_id=run_id, data=data)
    )
    return made.id
