"""`GET /tasks/{task_id}/events`: cut and continued, nothing is missing or comes twice."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.integration.control.test_parts_die import answers, kill_part
from tests.support.book import Books
from tests.support.control import at_rest, done, pid_of, queue
from tests.support.eventually import eventually
from tests.support.sse import Sent, events, everything
from tests.support.stack import LiveStack
from tests.support.tasks import completes, ends, reaches, submit
from vibesurf_blocks.tasks import Status

CLIENTS = 100


async def test_a_run_is_told_while_it_runs(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    """Its states, steps and acknowledgements, and when `end` comes its row stands."""
    book = books(6)
    book.let(1)
    task_id = await submit(api, book.task)
    seen: list[Sent] = []

    async def follow() -> None:
        async for one in events(f"{stack.api}/api", task_id):
            seen.append(one)
            if one.kind == "step" and one.data["number"] == 1:
                first.set()

    first = asyncio.Event()
    following = asyncio.create_task(follow())
    async with asyncio.timeout(30):
        await first.wait()  # told while the second page is still held back
    assert book.held_back([3, 4, 5, 6])
    rested = await at_rest(api, book, task_id, "lunch")
    assert (await done(api, "add-new-task", None, book.url(1)))["success"]
    await done(api, "resume")
    book.let_all()
    row = await completes(api, task_id)
    async with asyncio.timeout(30):
        await following

    assert [one.data["number"] for one in seen if one.kind == "step"] == list(
        range(1, row["task_metadata"]["steps"] + 1)
    )
    assert next(one.data for one in seen if one.kind == "step")["name"].startswith("Read http")
    acks = [one.data for one in seen if one.kind == "acknowledgement"]
    assert [(one["operation"], one["reason"], one["step"]) for one in acks] == [
        ("pause", "lunch", rested),
        ("add_new_task", book.url(1), rested),
        ("resume", None, rested),
    ]
    statuses = [one.data["status"] for one in seen if one.kind == "state"]
    assert statuses[0] == "pending"
    assert statuses[-4:] == ["running", "paused", "running", "completed"]
    assert seen[-1].kind == "end"
    assert seen[-1].data["status"] == "completed"
    assert seen[-1].data["report_path"] == row["report_path"]
    assert len({one.id for one in seen}) == len(seen)
    # Who asks later is told the same, and who has it all is told that there is no more.
    again = await everything(stack.api, task_id)
    assert sorted(one.what for one in again) == sorted(one.what for one in seen)
    for has_all in (again[-1].id, seen[-1].id):
        answer = await api.get(f"/tasks/{task_id}/events", params={"after": has_all})
        assert (answer.status_code, answer.content) == (204, b"")


async def test_cut_at_any_place_and_continued_nothing_is_missing_or_comes_twice(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    books: Books,
    second_api: str,
) -> None:
    """With two processes of the API in turn, one of them killed, and the run's process killed."""
    import psutil

    book = books(8)
    task_id = await submit(api, book.task)
    had: list[Sent] = []
    bases = [stack.api, second_api]

    async def follow() -> None:
        turn = 0
        while not had or had[-1].kind != "end":
            turn += 1
            try:
                # One event of each connection, and what comes with it is lost on the way.
                async for one in events(bases[turn % 2], task_id, had[-1].id if had else None):
                    had.append(one)
                    break
            except (httpx.TransportError, AssertionError):
                await asyncio.sleep(0.05)

    following = asyncio.create_task(follow())
    book.let(1, 2)
    await book.until_asked(3)
    psutil.Process(await pid_of(prefect, task_id)).kill()
    await book.until_asked(3, times=2)
    book.let(3, 4)
    await book.until_asked(5)
    await kill_part(stack, "api")
    await answers(f"{stack.api}/tasks/status")
    await at_rest(api, book, task_id, "lunch")
    await done(api, "resume", task_id)
    book.let_all()
    await completes(api, task_id, timeout=60)
    async with asyncio.timeout(60):
        await following

    fresh = await everything(second_api, task_id)
    assert Counter(one.what for one in had) == Counter(one.what for one in fresh)
    numbers = [one.data["number"] for one in fresh if one.kind == "step"]
    assert numbers == list(range(1, 9))
    assert [one.data["operation"] for one in fresh if one.kind == "acknowledgement"] == [
        "pause",
        "resume",
    ]
    assert [one.kind for one in had].count("end") == 1


async def test_a_hundred_clients_hurt_nobody_and_leave_nothing(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    import psutil

    book = books(3)
    book.let(1)
    task_id = await submit(api, book.task)
    told: Counter[int] = Counter()

    async def follow(number: int) -> None:
        async for one in events(stack.api, task_id):
            told[number] += one.kind == "step"

    process = psutil.Process(stack.part("api").pid)

    def clients() -> int:
        return sum(
            bool(one.raddr) and one.laddr.port == stack.port
            for one in process.net_connections("tcp")
        )

    before = clients()
    following = [asyncio.create_task(follow(number)) for number in range(CLIENTS)]
    try:
        async with asyncio.timeout(60):
            while len([one for one in told.values() if one]) < CLIENTS:
                await asyncio.sleep(0.02)
                answer = await api.get("/tasks/status", timeout=5)
                assert answer.json()["active_task"]["task_id"] == task_id
    finally:
        for one in following:
            one.cancel()
        await asyncio.gather(*following, return_exceptions=True)

    async def gone() -> bool:
        return clients() <= before + 3

    await eventually(gone, timeout=20)
    book.let_all()
    await completes(api, task_id)


@pytest.mark.slow
async def test_ends_of_every_kind_are_told(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    """Stopped with the step where it took effect, withdrawn while waiting, failed, deleted."""
    from uuid import UUID

    book = books(3)
    book.let(1)
    active = await submit(api, book.task)
    await book.until_asked(2)
    waiting = await queue(prefect, book.task, "s-waits")
    await reaches(api, waiting, Status.PENDING)
    await done(api, "stop", waiting, "not needed")
    told = await everything(stack.api, waiting)
    assert [one.kind for one in told][-1] == "end"
    assert (told[-1].data["status"], told[-1].data["error_message"]) == ("stopped", "not needed")

    await done(api, "stop", active, "enough")
    told = await everything(stack.api, active)
    (ack,) = [one.data for one in told if one.kind == "acknowledgement"]
    assert (ack["operation"], ack["reason"], ack["step"]) == ("stop", "enough", 1)
    assert (told[-1].kind, told[-1].data["status"]) == ("end", "stopped")

    failing = await submit(api, "No address at all")
    await ends(api, failing)
    told = await everything(stack.api, failing)
    assert told[-1].data["status"] == "failed"
    assert "names no page" in told[-1].data["error_message"]

    await prefect.delete_flow_run(UUID(failing))
    (only,) = await everything(stack.api, failing)
    assert (only.kind, only.data["status"]) == ("end", "failed")


@pytest.mark.parametrize("task_id", ["nix", "00000000-0000-4000-8000-000000000000", "ü" * 20])
async def test_an_unknown_id_is_not_found(api: httpx.AsyncClient, task_id: str) -> None:
    for path in (f"/tasks/{task_id}/events", f"/api/tasks/{task_id}/events"):
        answer = await api.get(path)
        assert answer.status_code == 404
        assert answer.json() == {"detail": f"No task has the id {task_id}"}


@pytest.mark.parametrize("after", ["x", "1", "-1~.0.0", "1~zz.0.0", "1~.0.0.0", "٣~.0.0", "\x00"])
async def test_an_id_that_no_event_had_is_refused(
    stack: LiveStack, api: httpx.AsyncClient, after: str
) -> None:
    task_id = (await api.get("/tasks", params={"limit": 1})).json()["tasks"][0]["task_id"]
    answer = await api.get(f"/tasks/{task_id}/events", params={"after": after})
    assert answer.status_code == 400
    assert "no event with this id" in answer.json()["detail"]
