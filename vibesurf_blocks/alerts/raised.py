"""Raises alerts: each is a flow run of its own, made once whoever notices, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from prefect.exceptions import ObjectNotFound

from vibesurf_blocks.errors import Unavailable
from vibesurf_blocks.tasks import ALERT_DEPLOYMENT, ALERT_FLOW

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from vibesurf_blocks.alerts.message import Subject
    from vibesurf_blocks.alerts.rules import Alerts

_PATH: Final = f"{ALERT_FLOW}/{ALERT_DEPLOYMENT}"


async def raise_alert(client: PrefectClient, key: str, subject: Subject, rules: Alerts) -> UUID:
    """Have people told; the id of the flow run that does it.

    Args:
        client: Prefect.
        key: The same for the same occasion: it is told of once.
        subject: What happened.
        rules: Whom to tell.

    Raises:
        Unavailable: The deployment that tells them is missing.
    """
    try:
        deployment = await client.read_deployment_by_name(_PATH)
    except ObjectNotFound as error:
        msg = (
            f"The deployment {_PATH!r} is not on the Prefect server. Start `vibesurf-blocks up` "
            "once against it, or run `prefect deploy --all`."
        )
        raise Unavailable(msg) from error
    run = await client.create_flow_run_from_deployment(
        deployment.id,
        parameters={
            "subject": subject.model_dump(mode="json"),
            "webhook": rules.webhook,
            "blocks": list(rules.blocks),
        },
        name=f"{subject.kind} {subject.occasion}: {subject.name}"[:200],
        idempotency_key=f"alert-{key}",
    )
    return run.id
