"""A flow_id that names no deployment triggers a flow of the configured VibeSurf backend."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import BlockDocumentCreate

from tests.support.schedules import unique
from tests.support.site import Site, Visit
from tests.support.tasks import ends


@pytest.fixture
async def backend(prefect: PrefectClient, site: Site) -> AsyncIterator[Site]:
    """A backend that the block named `default` is about."""
    kind = await prefect.read_block_type_by_slug("vibesurf-backend")
    schema = await prefect.get_most_recent_block_schema_for_block_type(kind.id)
    assert schema is not None
    document = await prefect.create_block_document(
        BlockDocumentCreate(
            name="default",
            block_type_id=kind.id,
            block_schema_id=schema.id,
            data={"base_url": site.url("/"), "api_key": "sesame"},
        )
    )
    yield site
    await prefect.delete_block_document(document.id)


async def test_without_a_backend_there_is_no_such_flow(api: httpx.AsyncClient) -> None:
    body = {"flow_id": unique("flow"), "cron_expression": "@daily"}
    assert (await api.post("/schedule", json=body)).status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize("works", [True, False])
async def test_a_scheduled_flow_of_the_backend(
    api: httpx.AsyncClient, prefect: PrefectClient, backend: Site, works: bool
) -> None:
    flow = unique("3f2b0d6e-flow")
    asked: list[str | None] = []

    def page(visit: Visit) -> None:
        asked.append(visit.headers["x-api-key"])
        if works:
            visit.answer(json.dumps({"job_id": "j-1"}).encode(), "application/json")
        else:
            visit.answer(b"<html>Sign in</html>")

    backend.pages[f"/api/v1/build/{flow}/flow"] = page
    body = {"flow_id": flow, "cron_expression": "0 3 * * *", "description": "Nightly"}
    made = await api.post("/schedule", json=body)
    assert made.status_code == httpx.codes.OK, made.text
    assert made.json()["flow_id"] == flow
    deployment = await prefect.read_deployment_by_name(f"backend-flow/{flow}")
    run = await prefect.create_flow_run_from_deployment(deployment.id)
    row = await ends(api, str(run.id))
    assert asked == ["sesame"]
    if works:
        assert row["status"] == "completed"
        assert '"job_id": "j-1"' in row["task_result"]
    else:
        assert row["status"] == "failed"
        assert "instead of its API's JSON" in row["error_message"]
    assert "sesame" not in json.dumps(row)
    await api.delete(f"/schedule/{flow}")
