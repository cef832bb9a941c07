"""A list of tasks as one run: its children, its table, its death and its end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled

from tests.support.batches import (
    BATCH_SECONDS,
    child_of,
    children,
    finishes,
    kill,
    pages,
    shown,
    start,
)
from tests.support.book import Books
from tests.support.control import done, pid_of, press_pause
from tests.support.eventually import eventually, slowness
from tests.support.site import Site
from tests.support.stack import LiveStack
from vibesurf_blocks.prefect_api.parent_artifacts import SUMMARY_KEY, TABLE_KEY
from vibesurf_blocks.prefect_api.runs import slot_holders
from vibesurf_blocks.tasks import Status

pytestmark = pytest.mark.timeout(300)


BATCH = "batch/batch"
DONE = StateType.COMPLETED
SLOT_FREE_SECONDS = 3.0
"""The promise is 1 s on an idle machine; this one runs the tests as well."""


@asynccontextmanager
async def slots(prefect: PrefectClient, pool: str, number: int) -> AsyncIterator[None]:
    """Let so many agents run at once while the block lasts."""
    await prefect.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=number))
    try:
        yield
    finally:
        await prefect.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=1))


@pytest.mark.parametrize(
    "size", [pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(300)]), 4]
)
async def test_a_batch_killed_halfway_and_run_again_runs_each_task_once(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books, size: int
) -> None:
    book = books(size)
    half = size // 2
    book.let(*range(1, half))
    items = [f"Read {book.url(page)}" for page in range(1, size + 1)]
    session = f"killed-{size}"
    run = await start(prefect, BATCH, session_id=session, items=items)
    await book.until_asked(half, timeout=120)

    await kill(prefect, run.id)
    await kill(prefect, (await child_of(prefect, run, str(half))).run.id)
    book.let_all()

    ended = await finishes(prefect, run, timeout=240)
    assert ended.state is not None
    assert ended.state.message == f"All {size} items completed."
    expected = [(str(number), DONE) for number in range(1, size + 1)]
    assert await children(prefect, run) == expected
    cut_off = [2 if page == half else 1 for page in range(1, size + 1)]
    assert book.asked == cut_off
    rows = (await api.get("/tasks", params={"session_id": session})).json()["tasks"]
    assert [row["status"] for row in rows] == [Status.COMPLETED] * size
    assert {row["task_metadata"]["parent_task_id"] for row in rows} == {str(run.id)}
    artifacts = await shown(prefect, run)
    table = json.loads(artifacts[TABLE_KEY])
    assert {row["task_id"] for row in table} == {row["task_id"] for row in rows}
    assert all(row["status"] == "completed" and row["report"] for row in table)
    assert f"**{size} of {size} completed**" in artifacts[SUMMARY_KEY]
    assert artifacts[SUMMARY_KEY].count("[report](file:///") == size


async def test_a_stop_ends_the_child_that_runs_and_starts_no_other(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    items = [f"Read {book.url(page)}" for page in range(1, 4)]
    run = await start(prefect, BATCH, session_id="stopped", items=items)
    await book.until_asked(1)

    begun = time.monotonic()
    stopping = asyncio.create_task(done(api, "stop", str(run.id), "Enough"))

    async def free() -> bool:
        return not await slot_holders(prefect, stack.settings.pool)

    await eventually(free, timeout=20, pause=0.02)
    took = time.monotonic() - begun
    await stopping

    ended = await finishes(prefect, run)
    assert ended.state is not None
    assert (ended.state.type, ended.state.message) == (StateType.CANCELLED, "Enough")
    assert await children(prefect, run) == [("1", StateType.CANCELLED)]
    assert book.held_back((2, 3))
    rows = (await api.get("/tasks", params={"session_id": "stopped"})).json()["tasks"]
    assert [row["status"] for row in rows] == [Status.STOPPED]
    assert rows[0]["error_message"] == f"Stopped with {run.name}."
    assert took < SLOT_FREE_SECONDS * slowness()


async def test_a_child_ends_with_a_batch_that_was_cancelled_without_a_process(
    prefect: PrefectClient, books: Books
) -> None:
    book = books(2)
    items = [f"Read {book.url(page)}" for page in range(1, 3)]
    run = await start(prefect, BATCH, session_id="forsaken", items=items)
    await book.until_asked(1)

    # As where the batch's process died and its worker is away: nobody is left to see to the child.
    await prefect.set_flow_run_state(run.id, Cancelled(message="Away with it"), force=True)

    child = await child_of(prefect, run, "1")
    state = (await finishes(prefect, child.run)).state
    assert state is not None
    assert state.type is StateType.CANCELLED
    # Prefect's server looks after such children too, every few seconds, and may be the first.
    assert state.message in {f"Stopped with {run.name}.", "The parent flow run was cancelled."}
    assert await children(prefect, run) == [("1", StateType.CANCELLED)]


@pytest.mark.slow
async def test_a_batch_stops_at_a_failure_and_a_retry_runs_what_is_missing(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    first, third = pages(site, "first", "third")
    second = {"id": "second", "task_description": f"Read {site.url('/second')}"}  # not there yet
    run = await start(
        prefect,
        BATCH,
        session_id="again",
        items=[first, second, third],
        on_failure="stop",
        retries=1,
    )
    ended = await finishes(prefect, run)
    assert ended.state is not None
    assert ended.state.type is StateType.FAILED
    assert (
        ended.state.message == "1 of 3 items completed (1 pending, 1 completed, 1 failed). "
        "It stopped at the first failure. Retry runs what is missing."
    )
    failed = ("second", StateType.FAILED)
    begun = [("first", DONE), failed, failed]
    assert await children(prefect, run) == begun

    site.html("/second", "<p>Text of second.</p>")
    again = await api.post(f"/tasks/batch/{run.id}/retry")
    assert again.status_code == 200, again.text

    async def all_made() -> bool:
        return len(await children(prefect, run)) == 5

    await eventually(all_made, timeout=BATCH_SECONDS)
    ended = await finishes(prefect, run)
    assert ended.state is not None
    assert ended.state.message == "All 3 items completed."
    assert await children(prefect, run) == [*begun, ("second", DONE), ("third", DONE)]
    assert [site.hits[path] for path in ("/first", "/third")] == [1, 1]


@pytest.mark.slow
async def test_a_batch_paused_in_the_ui_starts_nothing_until_it_is_resumed(
    prefect: PrefectClient, books: Books
) -> None:
    book = books(2)
    items = [f"Read {book.url(page)}" for page in range(1, 3)]
    run = await start(prefect, BATCH, session_id="paused", items=items)
    await book.until_asked(1)
    process = psutil.Process(await pid_of(prefect, str(run.id)))

    # What the UI's Pause button sends.
    await press_pause(prefect, str(run.id))
    await asyncio.to_thread(process.wait, 30)
    book.let_all()
    first = await child_of(prefect, run, "1")
    assert (await finishes(prefect, first.run)).state_type is DONE  # what runs comes to its end
    assert await children(prefect, run) == [("1", DONE)]
    state = (await prefect.read_flow_run(run.id)).state
    assert state is not None
    assert state.name == "Suspended"

    await prefect.resume_flow_run(run.id)
    ended = await finishes(prefect, run)
    assert ended.state is not None
    assert ended.state.message == "All 2 items completed."
    assert book.asked == [1, 1]


@pytest.mark.slow
async def test_parallel_items_run_in_sessions_of_their_own_up_to_the_slots(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    items = "\n".join(f"- Read {book.url(page)}" for page in range(1, 4))
    uploads = stack.settings.workspace_dir / "lanes" / "uploads"
    uploads.mkdir(parents=True)
    (uploads / "items.yaml").write_text(items)
    async with slots(prefect, stack.settings.pool, 2):
        run = await start(
            prefect, BATCH, session_id="lanes", items_file="items.yaml", mode="parallel"
        )
        await book.until_asked(1)
        await book.until_asked(2)
        assert book.held_back([3])
        book.let_all()
        ended = await finishes(prefect, run)
    assert ended.state is not None
    assert ended.state.message == "All 3 items completed."
    rows = (await api.get("/tasks", params={"limit": 100})).json()["tasks"]
    ours = [row for row in rows if row["task_metadata"]["parent_task_id"] == str(run.id)]
    assert {row["session_id"] for row in ours} == {"lanes-1", "lanes-2"}
