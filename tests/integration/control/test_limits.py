"""A run that reaches one of its limits ends with the reason, and what it had found is kept."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.book import Books
from tests.support.control import agree, done, kill
from tests.support.tasks import body, completes, submit
from vibesurf_blocks.tasks import Status


async def test_max_steps(api: httpx.AsyncClient, prefect: PrefectClient, books: Books) -> None:
    book = books(4)
    book.let_all()
    task_id = await submit(api, book.task, max_steps=2)

    row = await agree(api, prefect, task_id, Status.FAILED, timeout=30)

    assert row["error_message"] == "The run reached its limit of 2 steps (max_steps)."
    assert book.asked == [1, 1, 0, 0]
    assert row["task_result"].count("Text of page") == 2
    assert row["report_path"] is not None


async def test_idle_seconds(api: httpx.AsyncClient, prefect: PrefectClient, books: Books) -> None:
    book = books(3)
    book.let(1)
    task_id = await submit(api, book.task, idle_seconds=1)

    row = await agree(api, prefect, task_id, Status.FAILED, timeout=30)

    assert row["error_message"] == "One step took over 1 s (idle_seconds)."
    assert book.asked == [1, 1, 0]
    assert row["task_result"].count("Text of page") == 1


async def test_timeout_seconds(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    task_id = await submit(api, book.task, timeout_seconds=1.5)

    row = await agree(api, prefect, task_id, Status.FAILED, timeout=30)

    assert row["error_message"] == ("The run reached its limit of 1.5 s of work (timeout_seconds).")
    assert book.asked == [1, 1, 0]
    assert row["task_result"].count("Text of page") == 1
    shown = (await api.get("/tasks/detailed-status")).json()
    assert shown["error"] == row["error_message"]
    assert shown["stop_reason"] is None


@pytest.mark.slow
async def test_pauses_do_not_count_towards_the_timeout(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    limit = 3.0
    book = books(3)
    task_id = await submit(api, book.task, timeout_seconds=limit)
    answer = await api.post(f"/tasks/{task_id}/pause", timeout=60)
    assert answer.status_code == httpx.codes.OK
    begun = asyncio.get_running_loop().time()
    book.let_all()

    # It is paused for longer than it may work; each look finds it so.
    while asyncio.get_running_loop().time() - begun < limit + 0.5:
        await agree(api, prefect, task_id, Status.PAUSED)
    await done(api, "resume", task_id)

    await completes(api, task_id)


async def test_limits_are_per_task_and_checked(api: httpx.AsyncClient, books: Books) -> None:
    book = books(1)
    for wrong in ({"max_steps": 0}, {"timeout_seconds": -1}, {"idle_seconds": 0}):
        answer = await api.post("/tasks/submit", json=body(book.task, **wrong))
        assert answer.status_code == 422, answer.text
        assert next(iter(wrong)) in answer.text
    assert book.asked == [0]


@pytest.mark.parametrize("k", [1, 2])
async def test_the_steps_taken_before_a_death_count(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books, k: int
) -> None:
    book = books(4)
    book.let(*range(1, k + 1))
    task_id = await submit(api, book.task, max_steps=3)
    await book.until_asked(k + 1)
    await kill(prefect, task_id)
    book.let_all()

    row = await agree(api, prefect, task_id, Status.FAILED, timeout=30)

    assert row["error_message"] == "The run reached its limit of 3 steps (max_steps)."
    assert book.asked[3] == 0
