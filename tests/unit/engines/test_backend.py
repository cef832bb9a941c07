"""The backend engine over HTTP: a task is followed to its end, and does what is asked of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.backends import SECRET, BackendServer
from tests.support.eventually import eventually
from tests.unit.engines.handing import TASK, again, engine_at, handed_over, until_ended
from vibesurf_blocks.errors import EngineError

TOKEN = "mcp-t0ken-of-the-task"


async def test_a_task_is_handed_over_followed_and_reported(server: BackendServer) -> None:
    await server.be(api_key=SECRET)
    servers = {"files": {"command": "mcp-files", "env": {"FILES_TOKEN": TOKEN}}}
    engine = await handed_over(server, servers=servers)
    (body,) = await server.asked("submit")
    assert body == {
        "session_id": "s-1",
        "task_description": TASK,
        "llm_profile_name": "remote",
        "upload_files_path": None,
        "mcp_server_config": {
            "mcpServers": {
                "files": {"command": "mcp-files", "args": [], "env": {"FILES_TOKEN": TOKEN}}
            }
        },
        "agent_mode": "flash",
    }
    await server.moves(f"Open the shop with {SECRET}", 40)
    first = await engine.step()
    await server.moves("Look at the socks", 20)
    second = await engine.step()
    # A few percent alone are no step.
    await server.moves("Look at the socks", 45)
    going_on = asyncio.create_task(engine.step())
    engine.hurry()
    assert (await going_on).name == "Still at: Look at the socks"
    result = f"Ordered.\x00 The key is {SECRET}, the token {TOKEN}."
    await server.ends(result=result, report_path="/there/r.html")
    last = await engine.step()

    assert [(one.name, one.progress, one.done) for one in (first, second, last)] == [
        ("Open the shop with ***", 0.4, False),
        ("Look at the socks", 0.4, False),
        ("The backend ended the task: completed", 1.0, True),
    ]
    outcome = engine.outcome()
    assert outcome.error is None
    assert outcome.result.startswith("Ordered. The key is ***, the token ***.\n\n---\n\n")
    assert "`/there/r.html`" in outcome.result
    for shown in (outcome.result, outcome.report, json.dumps(engine.checkpoint())):
        assert SECRET not in shown
        assert TOKEN not in shown
        assert "pa55" not in shown
    assert "Look at the socks" in outcome.report
    assert (await engine.step()).done
    await engine.close()
    await engine.close()


async def test_a_restored_engine_follows_the_same_task(server: BackendServer) -> None:
    engine = await handed_over(server)
    await server.moves("Step one")
    await engine.step()
    await engine.rest("Lunch")
    assert (await server.task())["status"] == "paused"
    second = await again(engine, server)
    await server.be(task={"vibesurf_status": {"active_step": "Step two"}})
    assert (await second.step()).name == "Step two"  # it was woken, and no step is told twice
    assert (await server.task())["status"] == "running"
    await server.ends(result="Done.")
    assert [one.name for one in await until_ended(second)][-1].endswith("completed")
    assert (await server.state())["tasks"] == 1
    await second.close()
    elsewhere = engine_at("http://127.0.0.1:9")
    with pytest.raises(EngineError, match=r"now names http://127\.0\.0\.1:9"):
        elsewhere.restore(second.checkpoint())
    with pytest.raises(EngineError, match="not made by this version"):
        elsewhere.restore({"version": 1})


async def test_pause_resume_and_instruct_are_what_the_backend_says(server: BackendServer) -> None:
    engine = await handed_over(server)
    await engine.rest("Lunch")
    await engine.rest(None)
    task = await server.task()
    assert (task["status"], task["pause_reason"]) == ("paused", "Lunch")
    await server.be(refuses=["resume", "add-new-task"])
    with pytest.raises(EngineError, match="answered 500: out of order"):
        await engine.wake()
    with pytest.raises(EngineError, match="answered 500: out of order"):
        await engine.instruct("Blue ones")
    await server.be(refuses=["pause"])
    await engine.wake()
    await engine.wake()
    assert (await server.task())["status"] == "running"
    with pytest.raises(EngineError, match="answered 500"):
        await engine.rest(None)
    await engine.instruct("Green ones")
    assert "Green ones" in engine.outcome().report
    await server.ends()
    await engine.rest(None)  # nothing is left to rest
    await until_ended(engine)
    with pytest.raises(EngineError, match="has ended"):
        await engine.instruct("Too late")
    await engine.close()


async def test_stopping_keeps_what_there_is(server: BackendServer) -> None:
    engine = await handed_over(server)
    await engine.end()
    await engine.end()
    assert len(await server.asked("stop")) == 1
    outcome = engine.outcome()
    assert outcome.result.startswith("What it had so far.")
    assert outcome.error is None
    await engine.close()


async def test_a_step_without_news_ends_when_somebody_waits(server: BackendServer) -> None:
    engine = await handed_over(server)
    waiting = asyncio.create_task(engine.step())
    looked = len((await server.state())["asked"])
    engine.hurry()
    step = await waiting
    assert (step.name, step.done) == ("Still at: running", False)
    assert len((await server.state())["asked"]) == looked
    # A pause that somebody made on the backend itself shows, and its end too.
    await server.be(task={"status": "paused", "pause_reason": "By hand"})
    assert (await engine.step()).name == "Paused on the backend: By hand"
    await server.be(task={"status": "running"})

    async def running() -> bool:
        return (await engine.step()).name == "The task is running on the backend"

    assert await eventually(running, timeout=20)
    await engine.close()
