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

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from tests.support.alerts import TOLD_SECONDS, Receiver
from tests.support.batches import children, finishes, shown, start
from tests.support.eventually import eventually
from tests.support.site import Site, Visit
from tests.support.stack import ROOT
from vibesurf_blocks.prefect_api.parent_artifacts import SUMMARY_KEY, TABLE_KEY

pytestmark = pytest.mark.timeout(300)


DOCUMENTED = (ROOT / "examples" / "workflow.yaml").read_text()

OK, FAILED = StateType.COMPLETED, StateType.FAILED


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
