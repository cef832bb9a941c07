"""A stopped agent ends at once, whatever it was doing, and what it had found is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

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
    kill,
    next_process,
    pid_of,
    queue,
    refused,
    state_of,
)
from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from tests.support.tasks import completes, submit
from vibesurf_blocks.run.slot_lock import idle_session
from vibesurf_blocks.tasks import Status


async def test_stop_in_the_middle_of_a_step(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(4)
    book.let(1, 2)
    task_id = await submit(api, book.task)
    await book.until_asked(3)
    process = psutil.Process(await pid_of(prefect, task_id))

    said = await done(api, "stop", reason="Seen enough")

    assert said["message"] == "Task stopped successfully"
    row = await agree(api, prefect, task_id, Status.STOPPED, timeout=1)
    assert row["error_message"] == "Seen enough"
    assert row["task_result"].count("Text of page") == 2
    assert "Text of page 2." in await asyncio.to_thread(Path(row["report_path"]).read_text)
    assert row["completed_at"] is not None
    assert asked_of(row) == [("stop", "Seen enough", 2)]
    shown = (await api.get("/tasks/detailed-status")).json()
    assert shown["has_active_task"] is False
    assert shown["message"] == "No active task"
    assert shown["task_id"] == task_id
    assert shown["stop_reason"] == "Seen enough"
    assert shown["error"] is None
    assert shown["result"] == row["task_result"]
    await asyncio.to_thread(process.wait, 5)
    # The slot is free for whoever comes next.
    other = books(1)
    other.let_all()
    await completes(api, await submit(api, other.task))
    assert book.asked == [1, 1, 1, 0]


@pytest.mark.parametrize("stands_still", [False, True])
async def test_stop_of_an_agent_that_was_started_again_and_does_not_go_on_yet(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    books: Books,
    stands_still: bool,
) -> None:
    book = books(3)
    book.let(1, 2)
    task_id = await submit(api, book.task, session_id="waits")
    await book.until_asked(3)
    before = await kill(prefect, task_id)
    with idle_session(stack.settings.workspace_dir, "waits") as idle:
        assert idle
        process = psutil.Process(await next_process(prefect, task_id, before))
        if not stands_still:
            await done(api, "stop", reason="Seen enough")
            row = await agree(api, prefect, task_id, Status.STOPPED)
        else:
            process.suspend()
    if stands_still:
        # Its slot and its stop meet it at once, in whichever order.
        asking = asyncio.create_task(ask(api, "stop", task_id, "Seen enough"))

        async def asked() -> bool:
            return (await state_of(prefect, task_id)).is_cancelling()

        await eventually(asked, timeout=10)
        process.resume()
        await asking
        row = await agree(api, prefect, task_id, Status.STOPPED)
    assert row["error_message"] == "Seen enough"
    assert row["task_result"].count("Text of page") == 2
    assert "Text of page 2." in await asyncio.to_thread(Path(row["report_path"]).read_text)
    assert asked_of(row) == [("stop", "Seen enough", 2)]
    assert book.asked == [1, 1, 1]


async def test_stop_of_a_paused_agent(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(4)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    step = await at_rest(api, book, task_id)

    await done(api, "stop")

    row = await agree(api, prefect, task_id, Status.STOPPED, timeout=1)
    assert row["error_message"] == "Stopped on request."
    assert [one[0] for one in asked_of(row)] == ["pause", "stop"]
    assert row["task_result"].count("Text of page") == step


async def test_stop_between_submit_and_the_first_step(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(2)
    task_id = await submit(api, book.task)

    await done(api, "stop", reason="Changed my mind")

    row = await agree(api, prefect, task_id, Status.STOPPED)
    assert row["error_message"] == "Changed my mind"
    assert sum(book.asked) <= 1
    other = books(1)
    other.let_all()
    await completes(api, await submit(api, other.task))


async def test_stop_of_a_run_that_waits_withdraws_it(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book, other = books(1), books(1)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    waiting = await queue(prefect, other.task, "s-waits")

    await done(api, "stop", waiting, "Not today")

    row = await agree(api, prefect, waiting, Status.STOPPED, timeout=1)
    assert row["error_message"] == "Not today"
    assert row["started_at"] is None
    await agree(api, prefect, task_id, Status.RUNNING, timeout=1)
    book.let_all()
    await completes(api, task_id)
    assert other.asked == [0]


async def test_stopping_twice(api: httpx.AsyncClient, prefect: PrefectClient, books: Books) -> None:
    book = books(2)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    first, second = await asyncio.gather(
        api.post(f"/tasks/{task_id}/stop", json={"reason": "One"}, timeout=60),
        api.post(f"/tasks/{task_id}/stop", json={"reason": "Two"}, timeout=60),
    )
    assert {first.status_code, second.status_code} <= {200, 400}
    assert 200 in {first.status_code, second.status_code}

    assert await refused(api, "stop", task_id) == "No active task to stop"
    assert await refused(api, "stop") == "No active task to stop"
    row = await agree(api, prefect, task_id, Status.STOPPED, timeout=1)
    assert row["error_message"] in {"One", "Two"}
