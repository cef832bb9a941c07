"""A database is taken over without a Prefect server: tasks, once, whatever version wrote them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.support import vibesurf_database as old
from tests.support.records import task as record_of
from vibesurf_blocks.adopt import source
from vibesurf_blocks.adopt.adopt import NO_PREFECT, Options, adopt
from vibesurf_blocks.adopt.report import What
from vibesurf_blocks.errors import InvalidInput, Unavailable
from vibesurf_blocks.settings import Settings
from vibesurf_blocks.tables import Database, TaskRecord, TaskStore
from vibesurf_blocks.tables.marks import Mark
from vibesurf_blocks.tasks import Status

STATUSES = [one.value for one in Status]


@pytest.fixture(autouse=True)
def no_prefect() -> Iterator[None]:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


async def take(settings: Settings, path: Path, **options: Any) -> dict[str, Any]:
    return (await adopt(settings, str(path), Options(apply=True, **options))).as_json()


async def rows(settings: Settings) -> dict[str, TaskRecord]:
    database = Database(settings.tables_url)
    try:
        page = await TaskStore(database).page(limit=500)
        return {one.task_id: one for one in page.records}
    finally:
        await database.aclose()


@pytest.mark.parametrize("version", [old.OLDEST, old.MIDDLE, old.NEWEST])
async def test_every_version_is_taken_over_once(
    tmp_path: Path, settings: Settings, version: int
) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    path = old.make(folder / "vibe_surf.db", version)
    spelled = [one.upper() for one in STATUSES] if version == old.OLDEST else STATUSES
    old.fill(path, "tasks", [old.task(number, spelled[number % 6]) for number in range(30)])
    old.fill(path, "llm_profiles", [old.profile()])
    before = old.seen(folder)

    dry = (await adopt(settings, str(path), Options())).as_json()
    assert dry["tasks"] == {"found": 30, "taken": 30, "changed": 0, "already": 0, "left": 0}
    assert not settings.home.exists()

    first = await take(settings, path)
    assert first["tasks"] == dry["tasks"]
    assert (first["applied"], first["changed"], first["version"]) == (True, True, version)
    found = await rows(settings)
    assert sorted(one.status for one in found.values()) == sorted(
        ["completed"] * 5 + ["stopped"] * 5 + ["failed"] * 20
    )
    assert {one.why for one in (await adopt(settings, str(path), Options())).all_left} == {
        NO_PREFECT
    }

    second = await take(settings, path)
    assert second["tasks"] == {"found": 30, "taken": 0, "changed": 0, "already": 30, "left": 0}
    assert second["changed"] is False
    assert await rows(settings) == found
    assert old.seen(folder) == before


async def test_what_is_here_is_not_overwritten(tmp_path: Path, settings: Settings) -> None:
    path = old.make(tmp_path / "v.db")
    old.fill(path, "tasks", [old.task(0), old.task(1, "pending", completed_at=None), old.task(2)])
    await take(settings, path, ended=True)
    database = Database(settings.tables_url)
    store = TaskStore(database)
    mine = record_of(old.task(3)["task_id"], Status.COMPLETED)
    await store.upsert([mine])
    # The task that was taken for dead has ended after all; another has an id that is in use here.
    old.fill(path, "tasks", [old.task(3)])
    old_rows = await rows(settings)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE tasks SET status = 'completed' WHERE status = 'pending'")
    connection.close()
    report = await adopt(settings, str(path), Options(apply=True))
    assert report.counts[What.TASKS].left == 2
    whys = " ".join(one.why for one in report.all_left)
    assert "its id is that of a task here" in whys
    assert "was taken over as failed" in whys
    assert await rows(settings) == old_rows
    await database.aclose()


@pytest.mark.parametrize(("seen", "taken"), [(True, 0), (None, 0), (False, 1)])
async def test_what_has_just_changed_is_left_unless_vibesurf_is_known_to_have_ended(
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    seen: bool | None,
    taken: int,
) -> None:
    path = old.make(tmp_path / "v.db")
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    old.fill(path, "tasks", [old.task(0, "running", updated_at=now, completed_at=None)])
    monkeypatch.setattr("vibesurf_blocks.adopt.adopt.at_work", lambda _: seen)
    assert (await take(settings, path))["tasks"]["taken"] == taken


async def test_where_the_mirror_goes_on_does_not_depend_on_adopted_rows(
    tmp_path: Path, settings: Settings
) -> None:
    path = old.make(tmp_path / "v.db")
    old.fill(path, "tasks", [old.task(0, updated_at="2027-01-01 00:00:00")])
    await take(settings, path)
    database = Database(settings.tables_url)
    store = TaskStore(database)
    mark = Mark(database, settings.pool)
    mine = record_of("mine", Status.COMPLETED)
    await store.upsert([mine])
    assert await mark.read() is None
    assert await mark.put(mine.updated_at)
    async with database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM tasks WHERE task_id = 'mine'")
    # The adopted row stands, but none that came from Prefect: that is read anew.
    assert await mark.read() is None
    await store.upsert([mine])
    assert await store.unfinished_ids() == []
    assert await store.active() is None
    async with database.read() as connection:
        text = (
            await connection.exec_driver_sql("SELECT task_metadata FROM tasks WHERE task_id='mine'")
        ).scalar_one()
    assert "adopted" not in text  # rows of runs are as they were before there was such a thing
    await database.aclose()


async def test_a_report_can_come_along_later(tmp_path: Path, settings: Settings) -> None:
    there = tmp_path / "ws"
    (there / "s" / "reports").mkdir(parents=True)
    (there / "s" / "reports" / "r.html").write_text("<p>Hello</p>")
    path = old.make(there / "vibe_surf.db")
    both = [
        old.task(number, session_id="s", report_path=f"{there}/s/reports/r.html")
        for number in range(2)
    ]
    old.fill(path, "tasks", both)
    first = await take(settings, path)
    assert [one["count"] for one in first["left"] if "--workspace" in one["why"]] == [2]
    later = await take(settings, path, workspace=there)
    assert later["tasks"]["changed"] == 2
    found = await rows(settings)
    assert {one.report_path for one in found.values()} == {
        str(settings.workspace_dir / "s" / "reports" / "r.html")
    }
    for options in ({"workspace": there}, {}):
        assert (await take(settings, path, **options))["changed"] is False
    assert await rows(settings) == found


async def test_other_tables_are_named(tmp_path: Path, settings: Settings) -> None:
    more = "INSERT INTO mcp_profiles VALUES ('a'), ('b'); ALTER TABLE tasks ADD COLUMN mood TEXT;"
    path = old.make(tmp_path / "v.db", more=more)
    report = await adopt(settings, str(path), Options())
    assert [one.examples for one in report.all_left] == [["mcp_profiles: 2 rows"], ["tasks.mood"]]
    assert report.news == 0


async def test_what_is_needed_must_be_there(tmp_path: Path, settings: Settings) -> None:
    path = old.make(tmp_path / "v.db")
    with pytest.raises(InvalidInput, match="There is no folder"):
        await adopt(settings, str(path), Options(workspace=tmp_path / "none"))
    own = settings.model_copy(update={"database_url": f"sqlite:///{path}"})
    with pytest.raises(InvalidInput, match="itself, which is only read"):
        await adopt(own, str(path), Options(apply=True))
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(
            Unavailable, match=r"127\.0\.0\.1:9/api does not answer.*Nothing was written"
        ),
    ):
        await adopt(settings, str(path), Options(apply=True))
    assert not settings.home.exists()


async def test_it_goes_page_by_page_and_tells_how_far(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PAGE_ROWS", 100)
    path = old.make(tmp_path / "v.db")
    old.fill(path, "tasks", [old.task(number) for number in range(250)])
    told: list[tuple[int, int]] = []
    await adopt(settings, str(path), Options(apply=True), lambda done, of: told.append((done, of)))
    assert told == [(100, 250), (200, 250), (250, 250)]
    assert len(await rows(settings)) == 250
