"""Keys of profiles and secrets of tasks: kept for as long as needed, and shown nowhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from tests.support.eventually import eventually
from tests.support.model_server import ModelServer
from tests.support.profiles import KEY, profile, warm
from tests.support.schedules import unique
from tests.support.site import Site
from tests.support.stack import LiveStack
from tests.support.tasks import body, completes, ends
from vibesurf_blocks.errors import EngineError
from vibesurf_blocks.prefect_api import run_secrets
from vibesurf_blocks.prefect_api.block_documents import anonymous
from vibesurf_blocks.run.tools import read_tools, with_secrets
from vibesurf_blocks.tasks import AgentTask, McpServerConfig

TOKEN = "mcp-t0ken-this-must-be-told-to-nobody"
SERVERS = {"mcpServers": {"files": {"command": "mcp-files", "env": {"FILES_TOKEN": TOKEN}}}}


async def kept(prefect: PrefectClient) -> list[str]:
    """The tags of all secrets that are kept."""
    documents = await anonymous(prefect, "secret", "vibesurf-task-")
    return [f"{run_secrets.SECRETS_TAG}{one.id}" for one in documents]


async def none_kept(prefect: PrefectClient) -> None:
    async def away() -> bool:
        return not await kept(prefect)

    await eventually(away, timeout=40)


async def test_a_run_has_its_secrets_until_it_ends(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    """However many submits bring secrets along, those of the accepted one alone are kept."""
    await none_kept(prefect)
    page = site.held("/page")
    request = body(f"Read {page.url}", mcp_server_config=SERVERS)
    answers = await asyncio.gather(*(api.post("/tasks/submit", json=request) for _ in range(5)))
    assert {one.status_code for one in answers} == {200}, [one.text for one in answers]
    (task_id,) = [one.json()["task_id"] for one in answers if one.json()["success"]]
    assert await asyncio.to_thread(page.asked.wait, 20)
    run = await prefect.read_flow_run(UUID(task_id))
    tags = [tag for tag in run.tags if tag.startswith(run_secrets.SECRETS_TAG)]
    assert await kept(prefect) == tags

    task = AgentTask.model_validate(run.parameters)
    assert task.mcp_server_config is not None
    assert task.mcp_server_config.servers["files"].env == {"FILES_TOKEN": "***"}
    tools = await read_tools(prefect, run, task)
    assert tools.mcp.servers["files"].env == {"FILES_TOKEN": TOKEN}
    assert TOKEN not in repr(tools)
    assert await run_secrets.sweep(prefect) == 0

    page.released.set()
    await completes(api, task_id)
    await none_kept(prefect)
    with pytest.raises(EngineError, match="FILES_TOKEN for the MCP server 'files' is not kept"):
        await read_tools(prefect, run, task)


@pytest.mark.slow
async def test_the_runs_of_a_scheduled_task_have_its_secrets(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    await none_kept(prefect)
    name = unique("secrets")
    task = body(f"Read {site.html('/a', 'a')}", mcp_server_config=SERVERS)
    schedule = {"flow_id": name, "cron_expression": "0 3 * * *", "task": task}
    made = await api.post("/schedule", json=schedule)
    assert made.status_code == httpx.codes.OK, made.text
    deployment = await prefect.read_deployment_by_name(f"agent-run/{name}")
    run = await prefect.create_flow_run_from_deployment(deployment.id)
    await ends(api, str(run.id))
    (tag,) = await kept(prefect)
    assert tag in run.tags
    assert await run_secrets.read(prefect, run.tags) == {"files": {"FILES_TOKEN": TOKEN}}

    changed = await api.put(f"/schedule/{name}", json={"task": task, "overlap": "skip"})
    assert changed.status_code == httpx.codes.OK, changed.text
    deployment = await prefect.read_deployment_by_name(f"agent-run/{name}")
    assert "overlap:skip" in deployment.tags
    (fresh,) = [one for one in deployment.tags if one.startswith(run_secrets.SECRETS_TAG)]
    assert fresh != tag

    await run_secrets.sweep(prefect)  # as the mirror does now and then
    assert await kept(prefect) == [fresh]
    run = await prefect.create_flow_run_from_deployment(deployment.id)
    await ends(api, str(run.id))
    await api.put(f"/schedule/{name}", json={"task": {**task, "mcp_server_config": None}})
    await run_secrets.sweep(prefect)
    assert await kept(prefect) == []
    await api.delete(f"/schedule/{name}")


def test_what_was_masked_and_is_not_kept_is_told() -> None:
    masked = McpServerConfig.model_validate(SERVERS).without_secrets()
    assert with_secrets(masked, {"files": {"FILES_TOKEN": TOKEN}}).secrets == {
        "files": {"FILES_TOKEN": TOKEN}
    }
    with pytest.raises(EngineError, match="Submit it again"):
        with_secrets(masked, {})


async def test_no_secret_is_in_anything_that_is_shown_or_stored(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    model: ModelServer,
    site: Site,
) -> None:
    """Rows, logs, API answers, and what Prefect shows of runs, blocks, events, logs, artifacts."""
    secrets = {"default_headers": {"x-secret": KEY}}
    async with profile(prefect, "grep", base_url=model.url, provider_secrets=secrets):
        request = body(f"Read {site.html('/a', 'a')}", mcp_server_config=SERVERS)
        await warm(api, prefect, model)
        said = await api.post("/tasks/submit", json={**request, "llm_profile_name": "grep"})
        assert said.json()["success"], said.text
        assert model.requests[0].headers["authorization"] == f"Bearer {KEY}"
        row = await ends(api, said.json()["task_id"], timeout=60)
        seen = [said.text, json.dumps(row)]
        for path in ("/llm-profiles", "/tasks", "/tasks/detailed-status"):
            seen.append((await api.get(path)).text)
        for path in ("flow_runs", "block_documents", "logs", "artifacts", "events", "task_runs"):
            seen.append((await prefect.request("POST", f"/{path}/filter", json={})).text)  # type: ignore[arg-type]
        seen.append(stack.said())
        for text in seen:
            assert KEY not in text
            assert TOKEN not in text
        for file, stored in files(stack.home):
            assert KEY.encode() not in stored, file
            assert TOKEN.encode() not in stored, file


def files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """All files of the home: tables, workspace, logs, and the data of Prefect's database."""
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            with suppress(FileNotFoundError):  # PostgreSQL goes on working
                yield file, file.read_bytes()


@flow(name="no-agent")
def nothing() -> None:
    """A flow of which nothing is ever run."""


async def test_the_secrets_of_a_run_that_is_made_while_they_are_looked_at_are_kept(
    prefect: PrefectClient,
) -> None:
    tags = await run_secrets.keep(prefect, {"files": {"FILES_TOKEN": TOKEN}})
    made: list[UUID] = []

    class Meanwhile:
        """Prefect's client; the run comes right after the first look at runs."""

        def __getattr__(self, name: str) -> Any:
            return getattr(prefect, name)

        async def read_flow_runs(self, **asked: Any) -> list[FlowRun]:
            found = await prefect.read_flow_runs(**asked)
            if not made:
                made.append((await prefect.create_flow_run(nothing, tags=tags)).id)
            return found

    client: Any = Meanwhile()
    await run_secrets.sweep(client)

    assert made
    assert set(tags) <= set(await kept(prefect))
    await prefect.delete_flow_run(made[0])
    await run_secrets.drop(prefect, tags)
