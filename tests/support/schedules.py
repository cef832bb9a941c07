"""Short words for what tests do with schedules and the deployments they belong to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
from prefect.client.schemas.schedules import IntervalSchedule

Json = dict[str, Any]


def unique(name: str) -> str:
    """A deployment name that no other test has."""
    return f"{name}-{uuid4().hex[:8]}"


def task(description: str = "Say hello") -> Json:
    """A task for a schedule's body."""
    return {
        "session_id": "scheduled",
        "task_description": description,
        "llm_profile_name": "builtin",
    }


async def create(api: httpx.AsyncClient, flow_id: str, **more: object) -> Json:
    """Create a schedule of a saved task that is to be accepted; the answer."""
    body = {"flow_id": flow_id, "cron_expression": "00 08 * * *", "task": task(), **more}
    answer = await api.post("/schedule", json=body)
    assert answer.status_code == httpx.codes.OK, answer.text
    made: Json = answer.json()
    return made


async def copy_agent(
    client: PrefectClient, name: str, description: str = "Say hello", **more: Any
) -> UUID:
    """Make a deployment of the agent with a saved task, as `prefect deploy` would."""
    agent = await client.read_deployment_by_name("agent-run/agent")
    values: Json = {"work_pool_name": agent.work_pool_name, "tags": [], **more}
    return await client.create_deployment(
        flow_id=agent.flow_id,
        name=name,
        parameters={"session_id": "scheduled", "task_description": description},
        entrypoint=agent.entrypoint,
        parameter_openapi_schema=agent.parameter_openapi_schema,
        **values,
    )


async def fire_every(
    client: PrefectClient,
    deployment: UUID,
    seconds: float,
    first: datetime,
    slug: str | None = None,
) -> DeploymentSchedule:
    """Give a deployment an interval schedule whose first occurrence from now on is `first`."""
    interval = IntervalSchedule(
        interval=timedelta(seconds=seconds), anchor_date=first, timezone="UTC"
    )
    wanted = DeploymentScheduleCreate(schedule=interval, active=True, slug=slug)
    return (await client.create_deployment_schedules(deployment, [wanted]))[0]


async def due_runs(client: PrefectClient, deployment: UUID) -> list[FlowRun]:
    """The runs of a deployment that were due by now, oldest first."""
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        )
    )
    return sorted(runs, key=lambda run: str(run.expected_start_time))
