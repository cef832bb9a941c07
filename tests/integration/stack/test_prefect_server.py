"""The Prefect server on both databases: it serves, holds under load, ends, and comes back."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import prefect
import pytest
from prefect.events.clients import PrefectEventSubscriber
from prefect.events.filters import EventFilter

from tests.support.eventually import eventually, slowness
from tests.support.local_server import LocalServer
from tests.support.worker_load import make_target, worker_load

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_serves_the_api_and_the_ui(server: LocalServer, client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).json() is True
    assert (await client.get("/ready")).status_code == 200
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as browser:
        page = await browser.get("/", headers={"Accept": "text/html"}, follow_redirects=True)
        assert page.status_code == 200
        assert "<!DOCTYPE html>" in page.text
        settings = (await browser.get("/ui-settings")).json()
    assert settings["api_url"] == "/api"


async def test_runs_the_background_services(client: httpx.AsyncClient) -> None:
    """A schedule gets its runs, so the scheduler works, and soon after the edit."""
    target = await make_target(client)
    answer = await client.post(
        f"/deployments/{target.deployment_id}/schedules",
        json=[{"schedule": {"interval": 3600}, "active": True}],
    )
    answer.raise_for_status()
    wanted = {"deployments": {"id": {"any_": [target.deployment_id]}}}

    async def runs() -> int:
        return int((await client.post("/flow_runs/count", json=wanted)).json())

    assert await eventually(runs, timeout=15) >= 3


async def test_creates_under_a_workers_load_are_all_answered(
    server: LocalServer, client: httpx.AsyncClient
) -> None:
    target = await make_target(client)
    create = f"/deployments/{target.deployment_id}/create_flow_run"
    async with worker_load(server.api_url, target.pool):
        answers = await asyncio.gather(*[client.post(create, json={}) for _ in range(20)])
    assert Counter(answer.status_code for answer in answers) == {201: 20}
    assert len({answer.json()["id"] for answer in answers}) == 20


async def test_what_was_acknowledged_survives_sigkill_of_everything(
    server: LocalServer, client: httpx.AsyncClient
) -> None:
    target = await make_target(client)
    await server.kill()
    await server.start()
    answer = await client.get(f"/deployments/{target.deployment_id}")
    assert answer.status_code == 200
    assert answer.json()["flow_id"] == target.flow_id


async def test_ends_in_time_with_a_subscriber_attached(
    server: LocalServer, client: httpx.AsyncClient
) -> None:
    processes = server.processes()[:1]
    streaming = asyncio.Event()

    async def subscribe() -> None:
        async with PrefectEventSubscriber(
            server.api_url, filter=EventFilter(), reconnection_attempts=0
        ) as events:
            async for _ in events:
                streaming.set()

    subscriber = asyncio.create_task(subscribe())
    await make_target(client)
    await streaming.wait()
    assert await server.terminate() < 5 * slowness()
    await asyncio.gather(subscriber, return_exceptions=True)  # cut off
    assert server.process.returncode == 0
    assert "Traceback" not in server.log.read_text()
    assert not any(process.is_running() for process in processes)


async def test_nothing_was_written_outside_the_home(server: LocalServer) -> None:
    assert list(server.elsewhere.rglob("*")) == []
    assert (server.home / "prefect" / "ui").is_dir()
    assert not prefect.__ui_static_subpath__.exists()
    assert not prefect.__ui_v2_static_subpath__.exists()
