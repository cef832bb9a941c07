"""The process of a run dies: it is run again from its last finished step, and none is repeated."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry

from tests.support.book import Books
from tests.support.control import agree, asked_of, at_rest, done, kill, pid_of, run_of, state_of
from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from tests.support.tasks import completes, reaches, row_of, submit
from vibesurf_blocks.prefect_api.artifacts import published
from vibesurf_blocks.prefect_api.labels import ATTEMPT, RECOVERED_FROM
from vibesurf_blocks.prefect_api.runs import loose_holders
from vibesurf_blocks.run.checkpoints import CheckpointFile
from vibesurf_blocks.run.report import report_name
from vibesurf_blocks.tasks import Status
from vibesurf_blocks.workspace import reports_dir

STEPS = 5


@pytest.mark.parametrize("after", range(STEPS))
async def test_a_run_killed_after_any_step_goes_on_with_the_next(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books, after: int
) -> None:
    book = books(STEPS)
    book.let(*range(1, after + 1))
    task_id = await submit(api, book.task)
    await book.until_asked(after + 1)

    await kill(prefect, task_id)
    await book.until_asked(after + 1, times=2)
    book.let_all()

    row = await completes(api, task_id)
    expected = [1] * STEPS
    expected[after] = 2  # it was asked for and not yet read
    assert book.asked == expected
    assert row["task_metadata"]["recoveries"] == 1
    assert row["task_metadata"]["steps"] == STEPS
    assert row["error_message"] is None
    undisturbed = await completes(api, await submit(api, book.task))
    assert row["task_result"] == undisturbed["task_result"]
    assert undisturbed["task_metadata"]["recoveries"] == 0


async def test_a_run_that_was_started_again_shows_what_it_had_shown(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    step = await at_rest(api, book, task_id)
    await done(api, "resume", task_id)
    await book.until_asked(step + 1)

    await kill(prefect, task_id)
    await book.until_asked(step + 1, times=2)  # held back: no step follows by itself

    async def shown() -> bool:
        row = await row_of(api, task_id)
        return row is not None and (
            row["task_metadata"]["recoveries"] == 1
            and row["task_metadata"]["steps"] == step
            and [what for what, *_ in asked_of(row)] == ["pause", "resume"]
        )

    await eventually(shown, timeout=10)
    book.let_all()
    await completes(api, task_id)


async def test_a_run_killed_after_its_last_step_repeats_none(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(2)
    book.let(1)
    task_id = await submit(api, book.task)
    await book.until_asked(2)
    process = psutil.Process(await pid_of(prefect, task_id))
    file = CheckpointFile(stack.settings.workspace_dir, task_id)
    book.let(2)

    async def shown() -> bool:
        found = await published(prefect, [UUID(task_id)])
        return UUID(task_id) in found and found[UUID(task_id)].report_path is not None

    await eventually(shown, timeout=10, pause=0.001)
    process.kill()  # between its result and its last state

    row = await completes(api, task_id)
    assert book.asked == [1, 1]
    assert row["task_result"].count("Text of page") == 2
    assert row["task_metadata"]["steps"] == 2

    async def forgotten() -> bool:
        return file.load() is None  # after its last state

    await eventually(forgotten, timeout=10)


async def test_the_checkpoint_is_kept_until_prefect_knows_the_end(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(2)
    book.let(1)
    task_id = await submit(api, book.task)
    await book.until_asked(2)
    file = CheckpointFile(stack.settings.workspace_dir, task_id)
    assert file.load() is not None
    book.let(2)

    async def forgotten() -> bool:
        return file.load() is None

    await eventually(forgotten, timeout=20, pause=0.001)

    # Whoever dies before has all it needs to end without a step.
    assert (await state_of(prefect, task_id)).is_final()
    await completes(api, task_id)


async def test_a_run_killed_again_and_again_is_given_up(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    task_id = await submit(api, book.task)

    for times in (1, 2, 3):
        await book.until_asked(2, times)
        await kill(prefect, task_id)

    row = await agree(api, prefect, task_id, Status.FAILED)
    assert row["error_message"] == (
        "The run's process was killed by SIGKILL, after it was started again 2 times."
    )
    assert row["task_metadata"]["recoveries"] == 2
    assert book.asked == [1, 3, 0]
    assert "Text of page 1." in row["task_result"]
    assert row["report_path"] is not None
    assert CheckpointFile(stack.settings.workspace_dir, task_id).load() is None


async def test_a_run_that_is_given_up_shows_what_it_had_found_though_no_report_can_be_written(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    task_id = await submit(api, book.task, session_id="full")
    for times in (1, 2, 3):
        await book.until_asked(2, times)
        # What lies there stands for a full disk.
        report = reports_dir(stack.settings.workspace_dir, "full") / report_name(task_id)
        report.mkdir(exist_ok=True)
        await kill(prefect, task_id)

    row = await agree(api, prefect, task_id, Status.FAILED)
    assert "Text of page 1." in row["task_result"]
    assert row["report_path"] is None
    assert CheckpointFile(stack.settings.workspace_dir, task_id).load() is None


async def test_a_run_killed_while_paused_is_paused_again(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(5)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    step = await at_rest(api, book, task_id)
    asked = (await agree(api, prefect, task_id, Status.PAUSED))["task_metadata"]["history"]
    book.let_all()
    before = await kill(prefect, task_id)

    async def another() -> bool:
        return await pid_of(prefect, task_id) != before

    await eventually(another, timeout=20)
    row = await reaches(api, task_id, Status.PAUSED)
    await agree(api, prefect, task_id, Status.PAUSED)
    assert row["task_metadata"]["recoveries"] == 1
    assert sum(book.asked) == step
    # It was kept before it was acknowledged: it is not done anew.
    assert row["task_metadata"]["history"] == asked
    shown = (await api.get("/tasks/detailed-status")).json()
    assert shown["pause_reason"] == "Lunch"

    await done(api, "resume")

    row = await completes(api, task_id)
    assert book.asked == [1] * 5
    assert [one[0] for one in asked_of(row)] == ["pause", "resume"]


async def test_a_paused_run_resumed_in_the_ui_while_its_process_is_dead_goes_on(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(5)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    await at_rest(api, book, task_id)
    worker = stack.part("worker")
    worker.suspend()  # so that it cannot notice at once
    try:
        os.kill(await pid_of(prefect, task_id), signal.SIGKILL)
        await prefect.resume_flow_run(UUID(task_id))
    finally:
        worker.resume()
    book.let_all()

    row = await completes(api, task_id)

    assert book.asked == [1] * 5
    assert row["task_metadata"]["recoveries"] == 1


async def test_instructions_acknowledged_before_the_death_are_followed_once(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book, more = books(3), books(1)
    more.let_all()
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    await at_rest(api, book, task_id)
    await done(api, "add-new-task", reason=more.task)
    await kill(prefect, task_id)
    await eventually(lambda: resumed(api), timeout=30)
    book.let_all()

    row = await completes(api, task_id)

    assert book.asked == [1] * 3
    assert more.asked == [1]
    assert row["task_result"].count(f"> {more.task}") <= 1
    assert [one[0] for one in asked_of(row)].count("add_new_task") == 1


async def resumed(api: httpx.AsyncClient) -> bool:
    """Whether the paused agent could be resumed."""
    return (await api.post("/tasks/resume", timeout=60)).status_code == httpx.codes.OK


@pytest.mark.slow
async def test_a_run_that_no_worker_watches_is_ended_when_its_process_died(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    program = stack.open(sys.executable, "-m", "tests.support.loose_run", book.task)
    await book.until_asked(2)
    (run,) = await loose_holders(prefect)
    await agree(api, prefect, str(run.id), Status.RUNNING)

    program.kill()
    program.wait()

    row = await reaches(api, str(run.id), Status.FAILED, timeout=40)
    assert row["error_message"] == (
        "The run's process was not run by a worker and gives no sign of life."
    )
    assert "Text of page 1." in row["task_result"]
    assert (await run_of(prefect, str(run.id))).state_name == "Failed"


async def test_a_late_process_leaves_the_run_to_the_one_it_was_given_to(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    task_id = await submit(api, book.task)
    await book.until_asked(2)
    late = psutil.Process(await pid_of(prefect, task_id))
    late.suspend()  # as a host that hangs: whoever watches takes it for dead
    run = await run_of(prefect, task_id)
    await prefect.update_flow_run_labels(run.id, {ATTEMPT: 1, RECOVERED_FROM: "Running"})
    given: State[None] = AwaitingRetry(scheduled_time=run.expected_start_time)
    await prefect.set_flow_run_state(run.id, given, force=True)

    async def taken() -> bool:
        now = await run_of(prefect, task_id)
        running = now.state is not None and now.state.is_running()
        return running and now.infrastructure_pid not in {None, str(late.pid)}

    await eventually(taken, timeout=20)
    assert book.asked == [1, 1, 0]  # two never work at once: the new one waits for the lock
    late.resume()

    await book.until_asked(2, times=2)
    await asyncio.to_thread(late.wait, 10)
    book.let_all()
    row = await completes(api, task_id)
    assert book.asked == [1, 2, 1]
    assert row["task_result"].count("Text of page") == 3
