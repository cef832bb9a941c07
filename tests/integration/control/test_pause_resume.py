"""A paused agent rests between two steps, keeps its slot, and goes on with the very next step."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.book import Books
from tests.support.control import (
    agree,
    ask,
    asked_of,
    at_rest,
    done,
    pid_of,
    queue,
    refused,
    state_of,
)
from tests.support.long_pause import pause_for
from tests.support.tasks import body, completes, submit
from vibesurf_blocks.api.schemas import BUSY_MESSAGE
from vibesurf_blocks.tasks import Status


async def test_a_paused_agent_rests_and_goes_on_with_the_very_next_step(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(6)
    task_id = await submit(api, book.task)
    await book.until_asked(1)

    step = await at_rest(api, book, task_id)

    await agree(api, prefect, task_id, Status.PAUSED, timeout=1)
    assert (await state_of(prefect, task_id)).name == "Paused"
    process = psutil.Process(await pid_of(prefect, task_id))
    book.let_all()  # nothing but the pause holds the agent now
    assert book.asked == [1] * step + [0] * (6 - step)

    said = await done(api, "resume", reason="Back again")

    assert said["message"] == "Task resumed successfully"
    assert process.is_running()
    row = await completes(api, task_id)
    assert book.asked == [1] * 6
    assert asked_of(row) == [("pause", "Lunch", step), ("resume", "Back again", step)]
    assert all(one["asked_at"] <= one["effective_at"] for one in row["task_metadata"]["history"])


async def test_a_paused_agent_keeps_its_slot_and_a_queued_run_waits(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book, other = books(4), books(1)
    other.let_all()
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    await at_rest(api, book, task_id)

    queued = await queue(prefect, other.task, "s-queued")

    answer = (await api.post("/tasks/submit", json=body(other.task))).json()
    assert answer["success"] is False
    assert answer["message"] == BUSY_MESSAGE
    assert answer["active_task"]["task_id"] == task_id
    assert answer["active_task"]["status"] == Status.PAUSED
    assert answer["active_task"]["session_id"] == "s-1"
    assert datetime.fromisoformat(answer["active_task"]["start_time"]) < datetime.now(UTC)
    # The worker has looked at the queued run and left it: its state is the one it was made with.
    await agree(api, prefect, task_id, Status.PAUSED)
    assert (await state_of(prefect, queued)).is_scheduled()
    assert other.asked == [0]

    book.let_all()
    await done(api, "resume")

    await completes(api, task_id)
    await completes(api, queued)
    assert other.asked == [1]
    assert book.asked == [1] * 4


async def test_the_answers_of_a_pause_are_shown_while_it_lasts(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(4)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    step = await at_rest(api, book, task_id, "Wait for the reviewer")

    shown = (await api.get("/tasks/detailed-status")).json()

    assert shown["has_active_task"] is True
    assert shown["task_id"] == task_id
    assert shown["status"] == Status.PAUSED
    assert shown["pause_reason"] == "Wait for the reviewer"
    assert shown["stop_reason"] is None
    assert shown["error"] is None
    assert shown["end_time"] is None
    assert shown["task"] == book.task
    live = shown["vibesurf_status"]
    assert live["overall_status"] == Status.PAUSED
    assert live["agent_statuses"] == {}
    assert live["progress"] == 25 * step
    assert live["active_step"].startswith(f"Read {book.url(step)}")
    await done(api, "resume")
    shown = (await api.get("/tasks/detailed-status")).json()
    assert shown["status"] == Status.RUNNING
    assert shown["pause_reason"] is None


async def test_pausing_twice_and_resuming_twice(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(4)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    assert await refused(api, "resume") == "No paused task to resume"
    step = await at_rest(api, book, task_id)

    await done(api, "pause", reason="Again")  # it rests: that is what was asked for
    await done(api, "resume")
    assert await refused(api, "resume") == "No paused task to resume"

    book.let_all()
    row = await completes(api, task_id)
    assert asked_of(row) == [("pause", "Lunch", step), ("resume", None, step)]
    assert book.asked == [1] * 4


async def test_a_pause_before_the_first_step_holds_the_agent_there(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(2)
    book.let_all()
    # The pause is on its way before the agent's process has begun.
    task_id = await submit(api, book.task)
    answer = await ask(api, "pause", task_id)

    assert answer.status_code == httpx.codes.OK, answer.text
    row = await agree(api, prefect, task_id, Status.PAUSED, timeout=1)
    ((operation, _, step),) = asked_of(row)
    assert operation == "pause"
    assert book.asked == [1] * step + [0] * (2 - step)
    await done(api, "resume", task_id)
    await completes(api, task_id)
    assert book.asked == [1, 1]


@pytest.mark.slow
async def test_a_pause_outlasts_every_limit_of_this_stack(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    # Longer than the silence after which a run counts as dead here; see tests/chaos for the rest.
    await pause_for(10, api, prefect, books(5), books(1))
