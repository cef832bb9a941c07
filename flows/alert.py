"""An alert as a flow run: it outlives whoever raised it, and the UI shows what became of it."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from vibesurf_blocks.alerts.deliver import deliver
from vibesurf_blocks.alerts.message import Subject
from vibesurf_blocks.tasks import ALERT_FLOW


@flow(name=ALERT_FLOW, persist_result=False)
async def alert(
    subject: Subject, webhook: str | None = None, blocks: list[str] | None = None
) -> State[Any]:
    """Tell a webhook and notification blocks what happened, again where they fail."""
    return await deliver(subject, webhook, blocks or [])
