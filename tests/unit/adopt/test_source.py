"""Which files are VibeSurf databases, and that reading one leaves no trace."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.support import vibesurf_database as old
from vibesurf_blocks.adopt import source
from vibesurf_blocks.errors import InvalidInput, Unavailable
from vibesurf_blocks.tables.upgrade import VERSION_TABLE


def read(where: Path | str) -> list[object]:
    """The ids of all tasks."""
    with source.opened(str(where)) as opened:
        return [row["task_id"] for page in opened.pages("tasks") for row in page]


@pytest.mark.parametrize("version", [old.OLDEST, old.MIDDLE, old.NEWEST])
def test_every_version_is_read_to_the_last_row(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PAGE_ROWS", 4)
    path = old.make(tmp_path / "a ?#%.db", version)
    for count in (0, 4, 5):
        rows = [old.task(number) for number in range(count and 4 * (count - 4), count)]
        old.fill(path, "tasks", rows)
        assert len(read(path)) == count
    with source.opened(str(path)) as opened:
        assert opened.version == version
        assert opened.has("schedules") is (version >= 7)
        assert opened.count("schedules") == 0
        assert list(opened.pages("schedules")) in ([], [[]])
        assert opened.unknown == []


def test_unknown_columns_are_named_and_not_read(tmp_path: Path) -> None:
    more = "ALTER TABLE tasks ADD COLUMN mood TEXT DEFAULT 'x'"
    path = old.make(tmp_path / "v.db", more=more)
    old.fill(path, "tasks", [old.task()])
    with source.opened(f"sqlite:///{path}") as opened:
        assert opened.unknown == ["tasks.mood"]
        assert [row for page in opened.pages("tasks") for row in page if "mood" in row] == []


def test_what_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    whole = old.make(tmp_path / "whole.db")
    old.fill(whole, "tasks", [old.task(one, task_result="x" * 3_000) for one in range(40)])
    torn = tmp_path / "torn.db"
    data = bytearray(whole.read_bytes())
    data[8_192:60_000] = b"\xff" * (60_000 - 8_192)
    torn.write_bytes(data)
    short = tmp_path / "short.db"
    short.write_bytes(whole.read_bytes()[:4_096])
    empty, text, bare, other, ours, part = (
        tmp_path / name for name in ("empty", "text", "bare", "other", "ours", "part")
    )
    empty.touch()
    text.write_text("not a database at all, " * 50)
    for path, table in (
        (bare, ""),
        (other, "CREATE TABLE flow_run (id TEXT)"),
        (ours, f"CREATE TABLE tasks (task_id TEXT); CREATE TABLE {VERSION_TABLE} (v TEXT)"),
        (part, "CREATE TABLE tasks (task_id TEXT, status TEXT)"),
    ):
        with sqlite3.connect(path) as connection:
            connection.executescript(f"PRAGMA user_version = 1; {table}")
        connection.close()
    for where, why in (
        (tmp_path / "none.db", "There is no file"),
        (tmp_path, r"is a folder: name the database in it, such as .*vibe_surf\.db"),
        (empty, "is empty"),
        (text, "is no SQLite database"),
        (torn, "is damaged"),
        (short, "is damaged"),
        (bare, "is a database without tables"),
        (other, "is no VibeSurf database: it has no table tasks"),
        (f"sqlite:///{other}", "is no VibeSurf database: it has no table tasks"),
        (part, "its table tasks has no llm_profile_name, session_id, task_description"),
        (ours, "of vibesurf-blocks itself"),
        ("postgresql://me:hush@db/vibesurf", "not one of postgresql"),
        ("sqlite://", "Only a VibeSurf database in a SQLite file"),
        ("no such://thing", "cannot be read"),
    ):
        with pytest.raises(InvalidInput, match=why) as refused:
            read(where)
        assert "hush" not in refused.value.message


@pytest.mark.parametrize("state", ["plain", "wal", "running", "left", "copied"])
def test_nothing_is_written_to_it_or_beside_it(tmp_path: Path, state: str) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    path = old.make(folder / "vibe_surf.db")
    old.fill(path, "tasks", [old.task(0)])
    writer = sqlite3.connect(path)
    if state != "plain":
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("PRAGMA wal_autocheckpoint=0")
    ids = 1
    if state in {"running", "left", "copied"}:  # the second task is in the log alone
        row = old.task(1)
        writer.execute(
            f"INSERT INTO tasks ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )
        writer.commit()
        ids = 2
    if state in {"left", "copied"}:
        was, folder = folder, tmp_path / "moved"
        shutil.copytree(was, folder)
        path = folder / "vibe_surf.db"
        if state == "copied":
            (folder / "vibe_surf.db-shm").unlink()
    if state != "running":
        writer.close()
    before = old.seen(folder)
    assert len(read(path)) == ids
    assert old.seen(folder) == before
    writer.close()


def test_a_write_in_between_is_noticed_where_it_could_spoil_what_is_read(tmp_path: Path) -> None:
    path = old.make(tmp_path / "v.db", more="PRAGMA journal_mode=WAL;")
    with pytest.raises(Unavailable, match="was written to"), source.opened(str(path)):
        old.fill(path, "tasks", [old.task()])
