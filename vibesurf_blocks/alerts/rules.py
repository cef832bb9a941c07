"""What people are told of, and where: a parameter of a run, or the default by settings."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from vibesurf_blocks.settings import Settings


class Occasion(StrEnum):
    """What may be told of a task, a batch or a workflow."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    """An occurrence of a schedule that a policy did not let run."""
    WAITING = "waiting"
    """It is due and has waited for its slot for too long."""
    STEP_FAILED = "step-failed"
    """A step of a workflow failed whose definition asks for an alert."""


class Alerts(BaseModel):
    """Who is told of what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: Annotated[
        tuple[Occasion, ...],
        Field(description="The occasions; none at all switches the default off."),
    ] = (Occasion.FAILED, Occasion.STEP_FAILED)
    webhook: Annotated[
        str | None,
        Field(min_length=1, max_length=200, description="Name of a VibeSurf Webhook block."),
    ] = None
    blocks: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+/[^/]+$", max_length=300)], ...],
        Field(
            max_length=20,
            description="Prefect notification blocks as `type/name`, such as `slack-webhook/ops`.",
        ),
    ] = ()
    wait_seconds: Annotated[
        float, Field(gt=0, description="Seconds of waiting for a slot that are too long.")
    ] = 300.0

    @property
    def anywhere(self) -> bool:
        """Whether there is anybody to tell."""
        return self.webhook is not None or bool(self.blocks)


def default_alerts(settings: Settings) -> Alerts | None:
    """What the settings say for runs that say nothing, None where that is nothing.

    The notification blocks of the settings are told by Prefect's own automations.
    """
    if settings.alert_webhook is None:
        return None
    return Alerts(
        on=tuple(settings.alert_on),
        webhook=settings.alert_webhook,
        wait_seconds=settings.alert_wait_seconds,
    )
