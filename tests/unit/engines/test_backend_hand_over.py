"""A task is handed to a backend once, whatever answers are lost, and stopped wherever it got to."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.backends import SECRET, BackendServer
from tests.support.eventually import eventually
from tests.unit.engines.handing import TASK, again, engine_at, handed_over, until_ended
from vibesurf_blocks.blocks import VibeSurfBackend
from vibesurf_blocks.engines.backend import BackendEngine
from vibesurf_blocks.engines.protocol import Backend, EngineContext
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tasks import AgentTask


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
