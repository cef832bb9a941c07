"""The pool runs any flow deployed to it: pull steps, environment, job variables, logs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun

from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from tests.support.tasks import reaches
from vibesurf_blocks.tasks import Status

FLOW = """
import os, signal, time
from prefect import flow, task

@task
def double(x):
    return 2 * x

@flow(log_prints=True)
def told(x: int = 1):
    print("doubled", double(x), "word", os.environ.get("WORD"), "in", os.path.basename(os.getcwd()))
    return double(x)

@flow
def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open("started", "w").close()
    time.sleep(600)
"""

DEPLOY = """
from prefect import flow
import sys
for name in ("told", "stubborn"):
    flow.from_source(sys.argv[1], f"foreign.py:{name}").deploy(
        name="foreign", work_pool_name="vibesurf", print_next_steps=False, ignore_warnings=True,
        job_variables={"env": {"WORD": "spoken"}, "stop_grace_seconds": 1},
    )
"""


@pytest.fixture(scope="module")
def deployed(live_stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with flows of somebody else's, deployed to the pool."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "foreign.py").write_text(FLOW)
    (folder / "deploy.py").write_text(DEPLOY)
    process = live_stack.open(sys.executable, "deploy.py", str(folder), cwd=folder)
    assert process.wait(60) == 0
    return folder


async def _run(prefect: PrefectClient, name: str) -> FlowRun:
    deployment = await prefect.read_deployment_by_name(f"{name}/foreign")
    return await prefect.create_flow_run_from_deployment(deployment.id)


async def _ended(prefect: PrefectClient, run: FlowRun) -> FlowRun | None:
    found = await prefect.read_flow_run(run.id)
    return found if found.state is not None and found.state.is_final() else None


@pytest.mark.timeout(120)
async def test_a_foreign_flow_runs_with_its_folder_environment_and_logs(
    stack: LiveStack, prefect: PrefectClient, deployed: Path
) -> None:
    run = await _run(prefect, "told")
    done = await eventually(lambda: _ended(prefect, run), timeout=40)
    assert done is not None
    assert done.state is not None
    assert done.state.is_completed()

    async def logged() -> bool:
        logs = await prefect.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
        return any(f"doubled 2 word spoken in {deployed.name}" in one.message for one in logs)

    await eventually(logged, timeout=20)


@pytest.mark.timeout(120)
async def test_a_flow_that_ignores_its_cancellation_is_killed_after_the_grace_period(
    stack: LiveStack, prefect: PrefectClient, deployed: Path
) -> None:
    from tests.support.tasks import cancel

    run = await _run(prefect, "stubborn")
    await eventually(lambda: asyncio.to_thread((deployed / "started").exists), timeout=40)
    await cancel(prefect, run.id, "Enough of it")
    done = await eventually(lambda: _ended(prefect, run), timeout=30)
    assert done is not None
    assert done.state is not None
    assert done.state.is_cancelled()
    assert done.state.message == "Enough of it"


async def test_a_flow_that_cannot_be_loaded_is_given_up_and_holds_up_nobody(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    """Its process ends before the run is Running; started again for ever, it would be first."""
    agent = await prefect.read_deployment_by_name("agent-run/agent")
    deployment = await prefect.create_deployment(
        flow_id=agent.flow_id,
        name=f"broken-{uuid4().hex[:8]}",
        entrypoint="no_such_module.no_such_flow",
        work_pool_name=stack.settings.pool,
    )
    values = {"task_description": "Read nothing", "session_id": "s-broken"}
    run = await prefect.create_flow_run_from_deployment(deployment, parameters=values)

    row = await reaches(api, str(run.id), Status.FAILED)

    assert row["error_message"] == "The run's process ended with exit code 1."
    await prefect.delete_deployment(deployment)
