"""An agent that ignores the stop is killed with its children after the grace period."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.book import Book, Books
from tests.support.control import agree, ask, done, next_process, pid_of, press_pause, queue
from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from tests.support.stubborn import stubborn
from tests.support.tasks import completes, reaches
from vibesurf_blocks.tasks import Status

GRACE = {"stop_grace_seconds": 1.0}


async def test_an_agent_that_ignores_the_stop_is_killed_and_what_it_found_is_kept(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    task_id = await queue(prefect, book.task, "s-deaf", job_variables=GRACE)
    await book.until_asked(2)
    process = psutil.Process(await pid_of(prefect, task_id))
    process.suspend()  # it hears nothing any more

    answer = await ask(api, "stop", task_id, "It hangs")

    assert answer.status_code == httpx.codes.OK
    row = await agree(api, prefect, task_id, Status.STOPPED)
    assert not process.is_running()
    assert row["error_message"] == "It hangs"
    assert "Text of page 1." in row["task_result"]
    assert row["report_path"] is not None
    assert row["task_metadata"]["recoveries"] == 0


async def test_a_flow_that_sleeps_in_c_is_gone_with_its_children(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    note = stack.home.parent / f"stubborn-{uuid4().hex}"
    deployment = await prefect.create_deployment(
        flow_id=await prefect.create_flow(stubborn),
        name="stubborn",
        entrypoint="tests.support.stubborn.stubborn",
        work_pool_name=stack.settings.pool,
        job_variables=GRACE,
    )
    run = await prefect.create_flow_run_from_deployment(deployment, parameters={"note": str(note)})
    pids = await eventually(lambda: noted(note), timeout=20)
    processes = [psutil.Process(pid) for pid in (await pid_of(prefect, str(run.id)), *pids)]
    assert all(process.is_running() for process in processes)

    await ask(api, "stop", str(run.id), "Enough")

    row = await reaches(api, str(run.id), Status.STOPPED)
    assert row["error_message"] == "Enough"

    async def gone() -> bool:
        return not any(process.is_running() for process in processes)

    await eventually(gone, timeout=5)


@pytest.mark.slow
async def test_an_agent_that_is_stuck_is_ended_at_its_limit(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    """Its own process keeps the limit as long as it gets to; then its worker does."""
    book, following = books(3), books(1)
    book.let(1)
    following.let_all()
    task_id = await queue(prefect, book.task, "s-stuck", job_variables=GRACE, idle_seconds=2)
    await book.until_asked(2)
    process = psutil.Process(await pid_of(prefect, task_id))
    process.suspend()
    behind = await queue(prefect, following.task, "s-behind")

    row = await agree(api, prefect, task_id, Status.FAILED, timeout=20)

    assert row["error_message"] == "One step took over 2 s (idle_seconds)."
    assert "Text of page 1." in row["task_result"]
    assert row["task_metadata"]["recoveries"] == 0
    assert not process.is_running()
    await completes(api, behind)


async def _hung_and_suspended(
    prefect: PrefectClient, book: Book, session: str
) -> tuple[str, psutil.Process]:
    """A task at its first page whose process stands still when the UI's Pause is pressed."""
    task_id = await queue(prefect, book.task, session, job_variables=GRACE)
    await book.until_asked(1)
    process = psutil.Process(await pid_of(prefect, task_id))
    process.suspend()
    await press_pause(prefect, task_id)
    return task_id, process


async def test_a_suspended_agent_that_hangs_is_killed_when_it_is_stopped(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    """Prefect ends a suspended run at once, and asks its process nothing."""
    book, following = books(2), books(1)
    following.let_all()
    task_id, process = await _hung_and_suspended(prefect, book, "s-hung")

    await ask(api, "stop", task_id, "Enough of it")

    await agree(api, prefect, task_id, Status.STOPPED)
    await completes(api, await queue(prefect, following.task, "s-behind"))
    assert not process.is_running()


async def test_who_hangs_at_its_last_step_is_killed_though_another_process_was_started(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book, following = books(2), books(1)
    following.let_all()
    task_id, process = await _hung_and_suspended(prefect, book, "s-hung-first")
    await done(api, "resume", task_id)
    await next_process(prefect, task_id, process.pid)

    await ask(api, "stop", task_id, "Enough of both")

    await agree(api, prefect, task_id, Status.STOPPED)
    await completes(api, await queue(prefect, following.task, "s-behind"))
    assert not process.is_running()


async def test_an_agent_ends_when_its_run_is_deleted_from_prefect(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book, following = books(2), books(1)
    following.let_all()
    task_id = await queue(prefect, book.task, "s-deleted", job_variables=GRACE)
    await book.until_asked(1)
    process = psutil.Process(await pid_of(prefect, task_id))

    await prefect.delete_flow_run(UUID(task_id))

    await completes(api, await queue(prefect, following.task, "s-behind"))
    assert not process.is_running()
    await reaches(api, task_id, Status.STOPPED)


async def noted(note: Path) -> list[int]:
    """The process ids in a file, once it is there."""
    return [int(pid) for pid in note.read_text().split()] if note.exists() else []  # noqa: ASYNC240
