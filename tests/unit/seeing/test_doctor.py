"""The doctor's judgements of runs, packages and files, and what its exit code says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling, Completed, Late, Paused, Pending, Running, Suspended
from sqlalchemy import text

from tests.support.records import task
from tests.support.stack import ROOT
from vibesurf_blocks.doctor import files, versions
from vibesurf_blocks.doctor.case import Case
from vibesurf_blocks.doctor.examine import FINDINGS, HEALTHY, NOT_CHECKED, Result, exit_code
from vibesurf_blocks.doctor.finding import Severity, error, note, span, told, warning
from vibesurf_blocks.doctor.runs import (
    CLAIM_SECONDS,
    ROW_SECONDS,
    STOP_SECONDS,
    Scene,
    of_holder,
    of_row,
    of_suspended,
)
from vibesurf_blocks.doctor.statuses import statuses
from vibesurf_blocks.doctor.tables import tables
from vibesurf_blocks.prefect_api.heartbeat import Beat
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables import Database, TaskStore, upgrade
from vibesurf_blocks.tables.records import TaskRecord
from vibesurf_blocks.tables.statuses import mend_statuses
from vibesurf_blocks.tables.upgrade import VERSION_TABLE, head
from vibesurf_blocks.tasks import Status

NOW = datetime.now(UTC)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A stack that is nowhere: what is judged here asks nobody."""
    url = f"sqlite:///{tmp_path / 'elsewhere' / 'tables.db'}"
    settings = Settings(home=tmp_path / "home", database_url=url, idle_seconds=600)
    client = PrefectClient("http://127.0.0.1:1/api")
    return Case(settings, client, Database(settings.tables_url))


def run(state: State[Any], seconds: float, **more: Any) -> FlowRun:
    """A run whose state was set so many seconds ago."""
    state.timestamp = NOW - timedelta(seconds=seconds)
    return FlowRun(id=uuid4(), name="run", flow_id=uuid4(), state=state, **more)


def scene(case: Case) -> Scene:
    return Scene(case, NOW, {}, MappingProxyType({}))


@pytest.mark.parametrize(
    ("state", "seconds", "words"),
    [
        (Cancelling(), STOP_SECONDS + 1, "was told to stop"),
        (Cancelling(), STOP_SECONDS - 1, None),
        (Pending(), CLAIM_SECONDS + 1, "has not started"),
        (Pending(), CLAIM_SECONDS - 1, None),
        (Running(), 601, "no sign of life for 10 min"),
        (Running(), 599, None),
        (Paused(), 100_000, None),
    ],
    ids=["stopping", "just-told", "claimed", "just-claimed", "silent", "at-work", "paused"],
)
def test_a_run_that_takes_too_long_is_named(
    case: Case, state: State[Any], seconds: float, words: str | None
) -> None:
    one = run(state, seconds)
    found = of_holder(scene(case), one)
    if words is None:
        assert not found
    else:
        (finding,) = found
        assert words in finding.what
        assert finding.subject == str(one.id)
        assert finding.severity is Severity.ERROR


def test_a_finished_step_and_a_limit_of_its_own_count(case: Case) -> None:
    silent = run(Running(), 700)
    published = Scene(case, NOW, {silent.id: NOW - timedelta(seconds=5)}, {})
    assert not of_holder(published, silent)
    patient = run(Running(), 700, parameters={"idle_seconds": 1_000})
    assert not of_holder(scene(case), patient)


@pytest.mark.parametrize(
    ("left", "severity"),
    [(60, Severity.WARNING), (3_600, Severity.NOTE), (-60, Severity.ERROR)],
    ids=["soon", "later", "over"],
)
def test_a_suspension_says_when_it_ends(left: float, severity: Severity) -> None:
    state: State[Any] = Suspended(timeout_seconds=300)
    state.state_details.pause_timeout = NOW + timedelta(seconds=left)  # type: ignore[assignment]
    assert of_suspended(run(state, 10), NOW).severity is severity


def row(status: Status, seconds: float = 100) -> TaskRecord:
    """A row that was written so many seconds ago."""
    then = NOW - timedelta(seconds=seconds)
    return TaskRecord(
        task_id="t",
        session_id="s",
        task_description="Read",
        status=status,
        llm_profile_name="builtin",
        created_at=then,
        updated_at=then,
    )


LATE = ROW_SECONDS + 1


@pytest.mark.parametrize(
    ("shown", "state", "seconds", "words"),
    [
        (Status.RUNNING, Completed(), LATE, "is running while Prefect says Completed"),
        (Status.RUNNING, Completed(), ROW_SECONDS - 1, None),
        (Status.COMPLETED, Completed(), LATE, None),
        (None, Late(), LATE, "is missing while Prefect says Late"),
        (None, Late(), ROW_SECONDS - 1, None),
        (Status.PENDING, Late(), LATE, None),
        (Status.PAUSED, None, LATE, "is paused while Prefect knows no such run"),
        (Status.PAUSED, None, ROW_SECONDS - 1, None),
        (None, None, LATE, None),
    ],
)
def test_a_row_that_is_behind_is_named(
    shown: Status | None, state: State[Any] | None, seconds: float, words: str | None
) -> None:
    due = NOW - timedelta(seconds=seconds)
    one = None
    if state is not None:
        # Long known, and due since then.
        age = 1_000 if state.is_scheduled() else seconds
        one = run(state, age, next_scheduled_start_time=due)
    written = row(shown, seconds) if shown is not None else None
    found = of_row("t", written, one, NOW)
    assert (found is None) == (words is None)
    if found is not None and words is not None:
        assert words in found.what


@pytest.mark.parametrize(
    ("package", "version", "needed"),
    [
        ("fastapi", "0.154.0", "<0.151"),
        ("sqlalchemy", "2.1.0", "<2.1"),
        ("browser-use", "0.11.0", "==0.13.14"),
        ("prefect", "3.7.0", ">=3.8.8"),
    ],
)
def test_a_package_of_the_wrong_version_is_named(package: str, version: str, needed: str) -> None:
    right = {
        "fastapi": "0.150.0",
        "sqlalchemy": "2.0.44",
        "browser-use": "0.13.14",
        "prefect": "3.8.8",
    }
    asked = requires("vibesurf-blocks") or []
    assert not versions.judge(asked, right.__getitem__).findings
    (finding,) = versions.judge(asked, {**right, package: version}.__getitem__).findings
    assert finding.subject == package
    assert f"{package} {version} is installed" in finding.what
    assert needed in finding.what
    assert f"pip install '{package}" in finding.mend


def test_a_package_of_an_extra_need_not_be_there() -> None:
    def nothing(name: str) -> str:
        raise PackageNotFoundError(name)

    found = versions.judge(requires("vibesurf-blocks") or [], nothing).findings
    assert {one.subject for one in found} == {"fastapi", "sqlalchemy", "prefect"}


async def test_a_full_disk_is_told_of(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LITTLE_BYTES", 1 << 62)
    (little,) = (await files.disk(case)).findings
    assert little.severity is Severity.WARNING
    monkeypatch.setattr(files, "NONE_BYTES", 1 << 62)
    (none,) = (await files.disk(case)).findings
    assert none.severity is Severity.ERROR
    assert "du -sh" in none.mend


async def test_a_home_that_everybody_may_write_is_told_of(case: Case) -> None:
    (missing,) = (await files.home(case)).findings
    assert "vibesurf-blocks up" in missing.mend
    home = case.settings.home_dir
    home.mkdir(mode=0o755, exist_ok=True)
    assert not (await files.home(case)).findings
    home.chmod(0o777)
    (open_to_all,) = (await files.home(case)).findings
    assert open_to_all.mend == f"`chmod o-w {home}`"


async def test_the_revision_of_the_tables_is_judged(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    database = Database(settings.tables_url)
    case = Case(settings, PrefectClient("http://127.0.0.1:1/api"), database)
    try:
        (none,) = (await tables(case)).findings
        assert "vibesurf-blocks db upgrade" in none.mend
        await upgrade(settings.tables_url)
        assert not (await tables(case)).findings
        assert not (await statuses(case)).findings
        async with database.write() as connection:
            await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        (newer,) = (await tables(case)).findings
        assert "Install the newer" in newer.mend
    finally:
        await database.aclose()


@pytest.mark.parametrize("page", ["observability.md", "troubleshooting.md"])
def test_the_documents_show_a_healthy_revision(page: str) -> None:
    shown = re.findall(r"revision\W+(\d{4})", (ROOT / "docs" / page).read_text())
    assert set(shown) == {head()}


async def test_statuses_in_the_wrong_case_are_named_and_mended(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    await upgrade(settings.tables_url)
    database = Database(settings.tables_url)
    case = Case(settings, PrefectClient("http://127.0.0.1:1/api"), database)
    try:
        await TaskStore(database).upsert([task("in-capitals", Status.COMPLETED), task("right")])
        # As another program would have written it, into tables without the constraint.
        async with database.write() as connection:
            await connection.execute(text("PRAGMA ignore_check_constraints = ON"))
            await connection.execute(
                text("UPDATE tasks SET status = 'COMPLETED' WHERE task_id = 'in-capitals'")
            )
            await connection.execute(text("PRAGMA ignore_check_constraints = OFF"))
        (wrong,) = (await statuses(case)).findings
        assert "wrong case: 'COMPLETED' (1)" in wrong.what
        assert "vibesurf-blocks db mend-statuses" in wrong.mend
        assert await mend_statuses(database) == 1
        assert not (await statuses(case)).findings
    finally:
        await database.aclose()


def test_a_mirror_may_miss_two_comparisons() -> None:
    beat = Beat(at=NOW, every=5, host="h", pid=1)
    assert not beat.late(NOW + timedelta(seconds=10.5))
    assert beat.late(NOW + timedelta(seconds=11.5))


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([Result("a", told("well"))], HEALTHY),
        ([Result("a", told("well", note("so it is meant", "x")))], HEALTHY),
        ([Result("a", told("so", note("n", "x"), warning("w", "x")))], FINDINGS),
        ([Result("a", told("so", error("e", "x")))], FINDINGS),
        ([Result("a", told("so", error("e", "x"))), Result("b", None, "why")], NOT_CHECKED),
    ],
    ids=["healthy", "note", "warning", "error", "not-checked"],
)
def test_the_exit_code(results: list[Result], code: int) -> None:
    assert exit_code(results) == code


def test_spans_are_for_people() -> None:
    shown = [span(one) for one in (-1, 0.4, 119, 120, 7_200, 172_800)]
    assert shown == ["0 s", "0 s", "119 s", "2 min", "2 h", "2 d"]
