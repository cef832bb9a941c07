"""What people do in Prefect's UI and with its CLI; row, state, API and agent agree each time."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.states import Paused, Suspended

from tests.support.book import Books
from tests.support.control import (
    agree,
    asked_of,
    at_rest,
    done,
    next_process,
    pid_of,
    press_pause,
    refused,
    state_of,
)
from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from tests.support.tasks import cancel, completes, row_of, submit
from vibesurf_blocks.tasks import Status


async def test_resume_in_the_ui_of_what_rest_paused(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(4)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    step = await at_rest(api, book, task_id)
    process = await pid_of(prefect, task_id)

    await prefect.resume_flow_run(UUID(task_id))

    await book.until_asked(step + 1)
    await agree(api, prefect, task_id, Status.RUNNING)
    assert await pid_of(prefect, task_id) == process  # it rested all the time
    book.let_all()
    row = await completes(api, task_id)
    assert book.asked == [1] * 4
    assert asked_of(row) == [("pause", "Lunch", step), ("resume", None, step)]


async def test_pause_in_the_ui_ends_the_process_and_rest_resumes(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(5)
    book.let(1)
    task_id = await submit(api, book.task)
    await book.until_asked(2)

    await press_pause(prefect, task_id)
    book.let(2)  # the step it is taking is finished first

    row = await agree(api, prefect, task_id, Status.PAUSED)
    assert row["task_metadata"]["suspended"] is True

    other = books(1)
    other.let_all()

    # The suspended run gave up its slot: another one runs meanwhile.
    between = await submit(api, other.task, session_id="s-2")
    await completes(api, between)
    assert book.asked[2:] == [0, 0, 0]

    book.let_all()
    await done(api, "resume", task_id)

    row = await completes(api, task_id)
    assert book.asked == [1] * 5
    assert row["task_metadata"]["steps"] == 5
    assert row["task_metadata"]["recoveries"] == 0
    assert row["task_result"].count("Text of page") == 5


async def test_resume_in_the_ui_of_what_the_ui_paused(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    await press_pause(prefect, task_id)
    book.let(1)
    await agree(api, prefect, task_id, Status.PAUSED)

    await prefect.resume_flow_run(UUID(task_id))

    await book.until_asked(2)
    await agree(api, prefect, task_id, Status.RUNNING)
    book.let_all()
    await completes(api, task_id)
    assert book.asked == [1] * 3
    runs = await prefect.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(task_id)]))
    )
    assert sorted(run.name for run in runs if run.state and run.state.is_completed()) == [
        f"Read {book.url(page)}: 'Page {page}', 0 links" for page in (1, 2, 3)
    ]


async def test_resume_before_the_step_has_ended_takes_no_step_twice(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    task_id = await submit(api, book.task)
    await book.until_asked(1)

    await press_pause(prefect, task_id)
    await done(api, "resume", task_id)  # the page that the agent is at is still held
    book.let_all()

    row = await completes(api, task_id)
    assert book.asked == [1] * 3
    assert row["task_metadata"]["steps"] == 3


async def test_death_at_the_last_step_before_a_pause_is_no_death_of_who_was_resumed(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    first = await pid_of(prefect, task_id)
    await press_pause(prefect, task_id)
    await done(api, "resume", task_id)
    await next_process(prefect, task_id, first)  # waits for the session, which the first one has

    psutil.Process(first).kill()

    await book.until_asked(1, times=2)
    book.let_all()
    row = await completes(api, task_id)
    assert book.asked == [2, 1, 1]
    assert row["task_metadata"]["recoveries"] == 0


async def test_a_pause_that_comes_in_the_moment_of_the_end_has_nothing_done_again(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(2)
    book.let_all()
    before = await completes(api, await submit(api, book.task))
    task_id = before["task_id"]
    await press_pause(prefect, task_id)  # forced, as the UI does it
    await agree(api, prefect, task_id, Status.PAUSED)

    await prefect.resume_flow_run(UUID(task_id))

    after = await completes(api, task_id)
    assert book.asked == [1, 1]
    assert after["task_result"] == before["task_result"]
    assert after["task_metadata"]["steps"] == 2
    assert (await state_of(prefect, task_id)).message == "Done in 2 steps."


async def test_what_was_suspended_for_too_long_is_not_said_to_go_on(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(2)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    await prefect.set_flow_run_state(UUID(task_id), Suspended(timeout_seconds=2), force=True)
    book.let(1)
    await agree(api, prefect, task_id, Status.PAUSED)

    async def too_late() -> bool:
        until = (await state_of(prefect, task_id)).state_details.pause_timeout
        return until is not None and until < datetime.now(UTC)

    await eventually(too_late, timeout=10)

    assert await refused(api, "resume", task_id) == "No paused task to resume"

    await agree(api, prefect, task_id, Status.FAILED)


async def test_an_instruction_to_a_suspended_run_is_kept_until_it_is_resumed(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book, more = books(2), books(1)
    more.let_all()
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    await press_pause(prefect, task_id)
    book.let_all()
    await agree(api, prefect, task_id, Status.PAUSED)

    said = await done(api, "add-new-task", task_id, more.task)
    assert "when it is resumed" in said["message"]
    await done(api, "resume", task_id)

    await completes(api, task_id)
    assert book.asked == [1, 1]
    assert more.asked == [1]


async def test_cancel_in_the_ui(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    task_id = await submit(api, book.task)
    await book.until_asked(2)

    await cancel(prefect, task_id, "No longer wanted")

    row = await agree(api, prefect, task_id, Status.STOPPED)
    assert row["error_message"] == "No longer wanted"
    assert "Text of page 1." in row["task_result"]
    assert book.asked == [1, 1, 0]


async def test_cancel_in_the_ui_of_a_paused_run(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(4)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    step = await at_rest(api, book, task_id)

    await cancel(prefect, task_id)

    row = await agree(api, prefect, task_id, Status.STOPPED)
    assert row["task_result"].count("Text of page") == step


async def test_cancel_of_a_suspended_run_keeps_what_it_had_found(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    task_id = await submit(api, book.task)
    await book.until_asked(2)
    await press_pause(prefect, task_id)
    book.let(2)
    await agree(api, prefect, task_id, Status.PAUSED)

    await done(api, "stop", task_id, "Not worth it")

    row = await agree(api, prefect, task_id, Status.STOPPED)
    assert row["error_message"] == "Not worth it"

    async def kept() -> bool:
        row = await row_of(api, task_id)
        return row is not None and bool(row["task_result"]) and bool(row["report_path"])

    await eventually(kept, timeout=10)  # its process was still taking its last step
    row = await agree(api, prefect, task_id, Status.STOPPED)
    assert row["task_result"].count("Text of page") in {1, 2}


async def test_cancel_on_the_command_line(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    task_id = await submit(api, book.task)
    await book.until_asked(2)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "prefect", "flow-run", "cancel", task_id, env=stack.env
    )
    assert await process.wait() == 0

    row = await agree(api, prefect, task_id, Status.STOPPED)
    assert row["error_message"]
    assert "Text of page 1." in row["task_result"]


async def test_a_pause_set_from_outside_is_what_the_agent_does(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(4)
    task_id = await submit(api, book.task)
    await book.until_asked(1)

    await prefect.set_flow_run_state(UUID(task_id), Paused(timeout_seconds=300))
    book.let(1)

    async def rests() -> bool:
        row = await row_of(api, task_id)
        return row is not None and bool(asked_of(row))

    await agree(api, prefect, task_id, Status.PAUSED)
    await eventually(rests, timeout=10)
    book.let_all()
    assert (await state_of(prefect, task_id)).name == "Paused"
    await done(api, "resume", task_id)
    row = await completes(api, task_id)
    assert book.asked == [1] * 4
    assert [asked[0] for asked in asked_of(row)] == ["pause", "resume"]
