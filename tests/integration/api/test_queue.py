"""Tasks that wait for the slot: in order, by priority, listed, withdrawn, and one at a time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from tests.integration.control.test_slots import PAGE_SECONDS, spans
from tests.support.book import Books
from tests.support.control import done
from tests.support.site import Site
from tests.support.tasks import body, completes, row_of, submit
from tests.support.turnstile import Turnstile

Json = dict[str, Any]


async def enqueue(
    api: httpx.AsyncClient, task: str, *, key: str | None = None, **more: object
) -> Json:
    """Submit a task that may wait; the answer."""
    request = body(task, on_busy="enqueue", **more)
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = await api.post("/tasks/submit", json=request, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    said: Json = answer.json()
    assert (said["success"], said["status"]) == (True, "submitted"), said
    return said


async def waiting(api: httpx.AsyncClient) -> list[str]:
    """The ids of the tasks that wait, as the API lists them."""
    said = (await api.get("/tasks/queue", params={"limit": 500})).json()
    assert [one["position"] for one in said["tasks"]] == list(range(1, len(said["tasks"]) + 1))
    assert said["total_count"] == len(said["tasks"])
    return [one["task_id"] for one in said["tasks"]]


@pytest.mark.slow
async def test_tasks_wait_by_priority_and_in_the_order_they_were_asked_for(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site, books: Books
) -> None:
    book, meter = books(2), Turnstile(site, PAGE_SECONDS)
    active = await submit(api, book.task)
    await book.until_asked(1)
    asked = ["normal", "low", "normal", "high", "normal"]
    said = [
        await enqueue(api, meter.task(number), priority=priority)
        for number, priority in enumerate(asked)
    ]
    ids = [one["task_id"] for one in said]
    assert [one["queued"] for one in said] == [True] * 5
    assert [one["position"] for one in said] == [1, 2, 2, 1, 4]
    for task_id in ids:
        row = await row_of(api, task_id)
        assert row is not None
        assert (row["status"], row["started_at"]) == ("pending", None)
    assert await waiting(api) == [ids[number] for number in (3, 0, 2, 4, 1)]
    part = (await api.get("/tasks/queue", params={"limit": 2, "offset": 1})).json()
    assert [(one["task_id"], one["position"]) for one in part["tasks"]] == [
        (ids[0], 2),
        (ids[2], 3),
    ]
    status = (await api.get("/tasks/status")).json()
    assert status["active_task"]["task_id"] == active

    await done(api, "stop", ids[2], "not needed")
    withdrawn = await row_of(api, ids[2])
    assert withdrawn is not None
    assert (withdrawn["status"], withdrawn["started_at"]) == ("stopped", None)
    assert withdrawn["error_message"] == "not needed"
    assert await waiting(api) == [ids[number] for number in (3, 0, 4, 1)]

    book.let_all()
    for number in (3, 0, 4, 1):
        await completes(api, ids[number], timeout=60)
    assert meter.order == [3, 0, 4, 1]
    assert meter.most == 1
    assert await waiting(api) == []


@pytest.mark.slow
async def test_a_task_that_waits_takes_the_slot_from_submits_that_do_not(
    api: httpx.AsyncClient, second_api: str, books: Books
) -> None:
    """Also at another process of the API, and at any moment until it has ended."""
    book = books(1)
    async with httpx.AsyncClient(base_url=second_api, trust_env=False, timeout=30) as other:
        for _ in range(3):
            first = await enqueue(api, book.task)
            assert (first["queued"], first["position"]) in {(False, 0), (False, 1)}
            for _ in range(5):
                said = (await other.post("/tasks/submit", json=body("Say nothing"))).json()
                assert said["success"] is False
                assert said["active_task"]["task_id"] == first["task_id"]
            await done(api, "stop", first["task_id"])
    accepted = await submit(api, book.task)
    book.let_all()
    await completes(api, accepted)


@pytest.mark.slow
@pytest.mark.parametrize(("many", "left"), [(20, 2), (50, 50)])
async def test_many_at_once_at_two_processes_all_wait_and_run_one_at_a_time(
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    site: Site,
    books: Books,
    second_api: str,
    many: int,
    left: int,
) -> None:
    book, meter = books(1), Turnstile(site, PAGE_SECONDS)
    active = await submit(api, book.task)
    await book.until_asked(1)
    session = f"many-{many}"
    async with httpx.AsyncClient(base_url=second_api, trust_env=False, timeout=90) as second:
        said = await asyncio.gather(
            *(
                enqueue(
                    api if number % 2 else second,
                    meter.task(number),
                    session_id=session,
                )
                for number in range(many)
            )
        )
        again = await asyncio.gather(
            *(enqueue(one, "Again", session_id=session, key=session) for one in [api, second] * 3)
        )
    ids = [one["task_id"] for one in said]
    same = {one["task_id"] for one in again}
    assert len(set(ids)) == many
    assert len(same) == 1
    rows = (await api.get("/tasks", params={"session_id": session, "status": "pending"})).json()
    assert rows["total_count"] == many + 1
    assert set(await waiting(api)) == {*ids, *same}

    kept = [one for one in await waiting(api) if one in ids][:left]
    gone = [one for one in [*ids, *same] if one not in kept]
    limit = asyncio.Semaphore(16)

    async def withdraw(task_id: str) -> None:
        async with limit:
            await done(api, "stop", task_id)

    await asyncio.gather(*(withdraw(one) for one in gone))
    assert await waiting(api) == kept
    book.let_all()
    await completes(api, active)
    for task_id in kept:
        await completes(api, task_id, timeout=90)
    assert meter.most == 1
    assert meter.order == [ids.index(one) for one in kept]
    held = await spans(prefect, kept)
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(held))


@pytest.mark.parametrize(
    "wrong", [{"on_busy": "wait"}, {"priority": "urgent"}, {"priority": 1}, {"on_busy": None}]
)
async def test_what_cannot_be_is_refused(api: httpx.AsyncClient, wrong: Json) -> None:
    answer = await api.post("/tasks/submit", json=body("Say nothing", **wrong))
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", next(iter(wrong))]


async def test_a_key_is_for_one_body(api: httpx.AsyncClient) -> None:
    first = await enqueue(api, "Say nothing", key="queue-one-body")
    other = body("Say something", on_busy="enqueue")
    answer = await api.post(
        "/tasks/submit", json=other, headers={"Idempotency-Key": "queue-one-body"}
    )
    assert answer.status_code == 400
    assert "another body" in answer.json()["detail"]
    again = await enqueue(api, "Say nothing", key="queue-one-body")
    assert again["task_id"] == first["task_id"]
