"""`prefect deploy --all` and `vibesurf-blocks drift` with the project's own prefect.yaml."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate

from tests.support.eventually import eventually
from tests.support.stack import ROOT, LiveStack

EXAMPLES = (
    "agent-run/example-agent-task",
    "backend-flow/example-backend-flow",
    "batch/example-batch",
    "workflow/example-workflow",
)


async def run(stack: LiveStack, *words: str) -> tuple[int, str]:
    """Run a command line's `main` in the project's folder; its exit code and what it said."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, cwd=ROOT, env=stack.env, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    return process.returncode or 0, (out + err).decode()


async def drift(stack: LiveStack, file: Path = ROOT / "prefect.yaml") -> tuple[int, str]:
    return await run(stack, "vibesurf_blocks", "drift", "--file", str(file))


@pytest.fixture
async def deployed(stack: LiveStack, prefect: PrefectClient) -> AsyncIterator[LiveStack]:
    """The stack with everything of prefect.yaml on it."""
    code, said = await run(stack, "prefect", "--no-prompt", "deploy", "--all")
    assert code == 0, said
    yield stack
    for path in EXAMPLES:
        await prefect.delete_deployment((await prefect.read_deployment_by_name(path)).id)


@pytest.mark.slow
async def test_a_deploy_shows_and_a_redeploy_changes_nothing(
    deployed: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    async def shown() -> bool:
        rows = {row["flow_id"]: row for row in (await api.get("/schedule")).json()}
        return all(path in rows and not rows[path]["is_enabled"] for path in EXAMPLES)

    await eventually(shown, timeout=1)
    assert await drift(deployed) == (0, "The server is as prefect.yaml says.\n")
    before = await prefect.read_deployment_by_name(EXAMPLES[0])
    code, said = await run(deployed, "prefect", "--no-prompt", "deploy", "--all")
    assert code == 0, said
    after = await prefect.read_deployment_by_name(EXAMPLES[0])
    assert [one.id for one in after.schedules] == [one.id for one in before.schedules]
    assert [one.active for one in after.schedules] == [False]


@pytest.mark.slow
async def test_drift_tells_what_was_changed(
    deployed: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    answer = await api.put(
        f"/schedule/{EXAMPLES[0]}", json={"is_enabled": True, "cron_expression": "0 9 * * *"}
    )
    assert answer.status_code == httpx.codes.OK, answer.text
    other = await prefect.read_deployment_by_name(EXAMPLES[1])
    await prefect.update_deployment(other.id, DeploymentUpdate(tags=["vibesurf"]))
    code, said = await drift(deployed)
    assert code == 1
    assert f"{EXAMPLES[0]} schedule weekday-mornings cron" in said
    assert "prefect.yaml: 0 8 * * mon-fri" in said
    assert "server: 0 9 * * *" in said
    assert f"{EXAMPLES[0]} schedule weekday-mornings active" in said
    assert f"{EXAMPLES[1]} tags" in said


@pytest.mark.slow
async def test_a_file_that_cannot_be_compared_is_told(stack: LiveStack, tmp_path: Path) -> None:
    for text in ("{", "deployments: 3", ""):
        file = tmp_path / "prefect.yaml"
        file.write_text(text)
        code, said = await drift(stack, file)
        assert code == 2, said
        assert "Error:" in said
    assert (await drift(stack, tmp_path / "missing.yaml"))[0] == 2
