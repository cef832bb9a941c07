"""Submitting a task: what is accepted walks to its end, what is not leaves nothing."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient

from tests.support.eventually import eventually
from tests.support.site import Site
from tests.support.stack import LiveStack
from tests.support.tasks import body, completes, reaches, row_of, submit
from vibesurf_blocks.tasks import Status


async def test_a_task_walks_from_pending_over_running_to_completed(
    api: httpx.AsyncClient, site: Site
) -> None:
    """Its row stands when the answer leaves, and the status agrees at each moment."""
    page = site.held("/page")
    answer = await api.post("/tasks/submit", json=body(f"Read {page.url}"))
    assert answer.status_code == 200
    said = answer.json()
    assert said.keys() == {
        "success",
        "task_id",
        "session_id",
        "status",
        "message",
        "llm_profile",
        "workspace_dir",
    }
    assert (said["success"], said["status"], said["llm_profile"]) == (True, "submitted", "builtin")
    task_id = said["task_id"]
    assert await row_of(api, task_id) is not None

    row = await reaches(api, task_id, Status.RUNNING)
    assert row["started_at"] is not None
    assert row["completed_at"] is None
    status = (await api.get("/tasks/status")).json()
    assert status["has_active_task"] is True
    assert status["active_task"]["task_id"] == task_id
    assert status["active_task"]["status"] == "running"

    page.released.set()
    row = await completes(api, task_id)
    moments = [row[name] for name in ("created_at", "started_at", "completed_at")]
    assert moments == sorted(moments)
    assert all(datetime.fromisoformat(one).utcoffset() is not None for one in moments)
    assert "Held" in row["task_result"]
    assert row["task_metadata"]["progress"] == 100
    assert (await api.get("/tasks/status")).json() == {
        "has_active_task": False,
        "active_task": None,
    }
    detailed = (await api.get("/tasks/detailed-status")).json()
    assert detailed["has_active_task"] is False
    assert detailed["message"] == "No active task"
    assert (detailed["task_id"], detailed["result"]) == (task_id, row["task_result"])


async def test_each_step_is_a_task_run_named_for_what_it_did(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    """Prefect has no public way to rename a task run from within: this notices a change."""
    task_id = await submit(api, f"Read {site.html('/a', '<p>a</p>', 'First')}")
    await completes(api, task_id)

    async def names() -> list[str]:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        runs = await prefect.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(task_id)]))
        )
        return [one.name for one in runs if one.name.startswith("Read ")]

    found = await eventually(names, timeout=20)
    assert found == [f"Read {site.url('/a')}: 'First', 0 links"]


async def test_while_one_task_is_active_another_is_refused_with_the_documented_words(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    page = site.held("/page")
    task_id = await submit(api, f"Read {page.url}")
    before = await prefect.read_flow_runs(limit=200)
    answer = await api.post("/tasks/submit", json=body("Read http://127.0.0.1:1/"))
    assert answer.status_code == 200
    said = answer.json()
    assert said["success"] is False
    assert said["message"] == "Cannot submit task: another task is currently running"
    assert said["active_task"].keys() == {"task_id", "status", "session_id", "start_time"}
    assert said["active_task"]["task_id"] == task_id
    assert len(await prefect.read_flow_runs(limit=200)) == len(before)


async def test_an_unknown_profile_gets_the_documented_answer(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks/submit", json=body("Read it", llm_profile_name="nobody"))
    assert answer.status_code == 200
    said = answer.json()
    assert said.keys() == {"success", "error", "message", "llm_profile"}
    assert (said["success"], said["error"]) == (False, "llm_connection_failed")
    assert said["llm_profile"] == "nobody"
    assert "nobody" in said["message"]


async def test_a_repeated_request_starts_no_second_run(api: httpx.AsyncClient, site: Site) -> None:
    """Not while the first runs, not after it ended, and not when ten come at once."""
    import asyncio

    page = site.held("/page")
    request = body(f"Read {page.url}")
    key = {"Idempotency-Key": "the same"}
    answers = await asyncio.gather(
        *(api.post("/tasks/submit", json=request, headers=key) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {200}
    ids = {answer.json()["task_id"] for answer in answers}
    assert len(ids) == 1
    page.released.set()
    await completes(api, ids.copy().pop())
    again = await api.post("/tasks/submit", json=request, headers=key)
    assert again.json()["task_id"] in ids
    other = await api.post("/tasks/submit", json=body("Something else"), headers=key)
    assert other.status_code == 400
    assert "Idempotency-Key" in other.json()["detail"]


async def test_of_fifty_submits_to_two_processes_exactly_one_is_accepted(
    api: httpx.AsyncClient, stack: LiveStack, site: Site
) -> None:
    import asyncio
    import sys

    from vibesurf_blocks.stack.ready import free_port, wait_ready

    port = free_port()
    stack.open(sys.executable, "-m", "vibesurf_blocks", "api", "--port", str(port))
    await wait_ready(f"http://127.0.0.1:{port}/tasks/status", timeout=60)
    page = site.held("/page")
    task = body(f"Read {page.url}", session_id="fifty")
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60
    ) as second:
        answers = await asyncio.gather(
            *((api if n % 2 else second).post("/tasks/submit", json=task) for n in range(50))
        )
    told = {answer.text for answer in answers if answer.status_code != httpx.codes.OK}
    assert {answer.status_code for answer in answers} == {200}, told
    said = [answer.json() for answer in answers]
    accepted = [one for one in said if one["success"]]
    assert len(accepted) == 1
    refused = [one for one in said if not one["success"]]
    assert {one["active_task"]["task_id"] for one in refused} == {accepted[0]["task_id"]}
    listed = (await api.get("/tasks", params={"session_id": "fifty"})).json()
    assert listed["total_count"] == 1


async def test_secrets_of_mcp_servers_are_stored_nowhere(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    config = {"mcpServers": {"tools": {"command": "x", "env": {"TOKEN": "s3cr3t-value"}}}}
    task_id = await submit(api, f"Read {site.html('/a', 'a')}", mcp_server_config=config)
    row = await completes(api, task_id)
    run = await prefect.read_flow_run(UUID(task_id))
    assert "s3cr3t-value" not in str(row) + str(run)
    assert row["mcp_server_config"]["mcpServers"]["tools"]["env"] == {"TOKEN": "***"}
