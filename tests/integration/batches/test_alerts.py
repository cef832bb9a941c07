"""People are told, once, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate

from tests.support.alerts import TOLD_SECONDS, Receiver, block_of
from tests.support.batches import finishes, start
from tests.support.book import Books
from tests.support.eventually import eventually
from tests.support.site import Site, Visit
from tests.support.stack import LiveStack
from tests.support.tasks import cancel, ends, submit
from vibesurf_blocks.alerts.rules import Occasion
from vibesurf_blocks.prefect_api.automations import name_of, tell_blocks
from vibesurf_blocks.worker.worker import PARENTS_AT_ONCE

pytestmark = pytest.mark.timeout(300)


async def test_an_end_is_told_once_though_the_mirror_was_killed_before_it(
    stack: LiveStack,
    api: httpx.AsyncClient,
    books: Books,
    site: Site,
    receiver: Receiver,
    block: str,
) -> None:
    book = books(1)
    rules = {"on": ["completed", "failed"], "webhook": block}
    task_id = await submit(api, book.task, session_id="told", alerts=rules)
    await book.until_asked(1)
    stack.part("mirror").kill()
    book.let_all()
    await ends(api, task_id)

    alert = await receiver.told(task_id)
    assert alert["type"] == "task.completed"
    assert alert["data"]["message"] == "Done in 1 steps."
    failing = await submit(api, f"Read {site.url('/missing')}", alerts=rules)
    assert (await receiver.told(failing))["type"] == "task.failed"
    assert [one["data"]["run_id"] for one in receiver.taken] == [task_id, failing]
    assert set(receiver.tries.values()) == {3}


@pytest.fixture
async def full(stack: LiveStack, prefect: PrefectClient) -> AsyncIterator[None]:
    """One batch at once: a running one leaves no room in the pool of batches."""
    pool = stack.settings.parents_pool
    await prefect.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=1))
    yield
    await prefect.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=PARENTS_AT_ONCE))


@pytest.mark.usefixtures("full")
@pytest.mark.slow
async def test_a_task_that_waits_too_long_and_a_stopped_batch_are_told(
    prefect: PrefectClient, books: Books, receiver: Receiver, block: str
) -> None:
    book = books(2)
    batch = await start(
        prefect,
        "batch/batch",
        session_id="told",
        items=[f"Read {book.url(1)}"],
        alerts={"on": ["stopped"], "webhook": block},
    )
    await book.until_asked(1)
    waiting = await start(
        prefect,
        "agent-run/agent",
        session_id="told-2",
        task_description=f"Read {book.url(2)}",
        alerts={"on": ["waiting"], "webhook": block, "wait_seconds": 0.5},
    )
    assert (await receiver.told(str(waiting.id)))["type"] == "task.waiting"
    await cancel(prefect, batch.id, "Enough")
    stopped = await receiver.told(str(batch.id))
    assert (stopped["type"], stopped["data"]["message"]) == ("batch.stopped", "Enough")
    book.let_all()
    await finishes(prefect, waiting)
    # The child of the batch was stopped too: of that nobody is told.
    assert len(receiver.taken) == 2


@pytest.mark.slow
async def test_alerts_in_the_pool_of_batches_are_moved_to_their_own(
    stack: LiveStack, prefect: PrefectClient
) -> None:
    alert = await prefect.read_deployment_by_name("alert/alert")
    assert alert.work_pool_name == stack.settings.alerts_pool
    older = DeploymentUpdate(work_pool_name=stack.settings.parents_pool)
    await prefect.update_deployment(alert.id, older)
    setup = [sys.executable, "-m", "vibesurf_blocks", "setup"]
    process = await asyncio.create_subprocess_exec(*setup, env=stack.env)
    assert await process.wait() == 0
    moved = await prefect.read_deployment(alert.id)
    assert moved.work_pool_name == stack.settings.alerts_pool


async def test_notification_blocks_are_told_by_the_alert_and_by_prefect_alone(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    told: list[str] = []

    def page(visit: Visit) -> None:
        told.append(json.loads(visit.body)["subject"])
        visit.answer(b"")

    site.pages["/notify"] = page
    data = {"name": "told", "url": site.url("/notify"), "json_data": {"subject": "{{subject}}"}}
    async with block_of(prefect, "custom-webhook", **data) as slug:
        for _ in range(2):
            blocks = [slug, "custom-webhook/gone"]
            await tell_blocks(prefect, blocks, [Occasion.FAILED], [stack.settings.pool])
        [automation] = await prefect.read_automations_by_name(name_of(slug))
        try:
            missing = f"Read {site.url('/missing')}"
            rules = {"on": ["failed"], "blocks": [slug]}
            task_id = await submit(api, missing, session_id="told", alerts=rules)
            name = (await prefect.read_flow_run(UUID(task_id))).name

            async def both() -> bool:
                return len(told) >= 2

            await eventually(both, timeout=TOLD_SECONDS)
            assert sorted(told) == [f"The task {name} failed", f"{name}: prefect.flow-run.Failed"]
        finally:
            await prefect.delete_automation(automation.id)
