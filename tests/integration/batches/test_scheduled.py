"""Batches and workflows on a schedule: by REST as any deployment, and run when they fall due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from tests.support.batches import children, finishes
from tests.support.eventually import eventually
from tests.support.schedules import due_runs, fire_every, unique
from tests.support.site import Site


@pytest.mark.slow
async def test_a_scheduled_batch_runs_its_tasks_and_counts_as_one_occurrence(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    batch = await prefect.read_deployment_by_name("batch/batch")
    name = unique("nightly")
    deployment = await prefect.create_deployment(
        flow_id=batch.flow_id,
        name=name,
        parameters={
            "session_id": "nightly",
            "items": [f"Read {site.html(path, '<p>News of today.</p>')}" for path in ("/a", "/b")],
        },
        entrypoint=batch.entrypoint,
        parameter_openapi_schema=batch.parameter_openapi_schema,
        work_pool_name=batch.work_pool_name,
        job_variables=batch.job_variables,
    )
    path = f"/schedule/batch/{name}"
    daily = {"flow_id": f"batch/{name}", "cron_expression": "00 08 * * *"}
    assert (await api.post("/schedule", json=daily)).status_code == httpx.codes.OK
    assert (await api.delete(path)).status_code == httpx.codes.OK

    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    await fire_every(prefect, deployment, 3_600, soon)

    async def fired() -> FlowRun | None:
        runs = await due_runs(prefect, deployment)
        return runs[0] if runs else None

    run = await eventually(fired, timeout=30)
    assert run is not None
    ended = await finishes(prefect, run)
    assert ended.state is not None
    assert ended.state.is_completed(), ended.state.message
    assert await children(prefect, run) == [
        ("1", StateType.COMPLETED),
        ("2", StateType.COMPLETED),
    ]

    async def counted() -> bool:
        answer = await api.get(path)
        return answer.is_success and answer.json()["execution_count"] == 1

    await eventually(counted, timeout=20)
    await prefect.delete_deployment(deployment)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_workflow_that_is_scheduled_by_rest_fires(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    workflow = await prefect.read_deployment_by_name("workflow/workflow")
    name = unique("every-minute")
    pages = [site.html(path, "<p>News of this minute.</p>") for path in ("/a", "/b")]
    steps = [
        {"name": "a", "task": f"Read {pages[0]}"},
        {"name": "b", "task": f"Read {pages[1]}", "needs": ["a"]},
    ]
    deployment = await prefect.create_deployment(
        flow_id=workflow.flow_id,
        name=name,
        parameters={"session_id": "minutely", "definition": {"steps": steps}},
        entrypoint=workflow.entrypoint,
        parameter_openapi_schema=workflow.parameter_openapi_schema,
        work_pool_name=workflow.work_pool_name,
        job_variables=workflow.job_variables,
    )
    asked = {"flow_id": f"workflow/{name}", "cron_expression": "* * * * *"}
    path = f"/schedule/workflow/{name}"
    try:
        answer = await api.post("/schedule", json=asked)
        assert answer.status_code == httpx.codes.OK, answer.text

        async def fired() -> FlowRun | None:
            runs = await due_runs(prefect, deployment)
            return runs[0] if runs else None

        run = await eventually(fired, timeout=90)
        assert run is not None
        ended = await finishes(prefect, run)
        assert ended.state is not None
        assert ended.state.message == "2 of 2 steps completed."
        assert await children(prefect, run) == [
            ("a", StateType.COMPLETED),
            ("b", StateType.COMPLETED),
        ]

        async def counted() -> bool:
            return bool((await api.get(path)).json()["execution_count"] >= 1)

        await eventually(counted, timeout=20)
    finally:
        await api.delete(path)
        await prefect.delete_deployment(deployment)
