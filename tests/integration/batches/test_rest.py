"""Batches over REST and from the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName

from tests.support.batches import BATCH_SECONDS, pages
from tests.support.eventually import eventually
from tests.support.site import Site
from tests.support.stack import LiveStack
from vibesurf_blocks.tasks import BATCH_FLOW

pytestmark = pytest.mark.timeout(300)


JSON = {"Content-Type": "application/json"}
ITEM = {"task_description": "Read http://127.0.0.1:1/"}


async def ended(api: httpx.AsyncClient, batch_id: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        answer = await api.get(f"/api/tasks/batch/{batch_id}")
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status if status["status"] in {"completed", "failed", "stopped"} else None

    found = await eventually(there, timeout=BATCH_SECONDS, pause=0.2)
    assert found is not None
    return found


async def batches(prefect: PrefectClient) -> int:
    flows = FlowFilter(name=FlowFilterName(any_=[BATCH_FLOW]))
    return await prefect.count_flow_runs(flow_filter=flows)


async def test_a_batch_is_submitted_once_and_tells_how_far_it_is(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    good = pages(site, "one")[0] | {"id": "ひとつ", "session_id": "own"}
    bad = f"Read {site.url('/missing')}"
    body = {"session_id": "rest", "items": [good, bad], "on_failure": "continue"}
    key = {"Idempotency-Key": "once only"}
    before = await batches(prefect)

    answers = await asyncio.gather(
        *(api.post("/tasks/batch", json=body, headers=key) for _ in range(3))
    )

    assert {answer.status_code for answer in answers} == {200}
    said = answers[0].json()
    assert [answer.json() for answer in answers] == [said] * 3
    assert (said["success"], said["total"], said["status"]) == (True, 2, "submitted")
    assert await batches(prefect) == before + 1
    status = await ended(api, said["batch_id"])
    assert (status["status"], status["total"]) == ("failed", 2)
    assert status["counts"]["completed"] == status["counts"]["failed"] == 1
    first, second = status["items"]
    assert (first["id"], first["status"], first["session_id"]) == ("ひとつ", "completed", "own")
    assert (second["id"], second["status"], second["tries"]) == ("2", "failed", 1)
    row = (await api.get(f"/tasks/{second['task_id']}")).json()
    assert row["error_message"] == second["error"]
    other = await api.post("/tasks/batch", json=body | {"retries": 1}, headers=key)
    assert other.status_code == 400
    assert "another body" in other.json()["detail"]


BAD: dict[str, tuple[dict[str, object], int, str]] = {
    "empty": ({"items": []}, 422, "there is no item"),
    "too many": ({"items": [ITEM] * 10_001}, 422, "10,001 items: a batch takes 10,000"),
    "twice the same id": ({"items": [ITEM | {"id": "2"}, ITEM]}, 422, "'2' stands for several"),
    "no items": ({}, 422, "either as `items` or by `items_file`"),
    "two sources": ({"items": [ITEM], "items_file": "a.csv"}, 422, "either as `items`"),
    "blank task": ({"items": [{"task_description": " "}]}, 422, "must say something"),
    "lone surrogate": ({"items": ["Read \ud800"]}, 422, "surrogate"),
    "unknown field": ({"items": [ITEM | {"url": "x"}]}, 422, "Extra inputs"),
    "unknown mode": ({"items": [ITEM], "mode": "fast"}, 422, "'serial' or 'parallel'"),
    "file outside": ({"items_file": "../../secret.yaml"}, 400, "must lie inside"),
    "file missing": ({"items_file": "nope.yaml"}, 400, "names nothing inside"),
    "broken yaml": ({"items_file": "broken.yaml"}, 400, "line 2, column 7"),
    "upload missing": ({"items": [ITEM | {"upload_files_path": "x"}]}, 400, "names nothing"),
    "upload in parallel": (
        {"items": [ITEM | {"upload_files_path": "x"}], "mode": "parallel"},
        422,
        "needs a `session_id`",
    ),
}


async def test_a_batch_that_cannot_be_is_refused_and_nothing_is_made(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    uploads = stack.settings.workspace_dir / "bad" / "uploads"
    uploads.mkdir(parents=True)
    (uploads / "broken.yaml").write_text("- Read this\n- a: b: c\n")
    before = await batches(prefect)
    for name, (change, status, words) in BAD.items():
        content = json.dumps({"session_id": "bad"} | change)
        answer = await api.post("/tasks/batch", content=content, headers=JSON)
        assert answer.status_code == status, (name, answer.text)
        assert words in answer.text, (name, answer.text)
    unknown = await api.post(
        "/tasks/batch", json={"session_id": "bad", "items": [ITEM], "llm_profile_name": "nope"}
    )
    assert unknown.json()["error"] == "llm_connection_failed"
    for batch_id in ("nope", "00000000-0000-0000-0000-000000000000"):
        answer = await api.get(f"/tasks/batch/{batch_id}")
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            f"No batch has the id {batch_id}",
        )
    assert await batches(prefect) == before


async def command(stack: LiveStack, *words: str) -> tuple[int, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vibesurf_blocks", *words, env=stack.env, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.slow
async def test_a_file_is_run_from_the_command_line(
    stack: LiveStack, site: Site, tmp_path: Path
) -> None:
    file = tmp_path / "tasks.csv"
    # More than Prefect takes as a parameter: the API lays it into the session's uploads.
    wide = "é " * 49_900
    lines = [f"{item['id']},{item['task_description']} {wide}" for item in pages(site, "a", "b")]
    file.write_text("\n".join(["id,task_description", *lines]))
    code, out, err = await command(stack, "batch", str(file), "--session", "cli", "--json")
    assert code == 0, err
    batch = json.loads(out)
    assert [item["id"] for item in batch["items"]] == ["a", "b"]
    assert batch["counts"]["completed"] == 2

    code, _, err = await command(stack, "batch", "--retry", batch["batch_id"])
    assert (code, "Nothing is missing" in err) == (1, True)


@pytest.mark.parametrize("flow_id", ["batch/batch", "workflow/workflow"])
async def test_batches_and_workflows_are_scheduled_by_name(
    api: httpx.AsyncClient, flow_id: str
) -> None:
    path = f"/schedule/{flow_id}"
    made = await api.post("/schedule", json={"flow_id": flow_id, "cron_expression": "0 3 * * *"})
    try:
        assert made.status_code == 200, made.text
        assert (await api.get(path)).json()["flow_id"] == flow_id
    finally:
        assert (await api.delete(path)).status_code == 200
