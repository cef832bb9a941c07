"""What cannot be done is refused with the documented sentence, and no run is the worse for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.states import Running, Scheduled

from tests.support.book import Books
from tests.support.control import ask, asked_of, refused
from tests.support.tasks import completes, row_of, submit
from vibesurf_blocks.tasks import DESCRIPTION_LIMIT

REFUSALS = {
    "pause": "No active task to pause",
    "resume": "No paused task to resume",
    "stop": "No active task to stop",
    "add-new-task": "No active task to add new instruction to",
}


@pytest.mark.parametrize("operation", REFUSALS)
@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_control_while_idle(api: httpx.AsyncClient, operation: str, prefix: str) -> None:
    answer = await api.post(f"{prefix}/tasks/{operation}", json={"reason": "Because"})
    assert answer.status_code == 400
    assert answer.json() == {"detail": REFUSALS[operation]}


@pytest.mark.parametrize("operation", ["pause", "resume", "stop"])
async def test_the_body_may_be_left_out(api: httpx.AsyncClient, operation: str) -> None:
    answer = await api.post(f"/tasks/{operation}")
    assert answer.status_code == 400
    assert answer.json() == {"detail": REFUSALS[operation]}


@pytest.mark.parametrize("operation", REFUSALS)
@pytest.mark.parametrize("task_id", ["00000000-0000-4000-8000-000000000000", "no-uuid"])
async def test_control_of_an_unknown_task(
    api: httpx.AsyncClient, operation: str, task_id: str
) -> None:
    said = await refused(api, operation, task_id, "Because", status=404)
    assert said == f"No task has the id {task_id}"


async def test_control_of_what_is_no_task_here(
    api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    """Runs of other flows on the same Prefect server, and occurrences that are still to come."""

    @flow(name="etl")
    def etl() -> None: ...

    foreign = await prefect.create_flow_run(etl, state=Running())
    deployment = await prefect.read_deployment_by_name("agent-run/agent")
    coming = await prefect.create_flow_run_from_deployment(
        deployment.id,
        parameters={"task_description": "Read nothing", "session_id": "coming"},
        state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1)),
    )
    for run in (foreign, coming):
        for operation in REFUSALS:
            said = await refused(api, operation, str(run.id), "Because", status=404)
            assert said == f"No task has the id {run.id}"
        state = (await prefect.read_flow_run(run.id)).state
        assert state is not None
        assert state.type in {StateType.RUNNING, StateType.SCHEDULED}
        await prefect.delete_flow_run(run.id)


async def test_control_of_a_task_that_has_ended(api: httpx.AsyncClient, books: Books) -> None:
    book = books(1)
    book.let_all()
    task_id = await submit(api, book.task)
    before = await completes(api, task_id)

    for operation, sentence in REFUSALS.items():
        assert await refused(api, operation, task_id, "Because") == sentence

    assert await row_of(api, task_id) == before


@pytest.mark.parametrize(
    ("reason", "status"),
    [("", 400), (" \n\t", 400), ("x" * 1_000_000, 422), ("a\x00b", 422), (None, 422), (7, 422)],
    ids=["empty", "blank", "megabyte", "nul", "null", "number"],
)
async def test_instructions_that_are_none(
    api: httpx.AsyncClient, books: Books, reason: object, status: int
) -> None:
    book = books(1)
    task_id = await submit(api, book.task)
    await book.until_asked(1)

    for path in ("/tasks/add-new-task", f"/tasks/{task_id}/add-new-task"):
        answer = await api.post(path, json={"reason": reason})
        assert answer.status_code == status, answer.text
        assert len(answer.content) < 1_000  # what was sent is not sent back
        assert answer.json()["detail"]

    book.let_all()
    row = await completes(api, task_id)
    assert asked_of(row) == []
    assert book.asked == [1]


async def test_a_reason_that_is_too_long(api: httpx.AsyncClient, books: Books) -> None:
    book = books(1)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    for operation in ("pause", "resume", "stop"):
        answer = await ask(api, operation, task_id, "x" * DESCRIPTION_LIMIT)
        assert answer.status_code == 422
    book.let_all()
    await completes(api, task_id)


async def test_resume_of_a_run_that_was_never_paused(api: httpx.AsyncClient, books: Books) -> None:
    book = books(1)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    assert await refused(api, "resume") == "No paused task to resume"
    assert await refused(api, "resume", task_id) == "No paused task to resume"
    book.let_all()
    row = await completes(api, task_id)
    assert asked_of(row) == []
