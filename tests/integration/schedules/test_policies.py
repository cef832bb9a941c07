"""What becomes of occurrences that were missed, or that find the slot taken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun

from tests.support.eventually import eventually
from tests.support.schedules import copy_agent, due_runs, fire_every, unique
from tests.support.tasks import reaches, submit
from vibesurf_blocks.tasks import Status
from vibesurf_blocks.worker.occurrences import Occurrences

MISSED = timedelta(seconds=30)


def said(run: FlowRun) -> tuple[str, str]:
    assert run.state is not None
    return run.state.name or "", run.state.message or ""


@pytest.fixture
async def idle_pool(prefect: PrefectClient) -> AsyncIterator[str]:
    """A pool that no worker works for."""
    name = f"idle-{uuid4().hex[:8]}"
    await prefect.create_work_pool(WorkPoolCreate(name=name, type="vibesurf"))
    yield name
    await prefect.delete_work_pool(name)


async def missed(client: PrefectClient, pool: str, catchup: str) -> UUID:
    """A deployment of which three occurrences were missed, and the fourth is to come."""
    name = unique(catchup)
    deployment = await copy_agent(client, name, work_pool_name=pool, tags=[f"catchup:{catchup}"])
    now = datetime.now(UTC).replace(microsecond=0)
    await fire_every(client, deployment, 3_600, now - timedelta(seconds=60))
    start, end = now - timedelta(hours=2, seconds=61), now
    await client.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": deployment},
        json={"start_time": start.isoformat(), "end_time": end.isoformat(), "min_runs": 3},
    )
    assert len(await due_runs(client, deployment)) == 3
    return deployment


@pytest.mark.parametrize(("catchup", "kept"), [("skip", 0), ("latest", 1), ("all", 3)])
async def test_missed_occurrences(
    prefect: PrefectClient, idle_pool: str, catchup: str, kept: int
) -> None:
    deployment = await missed(prefect, idle_pool, catchup)
    await Occurrences(idle_pool, MISSED).catch_up(prefect)
    runs = await due_runs(prefect, deployment)
    skipped, waiting = runs[: 3 - kept], runs[3 - kept :]
    reason = f"Skipped: missed while nothing ran; catchup={catchup}."
    assert [said(run) for run in skipped] == [("Skipped", reason)] * len(skipped)
    assert {said(run)[0] for run in waiting} <= {"AwaitingConcurrencySlot"}
    # Their place in the queue stays, and deciding again changes nothing.
    assert [run.next_scheduled_start_time for run in waiting] == [
        run.expected_start_time for run in waiting
    ]
    await Occurrences(idle_pool, MISSED).catch_up(prefect)
    assert [said(run) for run in await due_runs(prefect, deployment)] == [said(run) for run in runs]
    await prefect.delete_deployment(deployment)


async def test_what_a_worker_missed_because_prefect_was_away(
    prefect: PrefectClient, idle_pool: str
) -> None:
    occurrences = Occurrences(idle_pool, timedelta(seconds=2))

    async def taken() -> bool:
        return False

    await occurrences.queue(prefect, taken, set())
    deployment = await missed(prefect, idle_pool, "skip")

    async def decided() -> bool:
        # As with a Prefect that does not answer, no look comes to its end meanwhile.
        await occurrences.catch_up(prefect)
        return {said(run)[0] for run in await due_runs(prefect, deployment)} == {"Skipped"}

    await eventually(decided, timeout=10, pause=0.2)
    await prefect.delete_deployment(deployment)


async def test_an_edit_does_not_delete_what_waits(prefect: PrefectClient, idle_pool: str) -> None:
    deployment = await missed(prefect, idle_pool, "all")
    await Occurrences(idle_pool, MISSED).catch_up(prefect)
    before = [run.id for run in await due_runs(prefect, deployment)]
    await prefect.pause_deployment(deployment)
    assert [run.id for run in await due_runs(prefect, deployment)] == before
    await prefect.delete_deployment(deployment)


@pytest.mark.parametrize(("overlap", "waiting"), [("skip", 0), ("queue-one", 1), ("queue-all", 3)])
async def test_occurrences_that_find_the_slot_taken(
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    hold: Callable[[], Awaitable[str]],
    overlap: str,
    waiting: int,
) -> None:
    busy = await submit(api, f"Read {await hold()}")

    async def runs_now() -> bool:
        row: dict[str, object] = (await api.get(f"/tasks/{busy}")).json()
        return row["status"] == "running"

    await eventually(runs_now, timeout=20)
    deployment = await copy_agent(prefect, unique(overlap), tags=[f"overlap:{overlap}"])
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    schedule = await fire_every(prefect, deployment, 1, first)

    async def decided() -> list[FlowRun]:
        runs = (await due_runs(prefect, deployment))[:3]
        names = {said(run)[0] for run in runs}
        return runs if len(runs) == 3 and names <= {"AwaitingConcurrencySlot", "Skipped"} else []

    runs = await eventually(decided, timeout=20)
    await prefect.update_deployment_schedule(deployment, schedule.id, active=False)
    names = [said(run)[0] for run in runs]
    assert names == ["AwaitingConcurrencySlot"] * waiting + ["Skipped"] * (3 - waiting)
    for run in runs[waiting:]:
        shown = await reaches(api, str(run.id), Status.STOPPED)
        assert shown["error_message"].startswith("Skipped: ")
        assert shown["error_message"].endswith(f"overlap={overlap}.")
    await prefect.delete_deployment(deployment)
