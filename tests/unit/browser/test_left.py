"""What a killed stack left of browsers is found, and ended unless somebody may want it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vibesurf_blocks.browser import keeper
from vibesurf_blocks.browser.session import FOLDER, keepers
from vibesurf_blocks.stack.up import end_left_browsers
from vibesurf_blocks.workspace import checkpoints_dir

_SLEEPER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A keeper of the session `s-1`, of something that is as patient as a browser."""
    folder = tmp_path / "s-1" / FOLDER
    folder.mkdir(parents=True)
    command = [sys.executable, "-I", "-S", keeper.__file__, str(folder), "600", "600", "none"]
    process = subprocess.Popen([*command, *_SLEEPER])
    until = time.monotonic() + 30
    while not keepers(tmp_path):
        assert time.monotonic() < until
        time.sleep(0.01)
    yield process
    process.terminate()
    process.wait(10)


def test_a_left_browser_is_ended(kept: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (one,) = keepers(tmp_path)
    assert (one.session, one.pid, one.used) == ("s-1", kept.pid, False)
    end_left_browsers(tmp_path)
    assert kept.wait(10) == 0
    assert not keepers(tmp_path)


def test_a_browser_in_use_is_not(kept: subprocess.Popen[bytes], tmp_path: Path) -> None:
    users = os.open(tmp_path / "s-1" / FOLDER / "users.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        assert [one.used for one in keepers(tmp_path)] == [True]
        end_left_browsers(tmp_path)
        assert kept.poll() is None
    finally:
        os.close(users)


def test_no_browser_is_while_a_run_is_to_go_on(
    kept: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    checkpoints_dir(tmp_path).mkdir()
    (checkpoints_dir(tmp_path) / "a-run.json").write_text("{}")
    end_left_browsers(tmp_path)
    assert kept.poll() is None
