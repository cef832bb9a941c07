"""`vibesurf-blocks run` and `vibesurf-blocks tasks`."""

from __future__ import annotations

import asyncio
import json

import httpx

from tests.support.book import Books
from tests.support.commands import command, program
from tests.support.control import at_rest
from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from tests.support.tasks import Json, reaches, submit
from vibesurf_blocks.stack.ready import free_port
from vibesurf_blocks.tasks import Status


async def test_a_task_is_run_seen_held_told_more_and_followed(
    stack: LiveStack, api: httpx.AsyncClient, books: Books
) -> None:
    book, other = books(4), books(1)
    running = asyncio.create_task(
        program(stack, "run", book.task, "--session", "cli-run", "--json")
    )
    await book.until_asked(1)
    task_id = (await api.get("/tasks/status")).json()["active_task"]["task_id"]
    busy = await command(stack.api, "run", "Say nothing")
    assert busy.code == 1
    assert "another task is currently running" in busy.words
    assert task_id in busy.words
    queued = asyncio.create_task(
        program(stack, "run", other.task, "--enqueue", "--priority", "high")
    )
    follow = asyncio.create_task(program(stack, "tasks", "follow", "--json"))
    rested = await at_rest(api, book, task_id)

    async def waiting() -> list[Json]:
        return list((await command(stack.api, "tasks", "queue", "--json")).json["tasks"])

    (waits,) = await eventually(waiting, timeout=20)
    assert waits["task_metadata"]["priority"] == "high"
    assert waits["task_id"] in (await command(stack.api, "tasks", "queue")).out
    listed = await command(stack.api, "tasks", "list", "--status", "paused")
    assert listed.code == 0
    assert task_id in listed.out
    assert waits["task_id"] not in listed.out
    shown = await command(stack.api, "tasks", "show", task_id)
    assert "cli-run" in shown.out
    assert "Lunch" in shown.out
    told = await command(stack.api, "tasks", "tell", book.url(1), "--task", task_id, "--json")
    assert told.json["new_task"] == book.url(1)
    resumed = await command(stack.api, "tasks", "resume")
    assert (resumed.code, resumed.words) == (0, "Task resumed successfully")
    book.let_all()

    done = await running
    assert done.code == 0
    assert (done.json["task_id"], done.json["status"]) == (task_id, "completed")
    lines = [json.loads(line) for line in (await follow).out.splitlines()]
    assert [one["data"]["step"] for one in lines if one["event"] == "acknowledgement"] == (
        [rested] * 3
    )
    assert lines[-1]["event"] == "end"
    rest = await command(stack.api, "tasks", "follow", task_id, "--after", lines[-2]["id"])
    assert rest.code == 0
    assert "pages read" in rest.out

    await other.until_asked(1)
    stopped = await command(stack.api, "tasks", "stop", waits["task_id"], "--reason", "enough")
    assert stopped.words == "Task stopped successfully"
    ended = await queued
    assert ended.code == 3
    assert "stopped: enough" in ended.words


async def test_the_exit_code_is_that_of_the_task(stack: LiveStack) -> None:
    failed = await command(stack.api, "run", "No address")
    assert failed.code == 1
    assert "failed: The task names no page to read" in failed.words


async def test_run_goes_on_following_while_the_api_is_started_again(
    stack: LiveStack, api: httpx.AsyncClient, books: Books
) -> None:
    from tests.integration.control.test_parts_die import answers, kill_part

    book = books(2)
    running = asyncio.create_task(program(stack, "run", book.task))
    await book.until_asked(1)
    book.let(1)
    await book.until_asked(2)
    await kill_part(stack, "api")
    await answers(f"{stack.api}/tasks/status")
    book.let_all()
    said = await running
    assert said.code == 0
    for page in (1, 2):
        assert said.err.count(f"step {page}: Read {book.url(page)}") == 1


async def test_what_cannot_be_done_is_said_in_words(
    stack: LiveStack, api: httpx.AsyncClient, books: Books
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for words, code, sentence in (
        (["tasks", "show", "nix"], 1, "No task has the id nix"),
        (["tasks", "follow", "nix"], 1, "No task has the id nix"),
        (["tasks", "follow"], 1, "No active task to follow"),
        (["tasks", "pause"], 1, "No active task to pause"),
        (["tasks", "stop", "[b]ä"], 1, "No task has the id [b]ä"),
        (["tasks", "tell", " "], 1, "The instruction is empty"),
        (["tasks", "list", "--cursor", "x"], 1, "The cursor is not one that a page gave"),
        (["tasks", "list", "--status", "nope"], 2, "Invalid value for '--status'"),
        (["run", "x", "--session", "../x"], 2, "session_id: Value error, must be one path segment"),
        (["run", "x", "--profile", "nope"], 1, "LLM profile 'nope' does not exist"),
    ):
        said = await command(stack.api, *words)
        assert (said.code, sentence in said.words) == (code, True), said
    for words in (["tasks", "list"], ["tasks", "follow"], ["run", "x"], ["schedules", "list"]):
        said = await command(nobody, *words)
        assert said.code == 2
        assert f"No API answers at {nobody}" in said.words


async def test_a_shell_completes_ids(stack: LiveStack, api: httpx.AsyncClient) -> None:
    task_id = await submit(api, "No address")
    await reaches(api, task_id, Status.FAILED)
    asked = {
        "COMP_WORDS": f"vibesurf-blocks tasks show {task_id[:6]}",
        "COMP_CWORD": "3",
        "_VIBESURF_BLOCKS_COMPLETE": "complete_bash",
    }
    assert task_id in (await program(stack, **asked)).out
    nobody = f"http://127.0.0.1:{free_port()}"
    assert (await program(stack, VIBESURF_API_URL=nobody, **asked)).words == ""


async def test_json_of_a_list_is_the_answer_of_the_api(
    stack: LiveStack, api: httpx.AsyncClient
) -> None:
    task_id = await submit(api, "No address, ünïcode \u2028 too")
    await reaches(api, task_id, Status.FAILED)
    said = await command(stack.api, "tasks", "list", "--limit", "1", "--json")
    assert said.json == (await api.get("/tasks", params={"limit": 1})).json()
