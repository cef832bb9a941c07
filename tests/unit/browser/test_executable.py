"""Which Chromium is started, and what a person is told where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from vibesurf_blocks.browser.executable import find_executable
from vibesurf_blocks.browser.launch import Launch
from vibesurf_blocks.errors import EngineError


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any browser."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PLAYWRIGHT_BROWSERS_PATH", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path


def test_what_to_install_is_said_where_there_is_none(empty: Path) -> None:
    with pytest.raises(EngineError, match=r"apt-get install chromium.*VIBESURF_BROWSER_EXECUTABLE"):
        find_executable(None)


def test_a_named_one_that_is_not_there_is_named(empty: Path) -> None:
    with pytest.raises(EngineError, match=r"'/nowhere/chrome' is not there"):
        find_executable("/nowhere/chrome")


def test_the_path_comes_before_the_newest_of_playwright(empty: Path) -> None:
    cache = empty / ".cache" / "ms-playwright"
    program(cache / "chromium-1000" / "chrome-linux" / "chrome")
    newest = program(cache / "chromium-1200" / "chrome-linux64" / "chrome")
    assert find_executable(None) == newest
    on_path = program(empty / "bin" / "google-chrome")
    assert find_executable(None) == on_path
    assert find_executable(newest) == newest


def test_root_has_no_sandbox_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for user, sandbox, expected in [(0, None, True), (1000, None, False), (0, True, False)]:
        monkeypatch.setattr("os.geteuid", lambda user=user: user)
        command = Launch("chromium", sandbox=sandbox).command(tmp_path)
        assert ("--no-sandbox" in command) is expected


def test_a_proxy_and_a_window_are_passed_on(tmp_path: Path) -> None:
    launch = Launch("chromium", headless=False, proxy="http://proxy:3128", bypass="a.org,b.org")
    command = launch.command(tmp_path)
    assert "--proxy-server=http://proxy:3128" in command
    assert "--proxy-bypass-list=a.org;b.org" in command
    assert not any(word.startswith("--headless") for word in command)
    assert launch.digest != Launch("chromium").digest
