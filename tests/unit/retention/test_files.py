"""Reports and empty folders are removed, and nothing that lies elsewhere."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vibesurf_blocks.errors import StackError
from vibesurf_blocks.retention.files import empty_sessions, remove_empty_session, remove_reports
from vibesurf_blocks.run.report import report_name, write_report
from vibesurf_blocks.run.slot_lock import idle_session
from vibesurf_blocks.workspace import prepare_session

ONE = report_name("1")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path


def later(seconds: float = 60) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_the_reports_of_these_tasks_are_removed_and_no_others(workspace: Path) -> None:
    session = prepare_session(workspace, "a")
    paths = [write_report(session, number, "x") for number in ("1", "2")]
    assert remove_reports(workspace, [("a", ONE), ("a", "report_3.html"), ("b", ONE)]) == 1
    assert [path.exists() for path in paths] == [False, True]


@pytest.mark.parametrize("linked", ["session", "reports", "report"])
def test_links_are_not_followed(workspace: Path, tmp_path: Path, linked: str) -> None:
    outside = prepare_session(tmp_path / "elsewhere", "a")
    treasure = write_report(outside, "1", "x")
    match linked:
        case "session":
            (workspace / "a").symlink_to(outside)
        case "reports":
            (workspace / "a").mkdir()
            (workspace / "a" / "reports").symlink_to(outside / "reports")
        case _:
            prepare_session(workspace, "a")
            (workspace / "a" / "reports" / treasure.name).symlink_to(treasure)
    # Of the last one the link goes: it is what lies in the session.
    assert remove_reports(workspace, [("a", ONE)]) == (linked == "report")
    assert treasure.read_text() == "x"


@pytest.mark.parametrize(
    ("session", "name"),
    [
        *(("..", ONE), ("a/../..", ONE), ("", ONE), (".locks", ONE)),
        *(("a", f"report_/../../../{ONE}"), ("a", ".."), ("a", f"../../{ONE}"), ("a", "x.txt")),
    ],
)
def test_what_is_no_name_leads_nowhere(
    workspace: Path, tmp_path: Path, session: str, name: str
) -> None:
    prepare_session(workspace, "a")
    for folder in (tmp_path / "reports", workspace / "reports", workspace / ".locks" / "reports"):
        folder.mkdir(parents=True)
        (folder / "report_1.html").write_text("x")
    (tmp_path / "1.html").write_text("x")
    (workspace / "a" / "reports" / "x.txt").write_text("x")
    # With this folder the first of the names that are none would lead somewhere.
    (workspace / "a" / "reports" / "report_").mkdir()
    assert remove_reports(workspace, [(session, name)]) == 0
    assert len(list(tmp_path.rglob("*1.html"))) == 4


def test_a_report_that_may_not_be_removed_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(prepare_session(workspace, "a"), "1", "x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)  # root may remove anything
    with pytest.raises(StackError, match=f"{path} cannot be removed: Permission denied"):
        remove_reports(workspace, [("a", ONE)])


def test_empty_sessions_are_those_with_nothing_in_them(workspace: Path, tmp_path: Path) -> None:
    for name in ("empty", "reported", "uploaded", "browser", "file", "linked"):
        prepare_session(workspace, name)
    (workspace / "reported" / "reports" / "x").write_text("")
    (workspace / "uploaded" / "uploads" / "deep").mkdir()
    (workspace / "browser" / ".browser").mkdir()
    (workspace / "file" / "x").write_text("")
    (workspace / "linked" / "reports").rmdir()
    (workspace / "linked" / "reports").symlink_to(tmp_path)
    prepare_session(tmp_path / "elsewhere", "outside")
    (workspace / "outside").symlink_to(tmp_path / "elsewhere" / "outside")
    (workspace / ".checkpoints").mkdir()
    (workspace / "a file").write_text("")
    assert empty_sessions(workspace, later()) == ["empty"]
    assert empty_sessions(workspace, later(-60)) == []  # somebody may be about to use it
    assert empty_sessions(workspace / "missing", later()) == []


def test_a_removed_report_does_not_make_its_session_new(workspace: Path) -> None:
    session = prepare_session(workspace, "a")
    write_report(session, "1", "x")
    hour = timedelta(hours=1).total_seconds()
    for folder in (session / "reports", session / "uploads", session):
        then = folder.stat().st_mtime - hour
        os.utime(folder, (then, then))
    assert remove_reports(workspace, [("a", ONE)]) == 1
    assert empty_sessions(workspace, later(-60)) == ["a"]


def test_an_empty_session_is_removed_unless_it_is_used(workspace: Path) -> None:
    session = prepare_session(workspace, "a")
    with idle_session(workspace, "a") as idle:
        assert idle
        assert not remove_empty_session(workspace, "a")
    assert (session / "reports").is_dir()
    (session / "x").write_text("")
    assert not remove_empty_session(workspace, "a")
    assert (session / "x").exists()
    (session / "x").unlink()
    assert remove_empty_session(workspace, "a")
    assert not session.exists()
