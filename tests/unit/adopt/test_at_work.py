"""What is unfinished may be alive only while somebody has the database open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from vibesurf_blocks.adopt.at_work import at_work

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


def test_what_may_not_be_looked_into_may_be_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "vibe_surf.db"
    database.touch()

    def refuse(self: psutil.Process) -> None:
        raise psutil.AccessDenied(self.pid)

    def gone(self: psutil.Process) -> None:
        raise psutil.NoSuchProcess(self.pid)

    monkeypatch.setattr(psutil.Process, "open_files", refuse)
    assert at_work(database) is None
    monkeypatch.setattr(psutil.Process, "open_files", gone)
    assert at_work(database) is False


def test_only_a_process_that_has_it_open_may_be_at_work(tmp_path: Path) -> None:
    database = tmp_path / "vibe_surf.db"
    database.touch()
    assert not at_work(database)
    command = [sys.executable, "-c", HOLD, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        assert at_work(database)
        linked = tmp_path / "link.db"
        linked.symlink_to(database)
        assert at_work(linked)
        holder.kill()
        holder.wait()
    assert not at_work(database)
