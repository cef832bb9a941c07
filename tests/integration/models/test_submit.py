"""What a submit makes of a profile: a question to its model first, and the documented answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient

from tests.support.model_server import Answer, ModelServer, fails, held, says, sends
from tests.support.profiles import KEY, ask, edit, profile, warm
from tests.support.stack import LiveStack
from tests.support.tasks import ends

BROKEN: dict[str, tuple[dict[str, Any], Answer, str]] = {
    "unknown": ({"profile_name": "another"}, says("Paris"), "does not exist"),
    "inactive": ({"active": False}, says("Paris"), "is not active"),
    "newline in the key": ({"api_key": f"{KEY}\nX-Evil: 1"}, says("Paris"), "must be one line"),
    "no such provider": ({"provider": "nobody"}, says("Paris"), "provider: Input should be"),
    "no address": ({"base_url": None}, says("Paris"), "has no base URL"),
    "no package": (
        {"provider": "oci", "api_key": None},
        says("Paris"),
        "pip install oci",
    ),
    "nobody there": ({"base_url": "http://127.0.0.1:1/v1"}, says("Paris"), "cannot be reached"),
    "no such host": ({"base_url": "http://no.invalid/v1"}, says("Paris"), "cannot be reached"),
    "refused key": ({}, fails(401, f"Incorrect key {KEY}"), "refused the API key"),
    "no such model": ({}, fails(404, "The model 'm-1' does not exist"), "knows no model"),
    "wrong address": ({}, sends(b"<h1>Hello</h1>"), "not as a model's API does"),
    "fault": ({}, fails(500, f"crashed on {KEY}"), "has a fault"),
    "nonsense": ({}, says("lorem ipsum"), "nonsense"),
    "silence": ({}, held(says("Paris")), "gave no answer within"),
}


async def test_each_broken_profile_gets_the_documented_answer_in_time(
    api: httpx.AsyncClient, prefect: PrefectClient, model: ModelServer, stack: LiveStack
) -> None:
    await warm(api, prefect, model)
    for name, (data, answer, told) in BROKEN.items():
        model.otherwise = answer
        async with profile(prefect, name, **{"base_url": model.url, **data}):
            begun = time.monotonic()
            asking = asyncio.create_task(ask(api, name))
            # Whatever the model does, the API goes on answering.
            status = await api.get("/tasks/status")
            assert status.json() == {"has_active_task": False, "active_task": None}
            said = await asking
            took = time.monotonic() - begun
        assert said.keys() == {"success", "error", "message", "llm_profile"}, name
        assert (said["success"], said["error"]) == (False, "llm_connection_failed"), name
        assert said["llm_profile"] == name
        assert told in said["message"], (name, said)
        assert took < 10, (name, took)
    assert KEY not in stack.said()


async def test_a_good_answer_counts_until_the_block_is_saved_again(
    api: httpx.AsyncClient, prefect: PrefectClient, model: ModelServer
) -> None:
    """And of many submits that wait for the same answer one is accepted."""
    await warm(api, prefect, model)
    slow = held(says("Paris"))
    model.otherwise = slow
    async with profile(prefect, "good", base_url=model.url) as block:
        submits = [asyncio.create_task(ask(api, "good")) for _ in range(10)]
        assert await asyncio.to_thread(slow.asked.wait, 10)
        slow.released.set()
        said = await asyncio.gather(*submits)
        accepted = [one for one in said if one["success"]]
        assert len(accepted) == 1, said
        assert {one["active_task"]["task_id"] for one in said if not one["success"]} == {
            accepted[0]["task_id"]
        }
        assert accepted[0]["llm_profile"] == "good"
        await stopped(api, accepted[0]["task_id"])
        assert questions(model) == 1

        model.otherwise = fails(401)
        again = await ask(api, "good")
        assert again["success"], again
        await stopped(api, again["task_id"])
        assert questions(model) == 1

        await edit(prefect, block, temperature=0.1)
        refused = await ask(api, "good")
        assert "refused the API key" in refused["message"]
        assert questions(model) == 2
    assert "does not exist" in (await ask(api, "good"))["message"]


def questions(model: ModelServer) -> int:
    """How often the model was asked for the capital."""
    return sum("capital" in one.text for one in model.requests)


async def stopped(api: httpx.AsyncClient, task_id: str) -> None:
    """End a task that was accepted, whatever its engine makes of it."""
    await api.post(f"/tasks/{task_id}/stop")
    await ends(api, task_id, timeout=60)
