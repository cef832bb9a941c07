"""Instructions reach the next step: all of them, in the order they were given, none twice."""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient

from tests.support.book import Books
from tests.support.control import agree, ask, asked_of, at_rest, done
from tests.support.eventually import eventually
from tests.support.tasks import completes, row_of, submit
from vibesurf_blocks.prefect_api import commands
from vibesurf_blocks.tasks import DESCRIPTION_LIMIT, Status


async def test_an_instruction_is_followed_from_the_next_step_on(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book, more = books(2), books(1)
    more.let_all()
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    instructing = asyncio.create_task(done(api, "add-new-task", reason=more.task))
    await eventually(partial(commands.waiting, prefect, UUID(task_id), ()), timeout=10)
    assert not instructing.done()  # no answer before the agent has it
    book.let_all()

    said = await instructing

    assert said["new_task"] == more.task
    row = await completes(api, task_id)
    ((operation, text, step),) = asked_of(row)
    assert (operation, text) == ("add_new_task", more.task)
    assert row["task_metadata"]["history"][0]["outcome"] == f"Seen from step {step + 1} on."
    assert more.asked == [1]
    assert book.asked == [1, 1]
    assert more.task in row["task_result"]


async def test_an_instruction_while_paused_is_seen_on_resume(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book, more = books(3), books(1)
    more.let_all()
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    step = await at_rest(api, book, task_id)

    await done(api, "add-new-task", reason=more.task)

    row = await agree(api, prefect, task_id, Status.PAUSED, timeout=1)
    assert more.asked == [0]
    assert sum(book.asked) == step
    book.let_all()
    await done(api, "resume")
    row = await completes(api, task_id)
    assert [one[0] for one in asked_of(row)] == ["pause", "add_new_task", "resume"]
    assert more.asked == [1]


async def test_an_instruction_between_submit_and_the_first_step(
    api: httpx.AsyncClient, books: Books
) -> None:
    book, more = books(1), books(1)
    more.let_all()
    task_id = await submit(api, book.task)
    instructing = asyncio.create_task(done(api, "add-new-task", reason=more.task))
    await book.until_asked(1)
    book.let_all()
    await asyncio.wait({instructing})
    if instructing.exception() is None:
        await completes(api, task_id)
        assert more.asked == [1]


async def test_ten_instructions_at_once(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(2)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    await at_rest(api, book, task_id)
    sentences = [f"Mind the number {number}." for number in range(10)]

    answers = await asyncio.gather(
        *(ask(api, "add-new-task", task_id, sentence) for sentence in sentences)
    )

    assert [one.status_code for one in answers] == [200] * 10
    book.let_all()
    await done(api, "resume")
    row = await completes(api, task_id)
    given = [one for one in row["task_metadata"]["history"] if one["operation"] == "add_new_task"]
    assert sorted(one["reason"] for one in given) == sentences
    assert [one["asked_at"] for one in given] == sorted(one["asked_at"] for one in given)
    assert [row["task_result"].count(sentence) for sentence in sentences] == [1] * 10


async def test_instructions_one_after_another_keep_their_order(
    api: httpx.AsyncClient, books: Books
) -> None:
    book = books(2)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    await at_rest(api, book, task_id)
    sentences = [f"Then do {word}." for word in ("this", "that", "something else")]

    for sentence in sentences:
        await done(api, "add-new-task", reason=sentence)

    book.let_all()
    await done(api, "resume")
    row = await completes(api, task_id)
    texts = [text for operation, text, _ in asked_of(row) if operation == "add_new_task"]
    assert texts == sentences
    places = [row["task_result"].index(sentence) for sentence in sentences]
    assert places == sorted(places)


async def test_an_instruction_to_a_run_that_just_ends_is_heeded_or_refused(
    api: httpx.AsyncClient, books: Books
) -> None:
    book, more = books(1), books(1)
    more.let_all()
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    book.let_all()

    answer = await ask(api, "add-new-task", task_id, more.task)

    row = await completes(api, task_id)
    assert answer.status_code in {200, 400}, answer.text
    assert more.asked == [1 if answer.status_code == 200 else 0]
    if answer.status_code == 400:
        assert answer.json()["detail"] == "No active task to add new instruction to"
        assert asked_of(row) == []


async def test_the_longest_instruction_is_taken_whole(api: httpx.AsyncClient, books: Books) -> None:
    book, more = books(2), books(1)
    more.let_all()
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    await at_rest(api, book, task_id)
    long = more.task + " " + "x" * (DESCRIPTION_LIMIT - len(more.task) - 1)

    await done(api, "add-new-task", reason=long)

    book.let_all()
    await done(api, "resume")
    await completes(api, task_id)
    assert more.asked == [1]
    row = await row_of(api, task_id)
    assert row is not None
    assert asked_of(row)[1][1] == long
