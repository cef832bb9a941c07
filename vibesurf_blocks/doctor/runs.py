"""Check: every run that waits will be taken, every run that runs gives a sign of life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from vibesurf_blocks.doctor import processes
from vibesurf_blocks.doctor.case import Case, is_online, workers
from vibesurf_blocks.doctor.finding import Finding, Told, error, note, span, told, warning
from vibesurf_blocks.prefect_api import runs as prefect_runs
from vibesurf_blocks.prefect_api.artifacts import last_published
from vibesurf_blocks.prefect_api.labels import ALIVE
from vibesurf_blocks.prefect_api.states import status_of
from vibesurf_blocks.tables.tasks import TaskStore

if TYPE_CHECKING:
    import psutil
    from prefect.client.schemas.objects import FlowRun, State

    from vibesurf_blocks.tables.records import TaskRecord

CLAIM_SECONDS: Final = 20.0
"""Seconds that a due run may wait for a worker while a slot is free."""

STOP_SECONDS: Final = 30.0
"""Seconds a run may take to stop: its grace period, its end, and its row."""

TIMEOUT_SECONDS: Final = 120.0
"""Seconds before the end of a suspension at which it is worth a warning."""

ROW_SECONDS: Final = 5.0
"""Seconds a row may be behind its run."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of all runs at once.

    Attributes:
        case: The stack.
        now: The moment (UTC).
        published: When runs last published anything (UTC).
        processes: The processes of runs on this machine, by their ids.
    """

    case: Case
    now: datetime
    published: Mapping[UUID, datetime]
    processes: Mapping[int, psutil.Process]


async def runs(case: Case) -> Told:
    """Look at the runs of the agents' pool that have not ended."""
    now = datetime.now(UTC)
    client, pool = case.client, case.settings.pool
    holders = [
        *await prefect_runs.slot_holders(client, pool),
        *await prefect_runs.loose_holders(client),
    ]
    suspended = await prefect_runs.suspended(client, pool)
    waiting = await prefect_runs.waiting(client, pool, now)
    scene = Scene(
        case,
        now,
        await last_published(client, [run.id for run in holders]),
        {one.pid: one for one in processes.parts(case.settings.home_dir, "run")},
    )
    found: list[Finding] = []
    for run in holders:
        found += of_holder(scene, run)
    found += [of_suspended(run, now) for run in suspended]
    limit = (await client.read_work_pool(pool)).concurrency_limit or case.settings.slots
    if len(holders) >= limit:
        found += [_taken(run, now) for run in holders]
    elif waiting:
        found += await _waiting(case, waiting, now)
    found += await _rows(case, [*holders, *suspended, *waiting], now)
    says = f"{len(holders)} of {limit} slots taken, {len(waiting)} waiting"
    return told(says, *found, running=len(holders), waiting=len(waiting))


def of_holder(scene: Scene, run: FlowRun) -> list[Finding]:
    """What is wrong with a run that holds a slot."""
    state = _state(run)
    age = (scene.now - state.timestamp).total_seconds()
    process = _process(scene, run)
    if process is not None and processes.is_stopped(process):
        what = f"Task {run.id} hangs: its process {process.pid} is stopped (SIGSTOP)."
        resume = processes.RESUME.format(pid=process.pid)
        mend = f"`{resume}`; or `kill -9 {process.pid}`, and it goes on after its last step"
        return [error(what, mend, str(run.id))]
    if state.is_cancelling() and age > STOP_SECONDS:
        what = f"Task {run.id} was told to stop {span(age)} ago and has not ended."
        mend = "Start a worker, which ends it: see the check `worker`."
        if process is not None:
            mend = f"`kill -9 {process.pid}`: its worker then ends it as stopped"
        return [error(what, mend, str(run.id))]
    if state.is_pending() and age > CLAIM_SECONDS:
        what = f"Task {run.id} was claimed by a worker {span(age)} ago and has not started."
        mend = "See the worker's log. If the worker is gone, start one: it takes the run over."
        return [error(what, mend, str(run.id))]
    if not state.is_running():
        return []
    silent = (scene.now - _last_sign(scene, run)).total_seconds()
    most = _idle_seconds(scene.case, run)
    if silent <= most:
        return []
    what = (
        f"Task {run.id} runs and gave no sign of life for {span(silent)}; one step may take "
        f"{span(most)} (idle_seconds)."
    )
    mend = f"`vibesurf-blocks tasks stop {run.id}`"
    if process is not None:
        mend = f"`kill -9 {process.pid}`, and it goes on after its last step; or {mend}"
    return [error(what, mend, str(run.id))]


def _last_sign(scene: Scene, run: FlowRun) -> datetime:
    """When a run last changed its state, finished a step, or said that it lives."""
    signs = [_state(run).timestamp]
    if run.id in scene.published:
        signs.append(scene.published[run.id])
    alive = run.labels.get(ALIVE)
    if isinstance(alive, str):
        signs.append(datetime.fromisoformat(alive))
    return max(signs)


def _idle_seconds(case: Case, run: FlowRun) -> float:
    given = run.parameters.get("idle_seconds")
    return float(given) if isinstance(given, int | float) else case.settings.idle_seconds


def _process(scene: Scene, run: FlowRun) -> psutil.Process | None:
    """The process of a run, where it is one of this home's on this machine."""
    pid = run.infrastructure_pid
    return scene.processes.get(int(pid)) if pid and pid.isdecimal() else None


def _taken(run: FlowRun, now: datetime) -> Finding:
    state = _state(run)
    what = (
        f"The slot is taken by task {run.id}, {status_of(state)} since "
        f"{span((now - state.timestamp).total_seconds())}: a submit is refused."
    )
    held = state.is_paused()
    then = f"`vibesurf-blocks tasks resume {run.id}`, or " if held else ""
    mend = (
        f"{then}`vibesurf-blocks tasks stop {run.id}`; `vibesurf-blocks run --enqueue` waits for "
        "its end"
    )
    return note(what, mend, str(run.id))


def of_suspended(run: FlowRun, now: datetime) -> Finding:
    """What is to be said of a run that is suspended."""
    mend = f"`vibesurf-blocks tasks resume {run.id}`"
    until = _state(run).state_details.pause_timeout
    if until is None:
        what = f"Task {run.id} is suspended (Pause in the Prefect UI), for any time."
        return note(what, mend, str(run.id))
    left = until.timestamp() - now.timestamp()
    what = f"Task {run.id} is suspended (Pause in the Prefect UI); "
    if left <= 0:
        what += f"its time was over {span(-left)} ago, and it fails when it is resumed."
        return error(
            what, f"`vibesurf-blocks tasks stop {run.id}`, and submit it anew", str(run.id)
        )
    what += f"it can be resumed for {span(left)} more, then it fails."
    make = warning if left <= TIMEOUT_SECONDS else note
    return make(what, mend, str(run.id))


async def _waiting(case: Case, waiting: list[FlowRun], now: datetime) -> list[Finding]:
    """Why runs that are due wait although a slot is free."""
    pool = case.settings.pool
    somebody = any(is_online(one) for one in await workers(case, pool) or [])
    late = [(now - _due(run, now)).total_seconds() for run in waiting]
    worst = max(late)
    if somebody and worst <= CLAIM_SECONDS:
        return []
    which = f"Task {waiting[0].id}" if len(waiting) == 1 else f"{len(waiting)} tasks"
    verb = "has" if len(waiting) == 1 else "have"
    what = f"{which} {verb} been due for up to {span(worst)}, and nobody takes "
    what += "it" if len(waiting) == 1 else "them"
    if not somebody:
        what += f": no worker of the pool {pool!r} is online."
        return [error(what, f"`prefect worker start --pool {pool}`, or see the check `worker`")]
    what += " though a slot is free and a worker is online."
    mend = (
        f"See that neither pool nor queue is paused (check `pools`), and the worker's log; "
        f"`prefect work-pool inspect {pool}`"
    )
    return [error(what, mend)]


async def _rows(case: Case, runs: list[FlowRun], now: datetime) -> list[Finding]:
    """Where a row does not say what Prefect says, of these runs and of all unfinished rows."""
    store = TaskStore(case.database)
    open_rows = await store.many(await store.unfinished_ids())
    wanted = {run.id: run for run in runs}
    # Read after those rows: what has ended or begun meanwhile is too young to be told of.
    ids = {*wanted, *(UUID(one) for one in open_rows)}
    known = {run.id: run for run in await prefect_runs.read_runs(case.client, list(ids))}
    rows = open_rows | await store.many([str(one) for one in wanted if str(one) not in open_rows])
    return [
        one
        for run_id in sorted(ids)
        if (one := of_row(str(run_id), rows.get(str(run_id)), known.get(run_id), now)) is not None
    ]


def of_row(
    task_id: str, row: TaskRecord | None, run: FlowRun | None, now: datetime
) -> Finding | None:
    """What is wrong with the row of a task; None where nothing is, or it may only be late."""
    if run is None:
        if row is None or now - row.updated_at < timedelta(seconds=ROW_SECONDS):
            return None
        says = "knows no such run"
    elif (state := run.state) is None:
        return None
    else:
        since = max(state.timestamp, _due(run, now)) if state.is_scheduled() else state.timestamp
        if now - since < timedelta(seconds=ROW_SECONDS):
            return None
        says = f"says {state.name}"
        if row is not None and row.status is status_of(state):
            return None
    shown = row.status.value if row is not None else "missing"
    what = f"The row of task {task_id} is {shown} while Prefect {says}: the mirror is behind."
    return error(what, "See the check `mirror`.", task_id)


def _due(run: FlowRun, now: datetime) -> datetime:
    return run.next_scheduled_start_time or run.expected_start_time or now


def _state(run: FlowRun) -> State:
    assert run.state is not None  # noqa: S101 - read by its state
    return run.state
