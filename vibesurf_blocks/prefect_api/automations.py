"""Automations that Prefect's server carries out by itself, shown and editable in its UI."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from vibesurf_blocks.alerts.rules import Occasion

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger(__name__)

_EVENTS: Final = {
    Occasion.COMPLETED: ("prefect.flow-run.Completed",),
    Occasion.FAILED: (
        "prefect.flow-run.Failed",
        "prefect.flow-run.Crashed",
        "prefect.flow-run.TimedOut",
    ),
    Occasion.STOPPED: ("prefect.flow-run.Cancelled",),
    Occasion.SKIPPED: ("prefect.flow-run.Skipped",),
    # Prefect's own word for what is due and does not start; its settings say after how long.
    Occasion.WAITING: ("prefect.flow-run.Late",),
    Occasion.STEP_FAILED: ("vibesurf.workflow.step-failed",),
}
_SUBJECT: Final = "{{ flow_run.name }}: {{ event.event }}"
_BODY: Final = """\
Flow run {{ flow_run.name }} of {{ flow.name }}: {{ flow_run.state.name }}
{{ flow_run.state.message }}
{{ flow_run|ui_url }}
"""


def name_of(block: str) -> str:
    """The name of the automation that tells a block."""
    return f"vibesurf: tell {block}"


async def tell_blocks(
    client: PrefectClient, blocks: Sequence[str], on: Sequence[Occasion], pools: Sequence[str]
) -> None:
    """Have Prefect tell notification blocks of runs; an automation that is there is left as it is.

    Args:
        client: Prefect.
        blocks: The blocks, as `type/name`; one that is missing is told of in the log.
        on: What they are told of.
        pools: The work pools of the runs.
    """
    for block in blocks:
        if await client.read_automations_by_name(name_of(block)):
            continue
        kind, _, name = block.partition("/")
        try:
            document = await client.read_block_document_by_name(name, kind)
        except ObjectNotFound:
            logger.warning(
                "There is no notification block %r on the Prefect server: make it there, and start "
                "again to have it told.",
                block,
            )
            continue
        await client.create_automation(
            AutomationCore(
                name=name_of(block),
                description="Made by vibesurf-blocks from VIBESURF_ALERT_BLOCKS; yours to change.",
                trigger=EventTrigger(
                    expect={event for occasion in on for event in _EVENTS[occasion]},
                    match={"prefect.resource.id": "prefect.flow-run.*"},
                    match_related={
                        "prefect.resource.role": "work-pool",
                        "prefect.resource.name": list(pools),
                    },
                    for_each={"prefect.resource.id"},
                    posture=Posture.Reactive,
                    threshold=1,
                    within=timedelta(0),
                ),
                actions=[
                    SendNotification(block_document_id=document.id, subject=_SUBJECT, body=_BODY)
                ],
            )
        )
        logger.info("Made the automation %r.", name_of(block))
