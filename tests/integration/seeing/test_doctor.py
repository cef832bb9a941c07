"""The stack is broken in each documented way; the doctor names the cause and what to type."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import SCHEDULE_TYPES, CronSchedule
from prefect.states import Suspended
from sqlalchemy import update

from tests.support.backends import backend_profile
from tests.support.book import Books
from tests.support.control import done, pid_of, queue
from tests.support.eventually import eventually
from tests.support.profiles import profile
from tests.support.schedules import copy_agent, fire_every, unique
from tests.support.stack import LiveStack, end
from tests.support.tasks import completes, ends, submit
from vibesurf_blocks.browser import keeper as keeper_program
from vibesurf_blocks.browser.session import FOLDER
from vibesurf_blocks.cli.doctor import show_health
from vibesurf_blocks.doctor.browsers import browsers
from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.finding import Finding, Severity, Told
from vibesurf_blocks.doctor.mirror import mirror
from vibesurf_blocks.doctor.profiles import profiles
from vibesurf_blocks.doctor.runs import runs
from vibesurf_blocks.doctor.schedules import schedules
from vibesurf_blocks.doctor.workers import worker
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.stack.ready import free_port
from vibesurf_blocks.tables.models import Base

FOUND_SECONDS = 40.0
_schedules = Base.metadata.tables["schedules"]


@contextmanager
def stopped(*processes: psutil.Process) -> Iterator[None]:
    """Processes that are stopped, and go on after the block."""
    for one in processes:
        one.suspend()
    try:
        yield
    finally:
        for one in processes:
            one.resume()


def about(told: Told, subject: str) -> list[Finding]:
    return [one for one in told.findings if one.subject == subject]


async def finds(look: Callable[[], Awaitable[Told]], words: str) -> Finding:
    """Look until something is found that says these words; that finding."""
    last: Told | None = None

    async def there() -> Finding | None:
        nonlocal last
        last = await look()
        return next((one for one in last.findings if words in one.what), None)

    try:
        found = await eventually(there, timeout=FOUND_SECONDS, pause=0.2)
    except TimeoutError as error:
        raise AssertionError(f"{words!r} was not found: {last}") from error
    return cast("Finding", found)


async def test_a_task_that_hangs_holds_the_slot_and_is_suspended(
    stack: LiveStack, api: httpx.AsyncClient, prefect: PrefectClient, books: Books, case: Case
) -> None:
    book = books(2)
    task_id = await submit(api, book.task)
    await book.until_asked(1)
    child = psutil.Process(await pid_of(prefect, task_id))

    taken = await finds(lambda: runs(case), "The slot is taken")
    assert taken.subject == task_id
    assert taken.severity is Severity.NOTE  # as it should be while a task runs
    assert f"vibesurf-blocks tasks stop {task_id}" in taken.mend
    assert "--enqueue" in taken.mend

    with stopped(child):
        hangs = await finds(lambda: runs(case), "is stopped (SIGSTOP)")
        assert hangs.severity is Severity.ERROR
        assert hangs.subject == task_id
        assert f"kill -CONT {child.pid}" in hangs.mend

    await prefect.set_flow_run_state(UUID(task_id), Suspended(timeout_seconds=60), force=True)
    book.let(1)
    ending = await finds(lambda: runs(case), "then it fails")
    assert ending.severity is Severity.WARNING
    assert f"vibesurf-blocks tasks resume {task_id}" in ending.mend
    await done(api, "stop", task_id)
    await ends(api, task_id)


async def test_a_model_that_does_not_answer_is_named_by_a_deep_look(
    prefect: PrefectClient, case: Case
) -> None:
    deep = Case(case.settings, case.client, case.database, deep=True)
    address = f"http://127.0.0.1:{free_port()}"
    async with (
        # Of all that can be asked, a backend needs the least to be imported.
        backend_profile(prefect, "away", base_url=address),
        profile(prefect, "off", base_url=address, active=False, default=True),
    ):
        (refused,) = about(await profiles(deep), "away")
        assert address in refused.what
        assert "llm_connection_failed" in refused.what
        assert "Prefect UI" in refused.mend
        told = await profiles(case)
        assert not about(told, "away")  # nobody was asked
        (inactive,) = about(told, "off")
        assert "is not active" in inactive.what


CASES = ("paused", "off", "never", "invalid", "unmade", "daily", "hourly")


async def test_each_reason_why_a_schedule_does_not_fire(prefect: PrefectClient, case: Case) -> None:
    names = {one: unique(one) for one in CASES}
    ids = {one: await copy_agent(prefect, name) for one, name in names.items()}

    async def give(to: str, schedule: SCHEDULE_TYPES, *, active: bool = True) -> None:
        wanted = DeploymentScheduleCreate(schedule=schedule, active=active)
        await prefect.create_deployment_schedules(ids[to], [wanted])

    daily = CronSchedule(cron="0 8 * * *", timezone="UTC")
    try:
        await give("paused", daily)
        await prefect.pause_deployment(ids["paused"])
        await give("off", daily, active=False)
        await give("never", CronSchedule(cron="0 0 30 2 *", timezone="UTC"))
        await give("invalid", CronSchedule(cron="*/20 * * * * *", timezone="UTC"))
        # So far ahead Prefect makes no runs, as if its scheduler did not work.
        later = datetime.now(UTC) + timedelta(days=300)
        await fire_every(prefect, ids["unmade"], 400 * 86_400, later)
        await give("daily", daily)
        await give("hourly", CronSchedule(cron="0 * * * *", timezone="UTC"))

        async def made() -> Told | None:
            found = await schedules(case, loop_seconds=-60, horizon=timedelta(days=400))
            of_both = {f"agent-run/{names[one]}" for one in ("daily", "hourly")}
            wrong = [
                one
                for one in found.findings
                if one.subject in of_both and "made no run" in one.what
            ]
            return None if wrong else found

        told = await eventually(made, timeout=FOUND_SECONDS)
        assert told is not None
        expected = {
            "paused": ("is paused", "--enable"),
            "off": ("switched off", "prefect deployment schedule resume"),
            "never": ("never fires", "--cron"),
            "invalid": ("is invalid", "--cron"),
            "unmade": ("has made no run", "Start the Prefect server again"),
        }
        for which, (why, mend) in expected.items():
            found = [one for one in about(told, f"agent-run/{names[which]}") if why in one.what]
            assert found, (which, told.findings)
            assert mend in found[0].mend
    finally:
        for one in ids.values():
            await prefect.delete_deployment(one)


@pytest.fixture
async def left_browser(stack: LiveStack) -> AsyncIterator[str]:
    """A keeper whose browser nobody uses; its session."""
    session = unique("left")
    folder = stack.settings.workspace_dir / session / FOLDER
    folder.mkdir(parents=True)
    idle = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
    program = Path(keeper_program.__file__)
    started = stack.open(
        sys.executable, "-I", "-S", str(program), str(folder), "600", "600", "none", *idle
    )

    async def kept() -> bool:
        return (folder / "keeper.json").exists()

    await eventually(kept, timeout=10)
    yield session
    end(started)


@pytest.mark.slow
async def test_a_dead_mirror_a_dead_worker_and_what_follows(
    stack: LiveStack,
    api: httpx.AsyncClient,
    prefect: PrefectClient,
    books: Books,
    case: Case,
    left_browser: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scheduled = await copy_agent(prefect, unique("behind"))
    later = datetime.now(UTC) + timedelta(days=2)
    schedule = await fire_every(prefect, scheduled, 86_400, later)

    async def mirrored() -> bool:
        return any(row["id"] == str(schedule.id) for row in (await api.get("/schedule")).json())

    await eventually(mirrored, timeout=10)
    assert (await api.get("/ready")).status_code == httpx.codes.OK
    assert not (await browsers(case)).findings  # idle, and a worker might use it again
    dead = {name: stack.part(name) for name in ("mirror", "worker")}
    book = books(1)
    try:
        with stopped(*dead.values()):
            task_id = await queue(prefect, book.task, "s-doctor")
            async with case.database.write() as connection:
                await connection.execute(
                    update(_schedules)
                    .where(_schedules.c.id == str(schedule.id))
                    .values(next_execution_at=datetime(2020, 1, 1, tzinfo=UTC))
                )
            past = await finds(lambda: schedules(case), "in the past")
            assert "mirror" in past.mend
            silent = await finds(lambda: worker(case), "No worker of the work pool 'vibesurf'")
            assert f"kill -CONT {dead['worker'].pid}" in silent.mend
            waits = await finds(lambda: runs(case), "nobody takes it")
            assert f"Task {task_id}" in waits.what
            assert "prefect worker start --pool vibesurf" in waits.mend
            unwritten = await finds(lambda: runs(case), "is missing while Prefect says")
            assert unwritten.subject == task_id
            behind = await finds(lambda: mirror(case), "Rows no longer follow")
            assert f"kill -CONT {dead['mirror'].pid}" in behind.mend
            (left,) = about(await browsers(case), left_browser)
            assert "nobody uses it" in left.what
            assert left.mend.startswith("`kill ")

            ready = await api.get("/api/ready")
            assert ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
            checks = ready.json()["checks"]
            assert {name: one["ok"] for name, one in checks.items()} == {
                "prefect": True,
                "tables": True,
                "worker": False,
                "mirror": False,
            }
            assert (await api.get("/health")).status_code == httpx.codes.OK

            async def silent_in_metrics() -> bool:
                return 'vibesurf_part_up{part="mirror"} 0.0' in (await api.get("/metrics")).text

            await eventually(silent_in_metrics, timeout=FOUND_SECONDS)
            assert await show_health(stack.settings, deep=False, as_json=True) == 1
            said = json.loads(capsys.readouterr().out)
            assert said["healthy"] is False
            named = {one["check"]: one["findings"] for one in said["checks"]}
            assert named["worker"]
            assert named["mirror"]
            assert not named["tables"]

        book.let_all()
        await completes(api, task_id, timeout=60)

        async def well() -> bool:
            return (await api.get("/ready")).status_code == httpx.codes.OK

        await eventually(well, timeout=FOUND_SECONDS)
        # A busy machine is warned of late rows, and rightly: no more than this is asked here.
    finally:
        await prefect.delete_deployment(scheduled)


async def test_without_a_server_the_rest_is_still_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = Settings(home=tmp_path / "home", prefect_port=free_port())
    assert await show_health(nowhere, deep=False, as_json=True) == 2
    checks = {one["check"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    (away,) = checks["prefect"]["findings"]
    assert "does not answer" in away["what"]
    assert "vibesurf-blocks up" in away["mend"]
    (none,) = checks["tables"]["findings"]
    assert "vibesurf-blocks db upgrade" in none["mend"]
    assert not checks["worker"]["checked"]
    assert checks["versions"]["checked"]
    assert checks["disk"]["checked"]
