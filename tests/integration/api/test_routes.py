"""Routes answer bare and under /api, and the OpenAPI document describes them."""

from __future__ import annotations

import sys
from datetime import datetime

import httpx

from tests.support.site import Site
from tests.support.stack import LiveStack
from tests.support.tasks import body, completes, submit
from vibesurf_blocks.stack.ready import free_port, wait_ready


async def test_every_route_answers_under_api_as_well(api: httpx.AsyncClient) -> None:
    for path in ("/tasks/status", "/tasks/detailed-status", "/tasks"):
        bare, under = await api.get(path), await api.get(f"/api{path}")
        assert bare.status_code == under.status_code == 200
        assert bare.json() == under.json()
    for path in ("/tasks/pause", "/tasks/resume", "/tasks/stop", "/tasks/add-new-task"):
        assert (await api.post(f"/api{path}", json={"reason": "x"})).status_code == 400


async def test_the_openapi_document_is_complete(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    paths = document["paths"]
    expected = {
        "/tasks/submit": "post",
        "/tasks/status": "get",
        "/tasks/detailed-status": "get",
        "/tasks/pause": "post",
        "/tasks/resume": "post",
        "/tasks/stop": "post",
        "/tasks/add-new-task": "post",
        "/tasks": "get",
        "/tasks/{task_id}": "get",
        "/tasks/{task_id}/stop": "post",
    }
    for path, method in expected.items():
        answers = paths[path][method]["responses"]
        assert "$ref" in str(answers["200"]) or "anyOf" in str(answers["200"]), path
    ids = [one["operationId"] for path in paths.values() for one in path.values()]
    assert len(ids) == len(set(ids))


async def test_tasks_are_listed_newest_first_with_filters_and_pages(
    api: httpx.AsyncClient, site: Site
) -> None:
    url = site.html("/a", "<p>a</p>")
    ids = []
    for _ in range(3):
        ids.append(await submit(api, f"Read {url}", session_id="listed"))
        await completes(api, ids[-1])
    query: dict[str, str | int] = {"session_id": "listed", "limit": 2}
    first = (await api.get("/tasks", params=query)).json()
    assert first["total_count"] == 3
    rest = (await api.get("/tasks", params={**query, "cursor": first["next_cursor"]})).json()
    assert rest["next_cursor"] is None
    listed = [row["task_id"] for row in (*first["tasks"], *rest["tasks"])]
    assert listed == ids[::-1]
    none = (await api.get("/tasks", params={"session_id": "listed", "status": "failed"})).json()
    assert none["tasks"] == []
    row = first["tasks"][0]
    assert row == (await api.get(f"/tasks/{ids[-1]}")).json()
    assert datetime.fromisoformat(row["created_at"]).utcoffset() is not None


async def test_without_prefect_a_submit_is_told_so_and_the_status_still_answers(
    stack: LiveStack,
) -> None:
    """503 in good time, nothing created; what the tables know can still be read."""
    port = free_port()
    stack.open(
        sys.executable,
        "-m",
        "vibesurf_blocks",
        "api",
        "--port",
        str(port),
        env={"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"},
    )
    address = f"http://127.0.0.1:{port}"
    await wait_ready(f"{address}/tasks/status", timeout=60)
    async with httpx.AsyncClient(base_url=address, timeout=20, trust_env=False) as client:
        answer = await client.post("/tasks/submit", json=body("Read http://127.0.0.1:1/"))
        assert answer.status_code == 503
        assert "Prefect" in answer.json()["detail"]


async def test_without_a_worker_a_submit_is_refused(stack: LiveStack) -> None:
    port = free_port()
    stack.open(
        sys.executable,
        "-m",
        "vibesurf_blocks",
        "api",
        "--port",
        str(port),
        env={"VIBESURF_POOL": "nobody-works-here"},
    )
    address = f"http://127.0.0.1:{port}"
    await wait_ready(f"{address}/tasks/status", timeout=60)
    async with httpx.AsyncClient(base_url=address, timeout=20, trust_env=False) as client:
        answer = await client.post("/tasks/submit", json=body("Read http://127.0.0.1:1/"))
    assert answer.status_code == 503
    assert "prefect worker start --pool nobody-works-here" in answer.json()["detail"]
