"""An agent that ignores the stop is killed with its children after the grace period."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import httpx
import psutil
from prefect.client.orchestration import PrefectClient

from tests.support.book import Books
from tests.support.control import agree, ask, pid_of, queue
from tests.support.eventually import eventually
from tests.support.stack import LiveStack
from tests.support.stubborn import stubborn
from tests.support.tasks import reaches
from vibesurf_blocks.tasks import Status

GRACE = {"stop_grace_seconds": 1.0}


async def test_an_agent_that_ignores_the_stop_is_killed_and_what_it_found_is_kept(
    api: httpx.AsyncClient, prefect: PrefectClient, books: Books
) -> None:
    book = books(3)
    book.let(1)
    task_id = await queue(prefect, book.task, "s-deaf", job_variables=GRACE)
    await book.until_asked(2)
    process = psutil.Process(await pid_of(prefect, task_id))
    process.suspend()  # it hears nothing any more

    answer = await ask(api, "stop", task_id, "It hangs")

    assert answer.status_code == httpx.codes.OK
    row = await agree(api, prefect, task_id, Status.STOPPED)
    assert not process.is_running()
    assert row["error_message"] == "It hangs"
    assert "Text of page 1." in row["task_result"]
    assert row["report_path"] is not None
    assert row["task_metadata"]["recoveries"] == 0


async def test_a_flow_that_sleeps_in_c_is_gone_with_its_children(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient
) -> None:
    note = stack.home.parent / f"stubborn-{uuid4().hex}"
    deployment = await prefect.create_deployment(
        flow_id=await prefect.create_flow(stubborn),
        name="stubborn",
        entrypoint="tests.support.stubborn.stubborn",
        work_pool_name=stack.settings.pool,
        job_variables=GRACE,
    )
    run = await prefect.create_flow_run_from_deployment(deployment, parameters={"note": str(note)})
    pids = await eventually(lambda: noted(note), timeout=20)
    processes = [psutil.Process(pid) for pid in (await pid_of(prefect, str(run.id)), *pids)]
    assert all(process.is_running() for process in processes)

    await ask(api, "stop", str(run.id), "Enough")

    row = await reaches(api, str(run.id), Status.STOPPED)
    assert row["error_message"] == "Enough"

    async def gone() -> bool:
        return not any(process.is_running() for process in processes)

    await eventually(gone, timeout=5)


async def noted(note: Path) -> list[int]:
    """The process ids in a file, once it is there."""
    return [int(pid) for pid in note.read_text().split()] if note.exists() else []  # noqa: ASYNC240
