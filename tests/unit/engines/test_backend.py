"""The backend engine over HTTP: handed over once, followed to its end, and no failure is silent."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import SECRET, BackendServer, backend_server
from tests.support.eventually import eventually
from tests.support.site import Site
from vibesurf_blocks.blocks import LLMProfile, VibeSurfBackend
from vibesurf_blocks.engines.backend import BackendEngine
from vibesurf_blocks.engines.backend.client import BackendClient
from vibesurf_blocks.engines.backend.problems import Away, Unsure
from vibesurf_blocks.engines.backend.state import block_of
from vibesurf_blocks.engines.protocol import Backend, EngineContext, Remote, Step, Tools
from vibesurf_blocks.engines.registry import engine_for
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask, McpServerConfig

TASK = "Order the red socks at https://me:pa55@shop.example/"
TOKEN = "mcp-t0ken-of-the-task"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[BackendServer]:
    async with backend_server(tmp_path) as made:
        yield made


def engine_at(url: str, idle: float = 60.0, servers: Any = None, **block: Any) -> BackendEngine:
    times = {"poll_seconds": 0.01, "backoff_seconds": 0.01, "attempts": 3, "answer_seconds": 20}
    backend = VibeSurfBackend.model_validate({"base_url": url, "api_key": SECRET, **times, **block})
    engine = engine_for(
        EngineContext(
            task=AgentTask(
                task_description=TASK, session_id="s-1", agent_mode="flash", idle_seconds=idle
            ),
            task_id="00000000-0000-0000-0000-000000000001",
            session_dir=Path("/nonexistent"),
            settings=Settings(),
            profile=LLMProfile(provider="vibesurf-backend", model="remote"),
            tools=Tools(mcp=McpServerConfig.model_validate({"mcpServers": servers or {}})),
            backend=Backend("shop", backend),
        )
    )
    assert isinstance(engine, BackendEngine)
    assert isinstance(engine, Remote)
    return engine


async def handed_over(server: BackendServer, **more: Any) -> BackendEngine:
    """An engine whose task the backend has."""
    engine = engine_at(server.url, **more)
    await engine.open()
    await engine.step()
    step = await engine.step()
    assert step.name.startswith("Handed to the backend as task")
    await engine.step()  # its first status
    return engine


async def until_ended(engine: BackendEngine) -> list[Step]:
    steps = [await engine.step()]
    while not steps[-1].done:
        steps.append(await engine.step())
    return steps


async def again(first: BackendEngine, server: BackendServer, **more: Any) -> BackendEngine:
    """A new engine that goes on where the checkpoint of another was taken."""
    kept = json.loads(json.dumps(first.checkpoint()))
    assert block_of(kept) == "shop"
    assert SECRET not in json.dumps(kept)
    await first.close()
    second = engine_at(server.url, **more)
    second.restore(kept)
    await second.open()
    return second


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


async def test_a_busy_backend_is_waited_for(server: BackendServer) -> None:
    other = await handed_over(server)
    theirs = (await server.task())["task_id"]
    engine = engine_at(server.url)
    await engine.open()
    assert (await engine.step()).name.endswith("it works on another task")
    await engine.instruct("The blue ones too")
    waiting = asyncio.create_task(engine.step())
    engine.hurry()
    assert (await waiting).name.startswith("Still waiting")
    await engine.end()  # what it works on is not ours
    assert (await server.task())["task_id"] == theirs
    assert not await server.asked("stop")

    await server.ends()
    handed = await engine.step()
    assert handed.name == f"Handed to the backend as task {(await server.task())['task_id']}"
    assert (await server.asked("add-new-task")) == [{"reason": "The blue ones too"}]
    impatient = engine_at(server.url, busy_seconds=0.05)
    await impatient.open()
    with pytest.raises(EngineError, match=r"worked on another task for .*busy_seconds"):
        await until_ended(impatient)
    for one in (other, engine, impatient):
        await one.close()


@pytest.mark.parametrize("heeds_keys", [True, False])
async def test_a_submit_without_an_answer_is_not_sent_blindly_again(
    server: BackendServer, heeds_keys: bool
) -> None:
    await server.be(drops=1, heeds_keys=heeds_keys)
    engine = engine_at(server.url)
    await engine.open()
    await engine.step()
    assert (await engine.step()).name.startswith("Found again on the backend as task")
    # Killed before that was kept: the checkpoint knows nothing of the task.
    kept = engine.checkpoint() | {"task_id": None}
    await engine.close()
    second = engine_at(server.url)
    second.restore(kept)
    await second.open()
    await second.step()
    assert (await server.state())["tasks"] == 1
    assert len(await server.asked("submit")) == 1
    assert second.checkpoint()["task_id"] == (await server.task())["task_id"]
    await second.close()


@pytest.mark.parametrize("before", [False, True])
async def test_a_task_that_ended_before_it_was_known_is_not_sent_again(
    server: BackendServer, before: bool
) -> None:
    if before:
        # The same task, done before: its end is not that of the new one.
        await (await handed_over(server)).close()
        await server.ends(result="Old.")
    engine = engine_at(server.url)
    await engine.open()
    await engine.step()
    kept = json.loads(json.dumps(engine.checkpoint()))
    await engine.step()
    await engine.close()  # killed before that was kept
    await server.ends(result="New.")
    second = engine_at(server.url)
    second.restore(kept)
    await second.open()
    assert (await second.step()).name.startswith("Found again on the backend as task")
    await until_ended(second)
    assert second.outcome().result.startswith("New.")
    assert (await server.state())["tasks"] == 1 + before
    await second.close()


async def test_a_task_that_ended_before_the_hand_over_is_not_taken_for_it(
    server: BackendServer,
) -> None:
    other = await handed_over(server)
    engine = engine_at(server.url)
    await engine.open()
    await engine.step()
    # Of another hand, and gone before it was seen at work.
    await server.be(task={"task_id": "unseen"})
    await server.ends(result="Old.")
    assert (await engine.step()).name == "The VibeSurf backend is free, after task unseen"
    second = await again(engine, server, answer_seconds=0.2)
    assert (await second.step()).name.startswith("Handed to the backend as task")
    assert (await server.state())["tasks"] == 2
    for one in (other, second):
        await one.close()


async def test_a_submit_under_way_is_not_sent_again(server: BackendServer) -> None:
    await server.be(holds=True)
    engine = engine_at(server.url, answer_seconds=2)
    await engine.open()
    await engine.step()
    handing = asyncio.create_task(engine.step())
    looks = (await server.state())["looks"]

    async def looked() -> bool:
        return bool((await server.state())["looks"] > looks + 3)

    await eventually(looked, timeout=20)
    await server.be(holds=False)
    assert (await handing).name.startswith("Found again on the backend as task")
    assert len(await server.asked("submit")) == 1
    await engine.close()


async def test_what_may_still_be_taken_is_stopped_too(server: BackendServer) -> None:
    await server.be(holds=True)
    engine = engine_at(server.url, answer_seconds=4)
    await engine.open()
    await engine.step()
    handing = asyncio.create_task(engine.step())
    looks = (await server.state())["looks"]

    async def looked() -> bool:
        return bool((await server.state())["looks"] > looks + 1)

    await eventually(looked, timeout=20)
    handing.cancel()
    looks = (await server.state())["looks"]
    ending = asyncio.create_task(engine.end())
    await eventually(looked, timeout=20)
    await server.be(holds=False)
    await ending
    assert (await server.task())["status"] == "completed"
    assert len(await server.asked("stop")) == 1
    await engine.close()


async def test_a_submit_that_led_to_nothing_is_sent_again(server: BackendServer) -> None:
    await server.be(holds=True, loses=1)
    engine = engine_at(server.url, answer_seconds=0.3)
    await engine.open()
    await engine.step()
    handing = asyncio.create_task(engine.step())

    async def repeated() -> bool:
        return len(await server.asked("submit")) == 2

    await eventually(repeated, timeout=20)
    await server.be(holds=False)
    assert (await handing).name.split(" as task ")[0] in {
        "Handed to the backend",
        "Found again on the backend",
    }
    assert (await server.state())["tasks"] == 1
    await engine.close()


async def test_an_answer_that_trickles_in_is_cut_off(site: Site) -> None:
    looks, submits = "/api/tasks/detailed-status", "/api/tasks/submit"
    for path in (looks, submits):
        site.trickle(path)
    block = VibeSurfBackend(
        base_url=site.url(""),
        answer_seconds=0.3,
        connect_seconds=0.3,
        attempts=2,
        backoff_seconds=0.01,
    )
    client = BackendClient(block, logging.getLogger(__name__))
    async with asyncio.timeout(20):
        with pytest.raises(Away, match=r"no whole answer within 0\.6 s.*asked 2 times"):
            await client.look()
        with pytest.raises(Unsure, match=r"no whole answer") as caught:
            await client.submit({}, "key")
    await client.aclose()
    assert caught.value.pending
    assert site.hits == {looks: 2, submits: 1}


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


async def test_what_is_being_handed_over_is_stopped_too(server: BackendServer) -> None:
    await server.be(holds=True)
    engine = engine_at(server.url)
    await engine.open()
    await engine.step()
    handing = asyncio.create_task(engine.step())
    await server.until_asked("submit")
    handing.cancel()
    ending = asyncio.create_task(engine.end())
    await server.be(holds=False)
    await ending
    assert (await server.task())["status"] == "completed"
    assert len(await server.asked("stop")) == 1
    await engine.close()


async def test_a_stop_that_is_not_confirmed_is_told(server: BackendServer) -> None:
    engine = await handed_over(server)
    await server.kill()
    with pytest.raises(EngineError, match=r"may still work on task .*stop it there"):
        await engine.end()
    assert "may still work on task" in engine.outcome().result
    await engine.close()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "failed", "error": "No model"}, "failed on the VibeSurf backend: No model."),
        ({"status": "failed"}, "does not say why"),
        ({"status": "completed", "error": "Boom"}, "failed on the VibeSurf backend: Boom."),
        ({"status": "stopped"}, "was stopped on the VibeSurf backend."),
        # As the real one records a stopped task.
        ({"status": "completed", "stop_reason": "Enough", "result": "x"}, "backend: Enough."),
    ],
)
async def test_an_end_without_success_is_an_error(
    server: BackendServer, fields: dict[str, str], told: str
) -> None:
    engine = await handed_over(server)
    await server.ends(**fields)
    assert not (await until_ended(engine))[-1].ok
    error = engine.outcome().error
    assert error is not None
    assert told in error
    await engine.close()


async def test_a_page_in_place_of_the_api_is_an_error(server: BackendServer) -> None:
    engine = await handed_over(server, away_seconds=0.05)
    await server.be(html=True)
    fresh = engine_at(server.url)
    with pytest.raises(EngineError, match=r"text/html instead of its API's JSON.*base URL"):
        await fresh.open()
    with pytest.raises(EngineError, match=r"text/html .* has been away for .*away_seconds"):
        await until_ended(engine)
    await fresh.close()
    await engine.close()


@pytest.mark.parametrize("forgetful", [True, False])
async def test_a_backend_that_dies_in_mid_task_and_comes_back(
    server: BackendServer, forgetful: bool
) -> None:
    engine = await handed_over(server)
    await server.kill()
    away = await engine.step()
    assert (away.name, away.ok) == ("The VibeSurf backend does not answer", False)
    following = asyncio.create_task(until_ended(engine))
    await server.start(forgetful=forgetful)
    if forgetful:
        with pytest.raises(EngineError, match=r"knows nothing of task .*Run the task again"):
            await following
        await engine.end()  # there is nothing to stop
        assert not await server.asked("stop")
    else:
        await server.ends(result="All the same.")
        steps = await following
        assert steps[0].name == "The VibeSurf backend answers again"
        assert engine.outcome().result.startswith("All the same.")
    await engine.close()


async def test_a_backend_that_stays_away_or_stands_still_is_given_up(
    server: BackendServer,
) -> None:
    still = await handed_over(server, idle=0.2)
    with pytest.raises(EngineError, match=r"nothing new of task .* 0.2 s \(idle_seconds\)"):
        await until_ended(still)
    await still.close()
    await server.ends()
    engine = await handed_over(server, away_seconds=0.05)
    await server.kill()
    with pytest.raises(EngineError, match=r"cannot be reached.*has been away for"):
        await until_ended(engine)
    await engine.close()
    nobody = engine_at(server.url)
    with pytest.raises(EngineError, match=r"cannot be reached.*asked 3 times"):
        await nobody.open()
    await nobody.close()


async def test_a_task_that_gave_way_to_another_is_lost(server: BackendServer) -> None:
    engine = await handed_over(server)
    await server.be(shows_ended=False)
    await server.ends()
    with pytest.raises(EngineError, match="knows nothing of task"):
        await until_ended(engine)
    await engine.close()


async def test_what_the_backend_declines_is_told(server: BackendServer) -> None:
    await server.be(declines={"error": "llm_connection_failed", "message": f"Key {SECRET} bad."})
    engine = engine_at(server.url)
    await engine.open()
    await engine.step()
    with pytest.raises(EngineError, match=r"its LLM profile 'remote': Key \*\*\* bad"):
        await engine.step()
    await engine.close()
    await server.be(api_key="another")
    refused = engine_at(server.url)
    with pytest.raises(EngineError, match="refused the credentials") as caught:
        await refused.open()
    assert SECRET not in str(caught.value)
    await refused.close()


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


async def test_files_reach_a_backend_on_this_machine_alone(
    server: BackendServer, tmp_path: Path
) -> None:
    uploads = tmp_path / "s-1" / "uploads"
    uploads.mkdir(parents=True)
    (uploads / "list.txt").write_text("socks")

    def with_files(url: str, path: str) -> BackendEngine:
        return BackendEngine(
            EngineContext(
                task=AgentTask(task_description=TASK, session_id="s-1", upload_files_path=path),
                task_id="t",
                session_dir=tmp_path / "s-1",
                settings=Settings(workspace=tmp_path),
                backend=Backend("shop", VibeSurfBackend(base_url=url)),
            )
        )

    engine = with_files(server.url, "list.txt")
    await engine.open()
    await engine.step()
    await engine.step()
    assert (await server.asked("submit"))[0]["upload_files_path"] == str(uploads / "list.txt")
    await engine.close()
    with pytest.raises(EngineError, match="names nothing inside"):
        await with_files(server.url, "gone.txt").open()
    with pytest.raises(EngineError, match="files of this machine"):
        await with_files("https://vibesurf.example", "list.txt").open()
