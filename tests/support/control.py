"""Short words for tests that control agents: ask, compare the three views, find the process."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Suspended

from tests.support.book import Book
from tests.support.eventually import eventually
from tests.support.tasks import Json, row_of
from vibesurf_blocks.prefect_api.states import status_of
from vibesurf_blocks.run.control import FRESH_SECONDS
from vibesurf_blocks.tasks import AGENT_DEPLOYMENT, AGENT_FLOW, Status

AGREE_SECONDS = 10.0
"""Seconds until row and state agree on a machine that does much else; design.md promises 1 s."""

_COMMAND_SECONDS = 0.3
_PAGE_SECONDS = 1.0


async def ask(
    api: httpx.AsyncClient, operation: str, task_id: str | None = None, reason: str | None = None
) -> httpx.Response:
    """Ask for something, of the active task or of one by id."""
    path = f"/tasks/{operation}" if task_id is None else f"/tasks/{task_id}/{operation}"
    return await api.post(path, json={} if reason is None else {"reason": reason}, timeout=60)


async def done(
    api: httpx.AsyncClient, operation: str, task_id: str | None = None, reason: str | None = None
) -> Json:
    """Ask for something that is to be done; the answer."""
    answer = await ask(api, operation, task_id, reason)
    assert answer.status_code == httpx.codes.OK, answer.text
    said: Json = answer.json()
    assert said["success"] is True
    assert said["operation"] == operation.replace("-", "_")
    return said


async def refused(
    api: httpx.AsyncClient,
    operation: str,
    task_id: str | None = None,
    reason: str | None = None,
    *,
    status: int = 400,
) -> str:
    """Ask for something that is to be refused; the sentence that says why."""
    answer = await ask(api, operation, task_id, reason)
    assert answer.status_code == status, answer.text
    return str(answer.json()["detail"])


async def run_of(prefect: PrefectClient, task_id: str) -> FlowRun:
    """The flow run of a task."""
    return await prefect.read_flow_run(UUID(task_id))


async def state_of(prefect: PrefectClient, task_id: str) -> State[Any]:
    """The state of a task's flow run."""
    state = (await run_of(prefect, task_id)).state
    assert state is not None
    return state


async def agree(
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    task_id: str,
    status: Status,
    *,
    timeout: float = AGREE_SECONDS,
) -> Json:
    """Wait until row, Prefect's state and the API's status all show a status; the row."""
    seen: object = None

    async def agreed() -> Json | None:
        nonlocal seen
        row, state = await row_of(api, task_id), await state_of(prefect, task_id)
        active = (await api.get("/tasks/status")).json()["active_task"]
        shown = active["status"] if active and active["task_id"] == task_id else None
        expected = None if status.terminal else status
        seen = (row and row["status"], state.name, shown)
        all_agree = row is not None and row["status"] == status and status_of(state) is status
        return row if all_agree and shown == expected else None

    try:
        row = await eventually(agreed, timeout=timeout)
    except TimeoutError as error:
        raise AssertionError(f"row, Prefect and API do not say {status}: {seen}") from error
    assert row is not None
    return row


async def pid_of(prefect: PrefectClient, task_id: str) -> int:
    """The process that runs a task now, once there is one."""

    async def pid() -> int | None:
        run = await run_of(prefect, task_id)
        return int(run.infrastructure_pid) if run.infrastructure_pid else None

    found = await eventually(pid, timeout=AGREE_SECONDS)
    assert found is not None
    return found


async def next_process(prefect: PrefectClient, task_id: str, before: int) -> int:
    """The process that runs a task once it is another one than before."""

    async def other() -> int | None:
        pid = await pid_of(prefect, task_id)
        return pid if pid != before else None

    found = await eventually(other, timeout=AGREE_SECONDS)
    assert found is not None
    return found


async def press_pause(prefect: PrefectClient, task_id: str) -> None:
    """What the UI's Pause button sends, within a step that is not the shortest."""
    await prefect.set_flow_run_state(UUID(task_id), Suspended(timeout_seconds=300), force=True)
    pressed = monotonic()

    async def lasted() -> bool:
        return monotonic() - pressed > FRESH_SECONDS

    await eventually(lasted, timeout=5)


def asked_of(row: Json) -> list[tuple[str, str | None, int]]:
    """What the row says was asked of a task: operation, reason or instruction, step."""
    history = row["task_metadata"]["history"]
    return [(one["operation"], one["reason"], one["step"]) for one in history]


async def at_rest(api: httpx.AsyncClient, book: Book, task_id: str, reason: str = "Lunch") -> int:
    """Pause the agent that reads a book; the number of the page after which it rests.

    Each page it asks for until it rests is answered, so that it comes to a boundary of steps.
    """
    pausing = asyncio.create_task(done(api, "pause", task_id, reason))
    # First time for the command to be on its way, then page by page: it is to reach the agent
    # before the book is at its end.
    await asyncio.wait({pausing}, timeout=_COMMAND_SECONDS)
    while not pausing.done():
        book.let(*(page for page, times in enumerate(book.asked, 1) if times))
        await asyncio.wait({pausing}, timeout=_PAGE_SECONDS)
    await pausing

    async def told() -> tuple[str, str | None, int] | None:
        # The history follows the acknowledgement into the row.
        row = await row_of(api, task_id)
        asked = asked_of(row) if row is not None else []
        return asked[-1] if asked and asked[-1][:2] == ("pause", reason) else None

    told_last = await eventually(told, timeout=AGREE_SECONDS)
    assert told_last is not None
    return told_last[2]


async def queue(
    prefect: PrefectClient,
    task: str,
    session: str,
    *,
    job_variables: dict[str, Any] | None = None,
    **more: object,
) -> str:
    """Ask for a run through the deployment, as the UI's Custom run does; its id."""
    deployment = await prefect.read_deployment_by_name(f"{AGENT_FLOW}/{AGENT_DEPLOYMENT}")
    run = await prefect.create_flow_run_from_deployment(
        deployment.id,
        parameters={"task_description": task, "session_id": session, **more},
        job_variables=job_variables,
    )
    return str(run.id)


async def kill(prefect: PrefectClient, task_id: str) -> int:
    """Kill the process of a run, and wait until it is gone; its id."""
    pid = await pid_of(prefect, task_id)
    process = psutil.Process(pid)
    process.kill()
    await asyncio.to_thread(process.wait, 10)
    return pid
