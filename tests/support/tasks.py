"""Short words for what tests do with tasks: submit, wait for a status, end them all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelling

from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from vibesurf_blocks.prefect_api.runs import due_filter, in_states
from vibesurf_blocks.prefect_api.states import SLOT_STATES
from vibesurf_blocks.tables.records import TaskRecord
from vibesurf_blocks.tasks import Status

Json = dict[str, Any]

DONE_SECONDS = 30.0
"""Seconds a short task may take on a busy machine."""


STANDING = frozenset({"agent", "backend", "batch", "workflow", "alert"})
"""Names of the deployments that the first start makes."""

SLOW_SECONDS = 240.0
"""Seconds in which a Prefect server that is up has answered, on the busiest machine."""


def body(task: str, **more: object) -> Json:
    """Body of a submit request."""
    return {
        "session_id": "s-1",
        "task_description": task,
        "llm_profile_name": "builtin",
        **more,
    }


async def submit(api: httpx.AsyncClient, task: str, **more: object) -> str:
    """Submit a task that is to be accepted; its id."""
    answer = await api.post("/tasks/submit", json=body(task, **more))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["success"], said
    return str(said["task_id"])


async def post(
    client: httpx.AsyncClient, path: str, asked: Json, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Ask until there is an answer other than 503, as Prefect may be too slow on a busy machine."""

    async def answered() -> httpx.Response | None:
        answer = await client.post(path, json=asked, headers=headers)
        return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

    answer = await eventually(answered, timeout=SLOW_SECONDS)
    assert answer is not None
    return answer


async def row_of(api: httpx.AsyncClient, task_id: str) -> Json | None:
    """The row of a task as the API shows it, None where there is none."""
    answer = await api.get(f"/tasks/{task_id}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    assert answer.status_code == httpx.codes.OK, answer.text
    row: Json = answer.json()
    return row


async def reaches(
    api: httpx.AsyncClient, task_id: str, *statuses: Status, timeout: float = DONE_SECONDS
) -> Json:
    """Wait until the row shows one of the statuses; the row."""
    last: Json | None = None

    async def there() -> Json | None:
        nonlocal last
        last = await row_of(api, task_id)
        return last if last is not None and last["status"] in statuses else None

    try:
        found = await eventually(there, timeout=timeout)
    except TimeoutError as error:
        raise AssertionError(f"never {', '.join(statuses)}: {last}") from error
    assert found is not None
    return found


async def ends(api: httpx.AsyncClient, task_id: str, timeout: float = DONE_SECONDS) -> Json:
    """Wait until the task has ended, however; the row."""
    ended = [status for status in Status if status.terminal]
    return await reaches(api, task_id, *ended, timeout=timeout)


async def completes(api: httpx.AsyncClient, task_id: str, timeout: float = DONE_SECONDS) -> Json:
    """Wait until the task has ended well; the row."""
    row = await ends(api, task_id, timeout)
    assert row["status"] == Status.COMPLETED, row
    return row


async def cancel(
    client: PrefectClient, task_id: str | UUID, why: str = "Cancelled by hand"
) -> None:
    """Ask Prefect to cancel a run, as its UI does."""
    await client.set_flow_run_state(UUID(str(task_id)), Cancelling(message=why))


async def unfinished(client: PrefectClient) -> list[FlowRun]:
    """All runs that are due or have begun and have not ended."""
    # In this order, as one that begins in between would be in neither.
    due = await client.read_flow_runs(flow_run_filter=due_filter(datetime.now(UTC)))
    begun = await client.read_flow_runs(flow_run_filter=in_states(SLOT_STATES))
    return list({run.id: run for run in (*due, *begun)}.values())


async def drop_schedules(client: PrefectClient) -> None:
    """Delete every deployment that has a schedule, and every run that is still to come.

    Prefect may insert runs of a schedule after its deployment was deleted.
    """
    for deployment in await client.read_deployments():
        if deployment.name in STANDING:
            for schedule in deployment.schedules:
                await client.delete_deployment_schedule(deployment.id, schedule.id)
        elif deployment.schedules:
            await client.delete_deployment(deployment.id)
    now = datetime.now(UTC)
    for run in await client.read_flow_runs(flow_run_filter=in_states([StateType.SCHEDULED])):
        if run.expected_start_time is not None and run.expected_start_time > now:
            await client.delete_flow_run(run.id)


async def end_all(stack: LiveStack) -> None:
    """End whatever has not ended, and wait until the slot is free for all who look."""
    async with stack.prefect() as client, stack.http() as api:

        async def idle() -> bool:
            await drop_schedules(client)
            for run in await unfinished(client):
                # Forced to an end while its process starts, a run would come back to life.
                if run.state is not None and not run.state.is_cancelling():
                    await cancel(client, run.id)
            status = (await api.get("/tasks/status")).json()
            return not status["has_active_task"] and not await unfinished(client)

        await eventually(idle, timeout=40)


def has_ended(row: TaskRecord | None) -> bool:
    """Whether there is a row and its task has ended."""
    return row is not None and row.status.terminal
