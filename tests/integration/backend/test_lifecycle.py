"""A task on a VibeSurf backend has the guarantees of any other: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient

from tests.support.backends import SECRET, BackendServer, backend_profile
from tests.support.control import (
    agree,
    asked_of,
    done,
    kill,
    next_process,
    pid_of,
    press_pause,
    queue,
    refused,
)
from tests.support.eventually import eventually
from tests.support.profiles import edit
from tests.support.stack import LiveStack
from tests.support.tasks import Json, body, completes, ends, reaches, row_of, submit
from vibesurf_blocks.run.slot_lock import idle_session
from vibesurf_blocks.tasks import MASK, Status

TASK = "Order the red socks"


async def shows(api: httpx.AsyncClient, task_id: str, step: str) -> None:
    """Wait until the task shows a step."""
    last: Json | None = None

    async def there() -> bool:
        nonlocal last
        last = (await api.get("/tasks/detailed-status")).json()
        assert last is not None
        moves = last["vibesurf_status"]
        return bool(last["task_id"] == task_id and moves["active_step"] == step)

    try:
        await eventually(there, timeout=40)
    except TimeoutError as error:
        raise AssertionError(f"never shows {step!r}: {last}") from error


async def test_a_task_has_its_whole_life_on_the_backend(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    server: BackendServer,
    profile: str,
) -> None:
    task_id = await submit(api, TASK, llm_profile_name=profile)
    await server.until_taken()
    await server.moves("Open the shop", 20)
    await shows(api, task_id, "Open the shop")

    # A step under way there holds no command up, and what is acknowledged has happened there.
    await done(api, "pause", task_id, "Lunch")
    await agree(api, prefect, task_id, Status.PAUSED)
    assert (await server.task())["status"] == "paused"
    await done(api, "add-new-task", task_id, "The blue ones too")
    assert await server.asked("add-new-task") == [{"reason": "The blue ones too"}]
    await server.be(refuses=["resume"])
    assert "answered 500" in await refused(api, "resume", task_id, status=503)
    await agree(api, prefect, task_id, Status.PAUSED)
    await server.be(refuses=[])

    # Killed while it rests, it rests again; what the backend has is never submitted again.
    process = psutil.Process(before := await pid_of(prefect, task_id))
    process.kill()

    async def another() -> bool:
        return await pid_of(prefect, task_id) != before

    await eventually(another, timeout=40)
    await reaches(api, task_id, Status.PAUSED)
    await done(api, "resume", task_id)
    assert (await server.task())["status"] == "running"

    # The UI's pause ends the process, and the agent there rests until Resume.
    await server.moves("Look for socks", 40)
    await shows(api, task_id, "Look for socks")
    await press_pause(prefect, task_id)

    await server.until("paused")
    await eventually(lambda: _gone(stack), timeout=40)
    await done(api, "resume", task_id)

    # The backend dies and comes back with its task.
    await server.until("running")
    await server.kill()
    await shows(api, task_id, "The VibeSurf backend does not answer")
    await server.start()
    await server.moves("Pay", 80)
    await shows(api, task_id, "Pay")
    await server.ends(result=f"Both are ordered. {SECRET}", report_path="/there/report.html")

    row = await completes(api, task_id)
    assert row["task_result"].startswith("Both are ordered. ***")
    assert "/there/report.html" in row["task_result"]
    assert [one[0] for one in asked_of(row)] == [
        "pause",
        "add_new_task",
        "resume",
        "resume",
    ], asked_of(row)
    assert (await server.state())["tasks"] == 1
    report = await asyncio.to_thread(Path(row["report_path"]).read_text)
    assert "The VibeSurf backend does not answer" in report
    assert "The blue ones too" in report
    for shown in (report, stack.said(), str(row), str(await row_of(api, task_id))):
        assert SECRET not in shown


async def _gone(stack: LiveStack) -> bool:
    return not await asyncio.to_thread(stack.parts, "run")


@pytest.mark.slow
async def test_stop_reaches_the_backend_even_when_nobody_follows_any_more(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    server: BackendServer,
    profile: str,
) -> None:
    task_id = await submit(api, TASK, llm_profile_name=profile)
    await server.until_taken()
    await shows(api, task_id, "The task is running on the backend")
    await done(api, "stop", task_id, "Seen enough")
    assert (await server.task())["stop_reason"] is not None
    row = await agree(api, prefect, task_id, Status.STOPPED)
    assert row["error_message"] == "Seen enough"
    assert row["task_result"].startswith("What it had so far.")

    # A run that reaches a limit stops its task there too.
    task_id = await submit(api, TASK, llm_profile_name=profile, max_steps=2)
    row = await ends(api, task_id)
    assert "max_steps" in row["error_message"]
    assert len(await server.asked("stop")) == 2

    # And one whose process is dead for good.
    task_id = await queue(
        prefect, TASK, "s-1", job_variables={"max_recoveries": 0}, llm_profile_name=profile
    )
    await shows(api, task_id, "The task is running on the backend")
    psutil.Process(await pid_of(prefect, task_id)).kill()
    row = await ends(api, task_id)
    assert row["status"] == Status.FAILED
    assert row["task_result"].startswith("What it had so far.")
    assert len(await server.asked("stop")) == 3

    # And one that is cancelled while it is suspended and has no process at all.
    task_id = await submit(api, TASK, llm_profile_name=profile)
    await shows(api, task_id, "The task is running on the backend")
    await press_pause(prefect, task_id)
    await server.until("paused")
    await eventually(lambda: _gone(stack), timeout=40)
    await done(api, "stop", task_id)
    await server.until("completed")
    assert len(await server.asked("stop")) == 4


async def test_a_backend_that_is_lost_fails_the_task_with_a_reason(
    api: httpx.AsyncClient, prefect: PrefectClient, server: BackendServer, profile: str
) -> None:
    task_id = await submit(api, TASK, llm_profile_name=profile)
    await server.until_taken()
    await shows(api, task_id, "The task is running on the backend")
    await server.kill()
    await server.start(forgetful=True)
    row = await ends(api, task_id)
    assert row["status"] == Status.FAILED
    assert "knows nothing of task" in row["error_message"]

    async def declined(name: str) -> str:
        answer = await api.post("/tasks/submit", json=body(TASK, llm_profile_name=name))
        said: Json = answer.json()
        assert (said["success"], said["error"]) == (False, "llm_connection_failed"), said
        assert SECRET not in answer.text
        return str(said["message"])

    # What the submit check says of a backend.
    await server.be(html=True)
    assert "instead of its API's JSON" in await declined(profile)
    await server.be(html=False, api_key="another")
    assert "refused the credentials" in await declined(profile)
    await server.kill()
    assert "cannot be reached" in await declined(profile)
    async with backend_profile(prefect, "no address", base_url="nowhere"):
        assert "base_url: must be an http" in await declined("no address")


async def test_a_stop_that_cannot_reach_the_backend_of_old_says_so(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, server: BackendServer
) -> None:
    async with backend_profile(prefect, "It moves", base_url=server.url) as document:
        task_id = await submit(api, TASK, session_id="moves", llm_profile_name="It moves")
        await server.until_taken()
        await shows(api, task_id, "The task is running on the backend")
        key = "a key/of the new one"
        await edit(prefect, document, base_url=f"{server.url}/{quote(key, safe='')}", api_key=key)
        before = await kill(prefect, task_id)
        # Its next process does not go on yet.
        with idle_session(stack.settings.workspace_dir, "moves") as idle:
            assert idle
            await next_process(prefect, task_id, before)
            await done(api, "stop", task_id, "Seen enough")
            row = await agree(api, prefect, task_id, Status.STOPPED)
    reason, _, trouble = row["error_message"].partition(" The task was handed to ")
    assert reason == "Seen enough"
    assert trouble.endswith(
        f"its block now names {server.url}/{MASK}. Stop it there, and run it anew."
    )
    assert await server.asked("stop") == []
