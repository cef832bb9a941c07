"""No failure of a backend is silent: what is away, lost, odd or failed is told."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.support.backends import BackendServer
from tests.support.site import Site
from tests.unit.engines.handing import engine_at, handed_over, until_ended
from vibesurf_blocks.blocks import VibeSurfBackend
from vibesurf_blocks.engines.backend.client import BackendClient
from vibesurf_blocks.engines.backend.problems import Away, Unsure
from vibesurf_blocks.errors import EngineError


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
