"""Of ten thousand deployments only what says something of their schedules is kept."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from uuid import uuid4

from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema

from flows.agent_run import agent_run
from vibesurf_blocks.mirror.book import records_of
from vibesurf_blocks.mirror.sweep import _kept

NOW = datetime(2026, 3, 4, tzinfo=UTC)


def deployment() -> DeploymentResponse:
    """One of the agent, as Prefect tells of it."""
    own = uuid4()
    return DeploymentResponse(
        id=own,
        created=NOW,
        updated=NOW,
        name="each-morning",
        flow_id=uuid4(),
        labels={},
        description="Reads the news",
        parameters={"task": "Read " + 1_000 * "x"},
        parameter_openapi_schema=parameter_schema(agent_run.fn).model_dump(),
        schedules=[
            DeploymentSchedule(
                id=uuid4(),
                created=NOW,
                updated=NOW,
                deployment_id=own,
                schedule=CronSchedule(cron="0 7 * * *", timezone="Europe/Berlin"),
            )
        ],
    )


def test_it_says_the_same_of_its_schedules_and_is_small() -> None:
    whole = deployment()
    kept = _kept(whole)
    assert records_of(kept, "agent-run", {}, NOW) == records_of(whole, "agent-run", {}, NOW)
    assert len(pickle.dumps(kept)) * 2 < len(pickle.dumps(whole))
