"""Death, pause, stop and instructions while a model drives a browser."""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient

from tests.integration.browser.test_story import step_names
from tests.support.control import agree, asked_of, pid_of, press_pause, state_of
from tests.support.control import done as asked
from tests.support.eventually import eventually
from tests.support.model_server import ModelServer, done, held
from tests.support.moves import clicks, moves, opens, types
from tests.support.stack import LiveStack
from tests.support.tasks import body, completes, ends, submit
from tests.support.web import Web
from vibesurf_blocks.browser.session import FOLDER
from vibesurf_blocks.prefect_api import commands
from vibesurf_blocks.tasks import Status

BOTH = {"name": "Ada", "mail": "ada@example.org", "size": "small"}


async def test_a_killed_run_goes_on_in_the_same_half_filled_form(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    model: ModelServer,
    web: Web,
    named: str,
) -> None:
    fourth = held(moves(types("id=mail", "ada@example.org")))
    model.script(
        moves(opens(web.table())),
        moves(opens(web.form)),
        moves(types("id=name", "Ada")),
        fourth,
    )
    task_id = await submit(api, "Order for Ada", llm_profile_name=named)
    assert await asyncio.to_thread(fourth.asked.wait, 40)
    kept = stack.settings.workspace_dir / "s-1" / FOLDER / "keeper.json"
    browser = kept.read_text()

    # The answer to the fourth question never comes; the new process asks it again.
    model.script(
        moves(types("id=mail", "ada@example.org")), moves(clicks("id=send")), done("Sent.")
    )
    psutil.Process(await pid_of(prefect, task_id)).kill()

    row = await completes(api, task_id, timeout=60)
    assert web.sent == [BOTH]
    assert web.site.hits["/form"] == 1  # never opened again: it is the same page
    assert len(model.asked) == 7  # six steps, and the fourth twice
    assert row["task_metadata"]["recoveries"] == 1
    assert row["task_metadata"]["steps"] == 6
    assert row["task_metadata"]["usage"]["total_tokens"] == 6 * 120
    assert len(await step_names(prefect, task_id)) == 7
    assert kept.read_text() == browser


async def test_a_pause_keeps_the_answer_and_an_instruction_reaches_the_next_step(
    api: httpx.AsyncClient, prefect: PrefectClient, model: ModelServer, web: Web, named: str
) -> None:
    second = held(moves(types("id=name", "Ada")))
    model.script(moves(opens(web.form)), second)
    task_id = await submit(api, "Order for Ada", llm_profile_name=named)
    assert await asyncio.to_thread(second.asked.wait, 40)
    pausing = asyncio.create_task(asked(api, "pause", task_id, "Lunch"))
    await eventually(partial(commands.waiting, prefect, UUID(task_id), ()), timeout=10)
    second.released.set()
    await pausing
    row = await agree(api, prefect, task_id, Status.PAUSED)
    assert row["task_metadata"]["steps"] == 2
    assert len(model.asked) == 2

    await asked(api, "add-new-task", task_id, "Mail it to ada@example.org.")
    model.script(moves(types("id=mail", "ada@example.org"), clicks("id=send")), done("Sent."))
    await asked(api, "resume", task_id)

    row = await completes(api, task_id)
    assert len(model.asked) == 4  # the answer that came during the pause was not asked for again
    assert "Mail it to ada@example.org." in model.asked[2].text
    assert "Mail it to ada@example.org." not in model.asked[1].text
    assert [(one[0], one[2]) for one in asked_of(row)] == [
        ("pause", 2),
        ("add_new_task", 2),
        ("resume", 2),
    ]
    assert web.sent == [BOTH]


@pytest.mark.slow
async def test_a_run_suspended_in_the_ui_finds_its_page_again(
    api: httpx.AsyncClient, prefect: PrefectClient, model: ModelServer, web: Web, named: str
) -> None:
    second = held(moves(types("id=name", "Ada")))
    model.script(moves(opens(web.form)), second)
    task_id = await submit(api, "Order for Ada", llm_profile_name=named)
    assert await asyncio.to_thread(second.asked.wait, 40)
    await press_pause(prefect, task_id)
    second.released.set()
    row = await agree(api, prefect, task_id, Status.PAUSED)
    assert row["task_metadata"]["suspended"] is True

    model.script(moves(types("id=mail", "ada@example.org"), clicks("id=send")), done("Sent."))
    await prefect.resume_flow_run(UUID(task_id))

    await completes(api, task_id)
    assert web.sent == [BOTH]
    assert web.site.hits["/form"] == 1
    assert len(model.asked) == 4


@pytest.mark.slow
async def test_a_budget_ends_a_run_whose_model_never_says_done(
    api: httpx.AsyncClient, prefect: PrefectClient, model: ModelServer, web: Web, named: str
) -> None:
    model.script(moves(opens(web.form)))  # and then it waits, for ever

    row = await ends(
        api, await submit(api, "Order", llm_profile_name=named, max_tokens=300, session_id="s-2")
    )
    assert row["status"] == Status.FAILED
    assert row["error_message"] == (
        "The run reached its limit of 300 tokens (max_tokens): it has used 360."
    )
    assert row["task_result"].count("Wait 0 s") == 2
    assert row["report_path"] is not None

    refused = await api.post("/tasks/submit", json=body("Order", max_cost=0, max_tokens=0))
    assert refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert {one["loc"][-1] for one in refused.json()["detail"]} == {"max_cost", "max_tokens"}


async def test_a_stop_waits_for_no_model(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    model: ModelServer,
    web: Web,
    named: str,
) -> None:
    second = held(done("Too late."))
    model.script(moves(opens(web.form)), second)
    task_id = await submit(api, "Order for Ada", llm_profile_name=named)
    assert await asyncio.to_thread(second.asked.wait, 40)
    pid = await pid_of(prefect, task_id)

    await asked(api, "stop", task_id, "Enough")

    row = await ends(api, task_id)  # the model would never answer
    assert row["status"] == Status.STOPPED
    assert row["error_message"] == "Enough"
    assert "Open " in row["task_result"]
    assert row["report_path"] is not None

    async def gone() -> bool:
        return not psutil.pid_exists(pid)

    await eventually(gone, timeout=10)
    assert (await state_of(prefect, task_id)).is_cancelled()
    left = stack.settings.workspace_dir / ".checkpoints" / str(UUID(task_id))
    assert not left.exists()
