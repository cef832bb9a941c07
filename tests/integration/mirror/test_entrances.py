"""However a run was started, it gets a row like a submitted one."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import Scheduled

from tests.support.eventually import eventually
from tests.support.site import Site
from tests.support.stack import ROOT, LiveStack
from tests.support.tasks import Json, completes, row_of


async def _command(stack: LiveStack, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "prefect",
        *words,
        env=stack.env,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def _only_task(api: httpx.AsyncClient, session: str) -> Json | None:
    rows = (await api.get("/tasks", params={"session_id": session})).json()["tasks"]
    assert len(rows) <= 1
    return rows[0] if rows else None


@pytest.mark.timeout(180)
async def test_prefect_deploy_and_deployment_run(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    """`prefect deploy --all` changes nothing it should not; then the CLI starts a task."""
    before = await prefect.read_deployment_by_name("agent-run/agent")
    pool = await prefect.read_work_pool("vibesurf")
    await _command(stack, "--no-prompt", "deploy", "--all")
    after = await prefect.read_deployment_by_name("agent-run/agent")
    for name in ("id", "entrypoint", "job_variables", "parameter_openapi_schema", "pull_steps"):
        assert getattr(after, name) == getattr(before, name), name
    assert (await prefect.read_work_pool("vibesurf")).concurrency_limit == pool.concurrency_limit

    url = site.html("/cli", "<p>From the command line.</p>", "CLI")
    await _command(
        stack,
        "deployment",
        "run",
        "agent-run/agent",
        "-p",
        f"task_description=Read {url}",
        "-p",
        "session_id=from-cli",
    )
    row = await eventually(lambda: _only_task(api, "from-cli"), timeout=20)
    assert row is not None
    done = await completes(api, row["task_id"])
    assert "From the command line." in done["task_result"]


async def test_a_custom_run_of_the_ui(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    url = site.html("/ui", "<p>From the UI.</p>")
    deployment = await prefect.read_deployment_by_name("agent-run/agent")
    run = await prefect.create_flow_run_from_deployment(
        deployment.id, parameters={"task_description": f"Read {url}", "session_id": "from-ui"}
    )
    await eventually(lambda: row_of(api, str(run.id)), timeout=20)
    row = await completes(api, str(run.id))
    assert "From the UI." in row["task_result"]


async def test_a_custom_run_with_wrong_parameters_is_refused_by_prefect(
    prefect: PrefectClient,
) -> None:
    deployment = await prefect.read_deployment_by_name("agent-run/agent")
    with pytest.raises(httpx.HTTPStatusError, match=r"409|422"):
        await prefect.create_flow_run_from_deployment(
            deployment.id, parameters={"task_description": "", "session_id": "../x"}
        )


async def test_a_run_of_the_future_gets_its_row_when_it_falls_due(
    api: httpx.AsyncClient, prefect: PrefectClient, site: Site
) -> None:
    url = site.html("/later", "<p>Later.</p>")
    deployment = await prefect.read_deployment_by_name("agent-run/agent")
    due = datetime.now(UTC) + timedelta(seconds=4)
    run = await prefect.create_flow_run_from_deployment(
        deployment.id,
        parameters={"task_description": f"Read {url}", "session_id": "later"},
        state=Scheduled(scheduled_time=due),
    )
    first_seen: datetime | None = None

    async def there() -> Json | None:
        nonlocal first_seen
        row = await row_of(api, str(run.id))
        if row is not None and first_seen is None:
            first_seen = datetime.now(UTC)
        return row

    await eventually(there, timeout=20)
    assert first_seen is not None
    assert first_seen >= due
    row = await completes(api, str(run.id))
    assert datetime.fromisoformat(row["created_at"]) == due
    late = (datetime.fromisoformat(row["started_at"]) - due).total_seconds()
    assert 0 <= late < 5


@pytest.mark.timeout(120)
async def test_plain_python(stack: LiveStack, api: httpx.AsyncClient, site: Site) -> None:
    url = site.html("/python", "<p>From Python.</p>")
    code = (
        "import asyncio; from flows.agent_run import agent_run; "
        f"asyncio.run(agent_run(task_description='Read {url}', session_id='from-python'))"
    )
    process = stack.open(sys.executable, "-c", code)
    row = await eventually(lambda: _only_task(api, "from-python"), timeout=40)
    assert row is not None
    done = await completes(api, row["task_id"], timeout=40)
    assert "From Python." in done["task_result"]
    assert await asyncio.to_thread(process.wait, 30) == 0
