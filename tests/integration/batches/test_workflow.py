"""The documented workflow in all its branches, and what a workflow leaves behind.

 one ──ok──▶ two ──ok──▶ three
  │           │ ▲
failed      failed │
  ▼           └────┘
alert     tried again, twice
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from tests.support.alerts import TOLD_SECONDS, Receiver
from tests.support.batches import children, finishes, kill, shown, start
from tests.support.book import Books
from tests.support.control import done
from tests.support.eventually import eventually
from tests.support.site import Site, Visit
from tests.support.stack import ROOT
from vibesurf_blocks.parents.parent import STEP_FAILED_EVENT
from vibesurf_blocks.prefect_api.parent_artifacts import SUMMARY_KEY, TABLE_KEY

pytestmark = pytest.mark.timeout(300)


DOCUMENTED = (ROOT / "examples" / "workflow.yaml").read_text()

OK, FAILED, STOPPED = StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED


def fails(visit: Visit) -> None:
    """A page that is not there."""
    visit.answer(b"<h1>not now</h1>", status=404)


def works(visit: Visit) -> None:
    """A page that is."""
    visit.answer(b"<html><title>Here</title><p>Words of this page.</p></html>")


async def runs(
    prefect: PrefectClient, site: Site, block: str, **pages: Any
) -> tuple[FlowRun, dict[str, str]]:
    """Run the documented workflow over these pages; the run, and what its steps came to."""
    for name in ("one", "two", "three"):
        site.sequence(f"/{name}", *pages.get(name, [works]))
    inputs = {"site": site.url("")}
    run = await start(
        prefect,
        "workflow/workflow",
        session_id="flow",
        definition=DOCUMENTED,
        inputs=inputs,
        alerts={"webhook": block},
    )
    ended = await finishes(prefect, run)
    table = json.loads((await shown(prefect, run))[TABLE_KEY])
    return ended, {row["step"]: row["status"] for row in table}


async def graph(prefect: PrefectClient, run: FlowRun) -> dict[str, list[str]]:
    """What the UI draws: each step with those it comes after."""
    answer = await prefect.request("GET", "/flow_runs/{id}/graph-v2", path_params={"id": run.id})
    nodes = [node for _, node in answer.json()["nodes"]]
    names = {node["id"]: str(node["label"]) for node in nodes}
    short = {
        key: name.removeprefix("agent-run / ").partition(" · ")[0] for key, name in names.items()
    }
    return {short[node["id"]]: [short[one["id"]] for one in node["parents"]] for node in nodes}


async def test_one_then_two_then_three(prefect: PrefectClient, site: Site, block: str) -> None:
    run, steps = await runs(prefect, site, block)
    assert run.state is not None
    assert (run.state.type, run.state.message) == (OK, "3 of 3 steps completed.")
    assert steps == {"one": "completed", "two": "completed", "three": "completed"}
    assert await children(prefect, run) == [("one", OK), ("two", OK), ("three", OK)]


@pytest.mark.slow
async def test_where_two_fails_it_is_tried_again(
    prefect: PrefectClient, site: Site, block: str
) -> None:
    run, steps = await runs(prefect, site, block, two=[fails, works])
    assert run.state is not None
    assert run.state.type is OK
    assert steps["two"] == steps["three"] == "completed"
    assert await children(prefect, run) == [
        ("one", OK),
        ("two", FAILED),
        ("two", OK),
        ("three", OK),
    ]
    assert await graph(prefect, run) == {
        "one": [],
        "two": ["one"],
        "two, retry 1": ["two"],
        "three": ["two, retry 1"],
    }


@pytest.mark.slow
async def test_where_two_fails_for_good_three_is_not_begun(
    prefect: PrefectClient, site: Site, block: str
) -> None:
    run, steps = await runs(prefect, site, block, two=[fails])
    assert run.state is not None
    assert run.state.type is FAILED
    assert str(run.state.message).startswith("step 'two' failed: ")
    assert steps == {"one": "completed", "two": "failed", "three": "skipped"}
    assert await children(prefect, run) == [("one", OK), *[("two", FAILED)] * 3]


async def test_where_one_fails_there_is_an_alert_and_nothing_else(
    prefect: PrefectClient, site: Site, receiver: Receiver, block: str
) -> None:
    run, steps = await runs(prefect, site, block, one=[fails])
    assert run.state is not None
    assert run.state.type is FAILED
    assert str(run.state.message).startswith("step 'one' failed: ")
    assert steps == {"one": "failed", "two": "skipped", "three": "skipped"}
    assert await children(prefect, run) == [("one", FAILED)]
    summary = (await shown(prefect, run))[SUMMARY_KEY]
    assert "it needs 'one', which failed" in summary

    async def told() -> bool:
        return len(receiver.taken) == 2

    await eventually(told, timeout=TOLD_SECONDS)
    alerts = {one["type"]: one["data"]["about"] for one in receiver.taken}
    assert alerts == {"workflow.step-failed": "Step one", "workflow.failed": None}


async def events(prefect: PrefectClient, run: FlowRun) -> list[str]:
    """What was told of a run by events, oldest first."""
    wanted = {"resource": {"id": [f"prefect.flow-run.{run.id}"]}, "order": "ASC"}
    answer = await prefect.request("POST", "/events/filter", json={"filter": wanted, "limit": 50})
    return [one["event"] for one in answer.json()["events"]]


@pytest.mark.slow
async def test_a_fallback_stands_in_and_people_are_told_once_though_the_workflow_was_killed(
    prefect: PrefectClient, site: Site, books: Books, receiver: Receiver, block: str
) -> None:
    site.sequence("/gone", fails)
    book = books(1)
    steps = [
        {
            "name": "first",
            "task": f"Read {site.url('/gone')}",
            "on_failure": {"alert": True, "fallback": "instead"},
        },
        {"name": "instead", "task": f"Read {book.url(1)}"},
        {"name": "last", "task": f"Read {site.html('/last', '<p>Good.</p>')}", "needs": ["first"]},
    ]
    run = await start(
        prefect,
        "workflow/workflow",
        session_id="instead",
        definition={"steps": steps},
        alerts={"webhook": block},
    )
    await book.until_asked(1)
    assert (await receiver.told(str(run.id)))["type"] == "workflow.step-failed"

    await kill(prefect, run.id)
    book.let_all()

    ended = await finishes(prefect, run)
    assert ended.state is not None
    assert (ended.state.type, ended.state.message) == (OK, "2 of 3 steps completed.")
    assert await children(prefect, run) == [("first", FAILED), ("instead", OK), ("last", OK)]

    async def told() -> list[str]:
        found = await events(prefect, run)
        return found if "prefect.flow-run.Completed" in found else []

    found = await eventually(told, timeout=TOLD_SECONDS)
    assert found.count(STEP_FAILED_EVENT) == 1
    assert [one["type"] for one in receiver.taken] == ["workflow.step-failed"]


async def test_a_stop_ends_the_step_that_runs_and_starts_no_other(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    steps = [
        {"name": "one", "task": f"Read {book.url(1)}"},
        {"name": "two", "task": f"Read {book.url(2)}", "needs": ["one"]},
        {"name": "three", "task": f"Read {book.url(3)}"},  # waits for the session alone
    ]
    run = await start(
        prefect, "workflow/workflow", session_id="halted", definition={"steps": steps}
    )
    await book.until_asked(1)

    await done(api, "stop", str(run.id), "Enough")

    ended = await finishes(prefect, run)
    assert ended.state is not None
    assert (ended.state.type, ended.state.message) == (STOPPED, "Enough")
    assert await children(prefect, run) == [("one", STOPPED)]
    assert book.held_back((2, 3))
    [row] = (await api.get("/tasks", params={"session_id": "halted"})).json()["tasks"]
    assert row["status"] == "stopped"
    assert row["error_message"] == f"Stopped with {run.name}."
    table = json.loads((await shown(prefect, run))[TABLE_KEY])
    assert table[0]["status"] == "stopped"
    assert "completed" not in {one["status"] for one in table}
