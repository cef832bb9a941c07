"""The mirror may die and the tables may go: the rows come back, the same to the last byte."""

from __future__ import annotations

import asyncio
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.eventually import eventually
from tests.support.site import Site
from tests.support.stack import LiveStack
from tests.support.tasks import row_of, submit
from vibesurf_blocks.mirror.sync import Sync
from vibesurf_blocks.prefect_api import runs as prefect_runs
from vibesurf_blocks.prefect_api.deployments import pages
from vibesurf_blocks.tables import TaskStore
from vibesurf_blocks.tasks import Status


@pytest.mark.timeout(180)
async def test_the_mirror_killed_during_ten_runs_leaves_ten_right_rows(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    url = site.html("/a", "<p>a</p>")
    deployment = await prefect.read_deployment_by_name("agent-run/agent")
    runs = []
    for number in range(10):
        run = await prefect.create_flow_run_from_deployment(
            deployment.id,
            parameters={"task_description": f"Read {url}", "session_id": f"ten-{number}"},
        )
        runs.append(run)
        if number in {3, 8}:
            mirror = stack.part("mirror")
            mirror.kill()
            await asyncio.to_thread(psutil.wait_procs, [mirror], 5)

    async def all_completed() -> bool:
        rows = [await row_of(api, str(run.id)) for run in runs]
        return all(row is not None and row["status"] == Status.COMPLETED for row in rows)

    await eventually(all_completed, timeout=90)


async def test_dropped_rows_are_rebuilt_equal(
    stack: LiveStack, store: TaskStore, prefect: PrefectClient, api: httpx.AsyncClient
) -> None:
    """Rows are derived from Prefect alone."""

    async def rows() -> dict[str, str]:
        found: dict[str, str] = {}
        cursor = None
        while True:
            page = await store.page(limit=200, cursor=cursor)
            found |= {
                one.task_id: one.model_dump_json()
                for one in page.records
                # Of what other tests deleted Prefect knows less than the rows do.
                if str(one.task_metadata.deployment_id) in known and one.task_id in runs
            }
            cursor = page.next_cursor
            if cursor is None:
                return found

    known = {str(one.id) async for page in pages(prefect) for one in page} | {"None"}
    every = prefect_runs.all_runs(prefect, [stack.settings.pool])
    runs = {str(one.id) async for page in every for one in page}
    before = await rows()
    assert before
    await store.clear()
    await Sync(prefect, store, stack.settings).everything()
    assert await rows() == before


async def test_a_run_is_not_taken_for_deleted_because_it_could_not_be_read_at_first(
    stack: LiveStack, store: TaskStore, prefect: PrefectClient, site: Site, api: httpx.AsyncClient
) -> None:
    """A run is announced before it can be read, and its row may be written in between."""
    page = site.held("/unread")
    task_id = await submit(api, f"Read {page.url}")
    assert await asyncio.to_thread(page.asked.wait, 20)
    sync = Sync(prefect, store, stack.settings)

    await sync.missing([UUID(task_id)])

    row = await row_of(api, task_id)
    assert row is not None
    assert row["status"] == Status.RUNNING
    page.released.set()


@pytest.mark.slow
async def test_a_run_deleted_from_prefect_does_not_stay_active(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    page = site.held("/page")
    deployment = await prefect.read_deployment_by_name("agent-run/agent")
    parameters = {"task_description": f"Read {page.url}", "session_id": "deleted"}
    first = await prefect.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    assert await asyncio.to_thread(page.asked.wait, 20)
    waiting = await prefect.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    await eventually(lambda: row_of(api, str(waiting.id)), timeout=20)
    await prefect.delete_flow_run(waiting.id)

    async def ended() -> bool:
        row = await row_of(api, str(waiting.id))
        return row is not None and row["status"] == Status.STOPPED

    await eventually(ended, timeout=30)
    row = await row_of(api, str(waiting.id))
    assert row is not None
    assert row["error_message"] == "The flow run was deleted from Prefect."
    page.released.set()
    assert await row_of(api, str(first.id)) is not None
