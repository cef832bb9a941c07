"""What is pruned is gone from Prefect, the tables and the workspace, and does not come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import Task
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry, Completed, Running

from tests.support.commands import program
from tests.support.eventually import eventually
from tests.support.records import at, task
from tests.support.schedules import copy_agent, fire_every, unique
from tests.support.site import Site
from tests.support.stack import LiveStack
from tests.support.tasks import body, completes, ends, row_of, submit
from vibesurf_blocks.errors import StackError
from vibesurf_blocks.mirror.sync import Sync
from vibesurf_blocks.prefect_api import deployments as prefect_deployments
from vibesurf_blocks.prefect_api import tally
from vibesurf_blocks.prefect_api.labels import PARENT, PART, ROUND, TRY
from vibesurf_blocks.prefect_api.runs import read_runs
from vibesurf_blocks.retention.prune import Order, Pruned, Pruner
from vibesurf_blocks.tables import Database, TaskMetadata, TaskStore, upgrade
from vibesurf_blocks.tables.alone import alone
from vibesurf_blocks.tables.records import Adopted
from vibesurf_blocks.tasks import Status
from vibesurf_blocks.workspace import prepare_session

Prune = Callable[..., Awaitable[Pruned]]

PARAMETERS = {"session_id": "ended", "task_description": "Nothing", "items": ["Nothing"]}


@pytest.fixture
async def database(stack: LiveStack) -> AsyncIterator[Database]:
    """The stack's tables."""
    opened = Database.of(stack.settings)
    yield opened
    await opened.aclose()


@pytest.fixture
def prune(stack: LiveStack, prefect: PrefectClient, database: Database) -> Prune:
    """Prunes what has ended by now, or by another moment."""

    async def call(before: datetime | None = None, **order: Any) -> Pruned:
        wanted = Order(before=before or datetime.now(UTC), **order)
        return await Pruner(prefect, database, stack.settings, wanted).run()

    return call


async def known(prefect: PrefectClient, *ids: UUID | str) -> set[str]:
    """Those of the ids of which Prefect knows a flow run."""
    return {str(run.id) for run in await read_runs(prefect, [UUID(str(one)) for one in ids])}


async def ended(prefect: PrefectClient, path: str, **more: Any) -> FlowRun:
    """A run that has ended without ever running: made so, no worker sees it."""
    deployment = await prefect.read_deployment_by_name(path)
    known = (deployment.parameter_openapi_schema or {}).get("properties", {})
    return await prefect.create_flow_run_from_deployment(
        deployment.id,
        state=Completed(),
        parameters={name: value for name, value in PARAMETERS.items() if name in known},
        **more,
    )


async def part(prefect: PrefectClient, parent: FlowRun, number: int) -> FlowRun:
    """An ended part of a batch, linked to it as by `children.create`."""
    stands_for: Task[[], None] = Task(fn=lambda: None, name=f"{number}")
    task_run = await prefect.create_task_run(stands_for, parent.id, dynamic_key=f"{number}")
    labels = {PARENT: str(parent.id), PART: f"{number}", ROUND: 0, TRY: 0}
    return await ended(prefect, "agent-run/agent", parent_task_run_id=task_run.id, labels=labels)


async def rows(api: httpx.AsyncClient, *runs: FlowRun) -> None:
    """Wait until each run has its row."""
    for run in runs:
        await ends(api, str(run.id))


@pytest.mark.slow
async def test_what_is_pruned_is_gone_and_the_newest_submitted_task_stays(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    site: Site,
    store: TaskStore,
    prune: Prune,
) -> None:
    url = site.html("/a", "<p>a</p>")
    session = f"pruned-{uuid4().hex[:8]}"
    old = await completes(api, await submit(api, f"Read {url}", session_id=session))
    new = await completes(api, await submit(api, f"Read {url}"))
    held = site.held("/held")
    running = await submit(api, f"Read {held.url}")
    folder = stack.settings.workspace_dir / session
    assert Path(old["report_path"]).parent.parent == folder
    of_old = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(old["task_id"])]))
    assert await prefect.read_artifacts(artifact_filter=of_old)

    would = await prune(dry_run=True)
    assert would.tasks >= 2
    assert await known(prefect, old["task_id"]) == {old["task_id"]}
    assert await row_of(api, old["task_id"]) == old
    assert len(list(folder.glob("reports/*"))) == 1

    done = await prune()

    assert (done.tasks, done.flow_runs, done.kept) == (would.tasks, would.flow_runs, would.kept)
    assert done.reports >= 2
    assert await known(prefect, old["task_id"], new["task_id"], running) == {running}
    assert await prefect.read_artifacts(artifact_filter=of_old) == []
    assert not folder.exists()
    assert await row_of(api, running) is not None
    # Neither events nor a whole rebuild bring it back.
    sync = Sync(prefect, store, stack.settings)
    await sync.everything()
    await sync.reconcile(datetime.now(UTC) - timedelta(hours=1))
    assert await row_of(api, old["task_id"]) is None
    held.released.set()
    last = await completes(api, running)

    again = await prune()

    # Now the one that was submitted last has ended, and is old enough.
    assert (again.tasks, again.kept) == (0, 1)
    assert await row_of(api, running) == last
    answers = await asyncio.gather(
        *(api.post("/tasks/submit", json=body(f"Read {held.url}")) for _ in range(4))
    )
    assert sorted(one.json()["success"] for one in answers) == [False, False, False, True]


@pytest.mark.slow
async def test_parts_go_with_their_batch_all_or_none(
    api: httpx.AsyncClient, prefect: PrefectClient, prune: Prune
) -> None:
    await prune()
    batch = await ended(prefect, "batch/batch")
    parts = [await part(prefect, batch, number) for number in range(3)]
    await rows(api, *parts)
    ids = {str(one.id) for one in (batch, *parts)}

    # The newest part is to be kept, so all have to stay.
    assert (await prune(keep=1)).tasks == 0
    assert await known(prefect, *ids) == ids
    # A batch that is run again looks for its parts.
    retried: State[Any] = AwaitingRetry(scheduled_time=datetime.now(UTC) + timedelta(hours=1))
    await prefect.set_flow_run_state(batch.id, retried, force=True)
    assert (await prune()).tasks == 0
    assert await known(prefect, *ids) == ids

    await prefect.set_flow_run_state(batch.id, Completed(), force=True)
    done = await prune()
    assert (done.tasks, done.flow_runs) == (3, 4)
    assert await known(prefect, *ids) == set()


@pytest.mark.slow
async def test_a_row_follows_a_run_that_prefect_has_forgotten(
    api: httpx.AsyncClient, prefect: PrefectClient, prune: Prune, store: TaskStore
) -> None:
    """As somebody leaves it who is killed between the two, or Prefect's own retention."""
    await rows(api, await ended(prefect, "agent-run/agent"))
    lost = str(uuid4())
    await store.upsert([task(lost, Status.COMPLETED)])
    assert (await prune(before=task("x").created_at + timedelta(days=1))).tasks == 1
    assert await store.get(lost) is None


@pytest.mark.slow
async def test_executions_of_schedules_do_not_fall(
    api: httpx.AsyncClient, prefect: PrefectClient, prune: Prune
) -> None:
    name = unique("pruned")
    deployment = await copy_agent(prefect, name)
    await fire_every(prefect, deployment, 3_600, datetime.now(UTC) + timedelta(hours=1))
    runs: list[FlowRun] = []

    async def made() -> bool:
        of_it = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
        runs[:] = await prefect.read_flow_runs(flow_run_filter=of_it)
        return len(runs) >= 3

    await eventually(made, timeout=20)

    async def execute(run: FlowRun) -> None:
        await prefect.set_flow_run_state(run.id, Running(), force=True)
        await prefect.set_flow_run_state(run.id, Completed(), force=True)
        await rows(api, run)

    async def counts(number: int) -> dict[str, Any]:
        async def right() -> dict[str, Any] | None:
            answer = (await api.get(f"/schedule/{name}")).json()
            return answer if answer["execution_count"] == number else None

        found = await eventually(right, timeout=20)
        assert found is not None
        return found

    await execute(runs[0])
    await execute(runs[1])
    before = await counts(2)
    schedule = UUID(before["id"])
    told = await prefect_deployments.executions(prefect, deployment, schedule)
    assert told.count == 2

    async def unchanged() -> None:
        assert await prefect_deployments.executions(prefect, deployment, schedule) == told

    # Whoever is killed in any of the three moves leaves the count right.
    going = await read_runs(prefect, [runs[0].id])
    await tally.going(prefect, {schedule: going})
    await unchanged()
    await prefect.delete_flow_run(runs[0].id)
    await unchanged()
    await tally.settle(prefect)
    await unchanged()
    await tally.settle(prefect)
    await unchanged()

    assert (await prune()).tasks >= 2
    await unchanged()
    assert await known(prefect, runs[0].id, runs[1].id) == set()
    await execute(runs[2])
    assert (await counts(3))["last_execution_at"] > before["last_execution_at"]
    await prefect.delete_deployment(deployment)


@pytest.mark.slow
async def test_the_server_of_other_tasks_is_refused(
    stack: LiveStack, prefect: PrefectClient, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    await upgrade(url)
    other = Database(url)
    store = TaskStore(other)
    await store.upsert([task(str(uuid4()), Status.COMPLETED)])
    pruner = Pruner(prefect, other, stack.settings, Order(before=datetime.now(UTC)))
    with pytest.raises(StackError, match="knows none of the newest tasks"):
        await pruner.run()
    assert (await store.page()).total_count == 1
    await other.aclose()


async def test_what_was_taken_over_is_pruned_with_its_report(
    stack: LiveStack, prefect: PrefectClient, tmp_path: Path
) -> None:
    """Prefect knows none of it, and two rows share a report."""
    url = f"sqlite:///{tmp_path}/adopted.db"
    await upgrade(url)
    settings = stack.settings.model_copy(update={"workspace": tmp_path / "workspace"})
    folder = prepare_session(settings.workspace_dir, "session") / "reports"
    shared, own = folder / "vibesurf-1.html", folder / "vibesurf-2.html"
    for file in (shared, own):
        file.write_text("x")
    metadata = TaskMetadata(adopted=Adopted(status="completed"))
    database = Database(url)
    store = TaskStore(database)
    await store.upsert(
        [
            task(
                str(uuid4()),
                Status.COMPLETED,
                second,
                task_metadata=metadata,
                report_path=str(file),
            )
            for second, file in enumerate((shared, own, shared))
        ]
    )

    async def prune(second: float) -> tuple[int, int]:
        done = await Pruner(prefect, database, settings, Order(before=at(second))).run()
        return done.tasks, done.reports

    assert await prune(2) == (2, 1)
    assert [file.exists() for file in (shared, own)] == [True, False]
    assert await prune(3) == (1, 1)
    assert not shared.exists()
    await database.aclose()


@pytest.mark.slow
async def test_only_one_prunes(prune: Prune, database: Database) -> None:
    async with alone(database, "prune", wait=1):
        with pytest.raises(StackError, match="held the right to prune"):
            await prune()


@pytest.mark.slow
async def test_the_command(stack: LiveStack, api: httpx.AsyncClient, store: TaskStore) -> None:
    lost = str(uuid4())
    await store.upsert([task(lost, Status.FAILED)])
    said = await program(stack, "prune", "--older-than", "30d", "--json", "--yes")
    assert said.code == 0, said.words
    assert said.json["tasks"] >= 1
    assert await row_of(api, lost) is None
